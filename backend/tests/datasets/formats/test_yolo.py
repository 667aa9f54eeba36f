"""YOLO in the layouts that people have."""

import time

import pytest

from app.datasets.formats.yolo import FORMAT, recognise
from app.words import TaskType
from tests.datasets.formats.uploads import BROKEN, Read, Upload, reader

Contents = dict[str, str | bytes]
BOX = "0 0.5 0.5 0.2 0.4\n"
SEGMENTATION, ORIENTED = TaskType.INSTANCE_SEGMENTATION, TaskType.ORIENTED_OBJECT_DETECTION
DETECTION, POSE = TaskType.OBJECT_DETECTION, TaskType.POSE_ESTIMATION
NAMES = "names: [cat, dog]\n"
yolo = reader(FORMAT)


def labelled(label: str | bytes, yaml: str | None = NAMES) -> Contents:
    """One image with this label file."""
    files: Contents = {"images/train/a.jpg": b"", "labels/train/a.txt": label}
    return files | ({"data.yaml": yaml} if yaml is not None else {})


LAYOUTS: dict[str, tuple[Contents, dict[str, str | None], dict[str, str]]] = {
    "images and labels hold the splits": (
        {"images/train/a.jpg": b"", "labels/train/a.txt": BOX, "images/val/b.jpg": b"", "labels/val/b.txt": BOX},
        {"images/train/a.jpg": "train", "images/val/b.jpg": "val"},
        {"images/train/a.jpg": "a.jpg", "images/val/b.jpg": "b.jpg"},
    ),
    "the splits hold images and labels": (
        {"train/images/a.jpg": b"", "train/labels/a.txt": BOX, "valid/images/b.jpg": b"", "valid/labels/b.txt": BOX},
        {"train/images/a.jpg": "train", "valid/images/b.jpg": "val"},
        {"train/images/a.jpg": "a.jpg", "valid/images/b.jpg": "b.jpg"},
    ),
    "labels lie beside images": (
        {"x/a.jpg": b"", "x/a.txt": BOX, "x/b.PNG": b"", "x/b.txt": BOX},
        {"x/a.jpg": None, "x/b.PNG": None},
        {"x/a.jpg": "a.jpg", "x/b.PNG": "b.PNG"},
    ),
    "labels lie beside images in splits": (
        {"training/a.jpg": b"", "training/a.txt": BOX, "testing/sub/b.jpg": b"", "testing/sub/b.txt": BOX},
        {"training/a.jpg": "train", "testing/sub/b.jpg": "test"},
        {"training/a.jpg": "a.jpg", "testing/sub/b.jpg": "sub/b.jpg"},
    ),
    "there are no splits": (
        {"Images/a.jpg": b"", "Labels/a.txt": BOX, "Images/deep/b.jpg": b"", "Labels/deep/b.txt": BOX},
        {"Images/a.jpg": None, "Images/deep/b.jpg": None},
        {"Images/a.jpg": "a.jpg", "Images/deep/b.jpg": "deep/b.jpg"},
    ),
    "splits have a year": (
        {
            "images/train2017/a.jpg": b"",
            "labels/train2017/a.txt": BOX,
            "images/val2017/b.jpg": b"",
            "labels/val2017/b.txt": BOX,
        },
        {"images/train2017/a.jpg": "train", "images/val2017/b.jpg": "val"},
        {"images/train2017/a.jpg": "a.jpg", "images/val2017/b.jpg": "b.jpg"},
    ),
    "lists name the splits": (
        {
            "train.txt": "./images/a.jpg\r\n",
            "val.txt": "images/b.jpg",
            "images/a.jpg": b"",
            "labels/a.txt": BOX,
            "images/b.jpg": b"",
            "labels/b.txt": BOX,
        },
        {"images/a.jpg": "train", "images/b.jpg": "val"},
        {"images/a.jpg": "a.jpg", "images/b.jpg": "b.jpg"},
    ),
    "names are Korean": (
        {"images/train/고양이 1.jpg": b"", "labels/train/고양이 1.txt": BOX},
        {"images/train/고양이 1.jpg": "train"},
        {"images/train/고양이 1.jpg": "고양이 1.jpg"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_has_its_labels_and_split_if_(layout: str, yolo: Read) -> None:
    files, splits, names = LAYOUTS[layout]
    descriptions: list[Contents] = [{}, {"data.yaml": NAMES}, {"classes.txt": "cat\ndog\n"}]
    for described in descriptions:
        reading = yolo(files | described)
        assert recognise(Upload(files | described)) is not None
        assert (reading.splits, reading.names) == (splits, names)
        assert reading.objects == {entry: ["cat" if described else "0"] for entry in splits}
        assert reading.codes == ([] if described else ["CLASS_NAMES_MISSING"])
        assert reading.boxes == [(0.4, 0.3, 0.6, 0.7)] * len(splits)


def test_label_is_found_if_only_its_name_leads_there(yolo: Read) -> None:
    reading = yolo({"JPEGImages/a.jpg": b"", "labels/a.txt": BOX, "obj.names": "cat"})
    assert reading.objects == {"JPEGImages/a.jpg": ["cat"]}
    assert reading.codes == ["PATH_REPAIRED"]


def test_label_is_not_taken_from_another_split(yolo: Read) -> None:
    reading = yolo({"train/images/a.jpg": b"", "valid/labels/a.txt": BOX, "data.yaml": NAMES})
    assert reading.objects == {}
    assert reading.finding("LABEL_WITHOUT_IMAGE")[0] == "valid/labels/a.txt"


def test_empty_label_means_background_and_none_means_unlabelled(yolo: Read) -> None:
    files: Contents = {
        "images/a.jpg": b"",
        "labels/a.txt": " \n\n",
        "images/b.jpg": b"",
        "data.yaml": NAMES,
    }
    reading = yolo(files | {"images/c.jpg": b"", "labels/c.txt": BOX})
    assert reading.backgrounds == ["images/a.jpg"]
    assert list(reading.splits) == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]


def test_label_of_a_broken_image_is_no_label_without_image(yolo: Read) -> None:
    reading = yolo({"images/a.jpg": BROKEN, "labels/a.txt": BOX, "labels/b.txt": BOX, "data.yaml": NAMES})
    assert reading.finding("LABEL_WITHOUT_IMAGE")[0] == "labels/b.txt"
    assert reading.splits == {}


def test_other_text_files_are_no_labels(yolo: Read) -> None:
    notes = {"README.txt": "a dataset", "notes.txt": "", "images/README.roboflow.txt": "Roboflow 1 2 3 4"}
    assert yolo(labelled(BOX) | notes).codes == []


@pytest.mark.parametrize(
    ("lines", "yaml", "task", "codes"),
    [
        (BOX * 1, NAMES, DETECTION, []),
        ("0 .1 .1 .9 .1 .5 .9", NAMES, SEGMENTATION, []),
        ("0 .1 .1 .9 .1 .9 .9 .1 .9", NAMES, ORIENTED, ["TASK_GUESSED"]),
        ("0 .1 .1 .9 .1 .9 .9 .1 .9", NAMES + "task: segment", SEGMENTATION, []),
        ("0 .1 .1 .9 .1 .9 .9 .1 .9", NAMES + "task: obb", ORIENTED, []),
        ("0 .1 .1 .9 .1 .9 .9 .1 .9\n0 .1 .1 .9 .1 .5 .9", NAMES, SEGMENTATION, []),
        ("0 .5 .5 .2 .2 .4 .4 2 .6 .6 0", NAMES + "kpt_shape: [2, 3]", POSE, []),
        ("0 .5 .5 .2 .2 .4 .4 .6 .6", NAMES + "kpt_shape: [2, 2]", POSE, []),
        ("0 .5 .5 .2 .2 .4 .4 2.0", NAMES, POSE, ["TASK_GUESSED"]),
        (BOX + "0 .1 .1 .9 .1 .5 .9", NAMES, SEGMENTATION, ["TASK_GUESSED", "LABEL_NOT_FOR_TASK"]),
        (BOX + "1 .2 .2 .2 .2\n0 .1 .1 .9 .1 .5 .9", NAMES, DETECTION, ["TASK_GUESSED"]),
        ("", NAMES, DETECTION, []),
    ],
)
def test_task_is_recognised_from_the_lines(lines: str, yaml: str, task: TaskType, codes: list[str], yolo: Read) -> None:
    reading = yolo(labelled(lines, yaml))
    assert (reading.draft.task_type, reading.codes) == (task, codes)


def test_forced_detection_takes_boxes_around_polygons_and_of_poses(yolo: Read) -> None:
    lines = "0 .1 .2 .5 .2 .3 .6\n0 .5 .5 .2 .4\n1 .5 .5 .2 .4 .5 .5 2\n"
    reading = yolo(labelled(lines, NAMES + "kpt_shape: [1, 3]"), task_type=DETECTION)
    assert reading.boxes == [(0.1, 0.2, 0.5, 0.6), (0.4, 0.3, 0.6, 0.7), (0.4, 0.3, 0.6, 0.7)]
    assert reading.codes == []


@pytest.mark.parametrize("task", [SEGMENTATION, ORIENTED, POSE])
def test_boxes_are_not_for_a_forced_task(task: TaskType, yolo: Read) -> None:
    reading = yolo(labelled(BOX, NAMES + "kpt_shape: [1, 3]"), task_type=task)
    assert reading.finding("LABEL_NOT_FOR_TASK")[:3] == ("labels/train/a.txt", 1, BOX.strip())


def test_pose_is_read_with_keypoints(yolo: Read) -> None:
    yaml = NAMES + "kpt_shape: [2, 3]\nflip_idx: [1, 0]"
    reading = yolo(labelled("1 .5 .5 .2 .2 .4 .4 2.000000 .6 .6 0", yaml))
    assert reading.json("keypoints") == [[[0.4, 0.4, 2], [0.6, 0.6, 0]]]
    assert (reading.draft.get("kpt_shape"), reading.draft.get("flip_idx")) == ([2, 3], [1, 0])


def test_forced_pose_is_refused_if_lines_disagree_and_nothing_gives_kpt_shape(yolo: Read) -> None:
    reading = yolo(labelled("0 .5 .5 .2 .2 .4 .4 2\n0 .5 .5 .2 .2", NAMES), task_type=POSE)
    assert "KEYPOINTS_DISAGREE" in reading.codes


def test_oriented_box_is_one_polygon_of_four_corners(yolo: Read) -> None:
    reading = yolo(labelled("0 .5 .1 .9 .5 .5 .9 .1 .5"), task_type=ORIENTED)
    assert reading.json("polygons") == [[[0.5, 0.1, 0.9, 0.5, 0.5, 0.9, 0.1, 0.5]]]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4",
        b"0\t0.5\t0.5\t0.2\t0.4\r\n",
        b"  0.0  5e-1 +.5 2E-1 0.4  \r",
        "0 0.5 0.5 0.2 0.4".encode("utf-16"),
    ],
)
def test_form_of_the_text_does_not_matter(text: bytes, yolo: Read) -> None:
    reading = yolo(labelled(text))
    assert (reading.boxes, reading.codes) == ([(0.4, 0.3, 0.6, 0.7)], [])


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("0 0.5 0.5 0.2", "LABEL_MALFORMED", "has 4 columns; a box has 5"),
        ("0 0.5 0.5 0.2 0.2 0.9", "LABEL_MALFORMED", "a confidence does not belong"),
        ("cat 0.5 0.5 0.2 0.2", "LABEL_MALFORMED", "'cat' is not a number"),
        ("0,0.5,0.5,0.2,0.2", "LABEL_MALFORMED", "has 1 columns"),
        ("0 0_1 0.5 0.2 0.2", "LABEL_MALFORMED", "'0_1' is not a number"),
        ("0 ٠ 0.5 0.2 0.2", "LABEL_MALFORMED", "'٠' is not a number"),
        ("0.5 0.5 0.5 0.2 0.2", "LABEL_MALFORMED", "class 0.5 is not a whole number"),
        ("nan 0.5 0.5 0.2 0.2", "LABEL_MALFORMED", "class nan is not a whole number"),
        ("2 0.5 0.5 0.2 0.2", "CLASS_OUT_OF_RANGE", "class 2 is not one of 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "CLASS_OUT_OF_RANGE", "class -1"),
        ("1e300 0.5 0.5 0.2 0.2", "CLASS_OUT_OF_RANGE", "class 1e300"),
        ("0 nan 0.5 0.2 0.2", "LABEL_NOT_FINITE", "nan"),
        ("0 0.5 0.5 inf 0.2", "LABEL_NOT_FINITE", "inf"),
        ("0 1e999 0.5 0.2 0.2", "LABEL_NOT_FINITE", "inf"),
        ("0 0.5 0.5 -0.2 0.2", "BOX_EMPTY", "no area"),
        ("0 320 240 20 20", "BOX_OUTSIDE", "outside"),
    ],
)
def test_line_is_named_with_what_is_wrong(line: str, code: str, words: str, yolo: Read) -> None:
    reading = yolo(labelled(f"{BOX}\n{line}\n"), task_type=DETECTION)
    file, number, value, message = reading.finding(code)
    assert (file, number, value) == ("labels/train/a.txt", 3, line)
    assert words in message
    assert len(reading.boxes) == 1


def test_visibility_is_named_if_it_is_none(yolo: Read) -> None:
    reading = yolo(labelled("0 .5 .5 .2 .2 .4 .4 7", NAMES + "kpt_shape: [1, 3]"))
    assert "visibility 7 is not 0, 1 or 2" in reading.finding("LABEL_MALFORMED")[3]


def test_file_is_named_if_it_is_not_text(yolo: Read) -> None:
    reading = yolo(labelled(b"\xff\x00\xd8\xd9\xff"))
    assert reading.finding("LABEL_UNREADABLE")[0] == "labels/train/a.txt"


def test_class_numbers_stand_as_names_if_nothing_names_them(yolo: Read) -> None:
    reading = yolo(labelled("3 .5 .5 .2 .2", None))
    assert reading.draft.classes == ["0", "1", "2", "3"]
    assert reading.codes == ["CLASS_NAMES_MISSING"]


@pytest.mark.slow
def test_hundred_thousand_lines_take_seconds(yolo: Read) -> None:
    files: Contents = {"data.yaml": NAMES}
    for number in range(1_000):
        files[f"images/train/{number}.jpg"] = b""
        files[f"labels/train/{number}.txt"] = "".join(
            f"{line % 2} 0.{line + 100} 0.5 0.1{number:03d} 0.1\n" for line in range(100)
        )
    start = time.process_time()
    reading = yolo(files)
    assert reading.rows("SELECT count(*) FROM annotations") == [(100_000,)]
    assert time.process_time() - start < 20
