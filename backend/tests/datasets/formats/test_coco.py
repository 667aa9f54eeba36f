"""What becomes of an upload in COCO."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.datasets.draft import Draft, SourceImage
from app.datasets.formats.coco import FORMAT
from app.datasets.formats.coco_classes import flip_of
from app.datasets.formats.coco_files import split_of_file
from app.datasets.work import Wish
from tests.datasets.formats.uploads import BROKEN, Files, Read, Upload, reader

read = reader(FORMAT)
CATS = ({"id": 1, "name": "cat"}, {"id": 2, "name": "dog"})
TRIANGLE = [64.0, 48.0, 320.0, 48.0, 320.0, 240.0]
PERSON = {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}
POINTS = [64, 48, 2, 128, 96, 1, 0, 0, 0]
DETECTION, SEGMENTATION, POSE = "object_detection", "instance_segmentation", "pose_estimation"


def image(key: object = 1, name: str = "a.jpg", **more: object) -> dict[str, object]:
    return {"id": key, "file_name": name, "width": 640, "height": 480} | more


def label(image_id: object = 1, category: object = 1, **more: object) -> dict[str, object]:
    return {"id": 5, "image_id": image_id, "category_id": category, "bbox": [64, 48, 128, 96], "iscrowd": 0} | more


def coco(images: Any = None, annotations: Any = None, categories: Any = CATS) -> str:
    lists = {"images": images or [image()], "annotations": annotations or [], "categories": list(categories)}
    return json.dumps({"info": {"year": 2026}, **lists})


def one(*annotations: dict[str, object], categories: Any = CATS, **files: str | bytes) -> Files:
    """An upload of one image and the annotations of it."""
    return {"a.jpg": b"", "labels.json": coco(annotations=list(annotations), categories=categories), **files}


BOX = (0.1, 0.1, 0.3, 0.3)


# files, splits and images


def test_boxes_are_read_if_one_file_labels_all(read: Read) -> None:
    found = read(one(label(), label(category=2, bbox=[0, 0, 640, 480])))
    assert found.boxes == [BOX, (0, 0, 1, 1)]
    assert found.objects == {"a.jpg": ["cat", "dog"]}
    assert found.splits == {"a.jpg": None}
    assert found.draft.task_type == DETECTION
    assert found.codes == []


def test_the_order_of_the_lists_is_free_if_they_are_all_there(read: Read) -> None:
    lists = json.loads(coco(annotations=[label()]))
    text = json.dumps({key: lists[key] for key in ("annotations", "categories", "images")})
    assert read({"a.jpg": b"", "a.json": text}).boxes == [BOX]


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ("train2017", "val2017")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
        (("annotations/train.json", "annotations/val.json"), ("images/train", "images/val")),
        (("train.json", "validation.json"), ("photos/training", "photos/validation")),
    ],
)
def test_splits_are_those_of_the_files_if_base_names_are_the_same(
    read: Read, names: tuple[str, str], images: tuple[str, str]
) -> None:
    files: dict[str, str | bytes] = {f"{folder}/a.jpg": b"" for folder in images}
    files |= {names[0]: coco(annotations=[label()]), names[1]: coco(annotations=[label(category=2)])}
    found = read(files)
    assert found.splits == {f"{images[0]}/a.jpg": "train", f"{images[1]}/a.jpg": "val"}
    assert found.objects == {f"{images[0]}/a.jpg": ["cat"], f"{images[1]}/a.jpg": ["dog"]}
    assert set(found.names.values()) == {"a.jpg"}
    assert found.codes == []


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_default.json", None),
        ("image_info_test-dev2017.json", "test"),
        ("data_train.json", "train"),
        ("train_or_test.json", None),
        ("test/labels.json", "test"),
    ],
)
def test_a_file_tells_its_split_if_a_word_of_its_name_does(name: str, split: str | None) -> None:
    assert split_of_file(name) == split


@pytest.mark.parametrize("written", ["deep/a.jpg", "./deep/a.jpg", "C:\\data\\deep\\a.jpg", "/home/me/deep/a.jpg"])
def test_an_image_is_found_by_its_path_if_anybody_wrote_it(read: Read, written: str) -> None:
    found = read({"x/deep/a.jpg": b"", "x/b/a.jpg": b"", "x/l.json": coco([image(name=written)], [label()])})
    assert found.objects == {"x/deep/a.jpg": ["cat"]}


def test_an_image_is_found_by_its_base_name_if_its_folder_is_another(read: Read) -> None:
    found = read({"pictures/a.jpg": b"", "l.json": coco([image(name="batch7/a.jpg")], [label()])})
    assert found.objects == {"pictures/a.jpg": ["cat"]}
    assert found.codes == ["PATH_REPAIRED"]


def test_an_image_is_missed_by_name_and_line_if_it_is_not_there(read: Read) -> None:
    text = coco([image(), image(2, "ghost.jpg")], [label(), label(2)]).replace("[", "[\n")
    found = read({"a.jpg": b"", "l.json": text})
    assert found.finding("IMAGE_MISSING")[:3] == ("l.json", 2, "ghost.jpg")
    assert found.finding("LABEL_WITHOUT_IMAGE")[2] == "1"
    assert found.objects == {"a.jpg": ["cat"]}


def test_annotations_are_counted_if_their_image_is_broken(read: Read) -> None:
    found = read({"a.jpg": b"", "b.jpg": BROKEN, "l.json": coco([image(), image(2, "b.jpg")], [label(), label(2)])})
    assert found.codes == ["LABEL_WITHOUT_IMAGE"]


def test_an_image_shows_nothing_if_it_is_listed_and_others_are_labelled(read: Read) -> None:
    files: Files = {"a.jpg": b"", "b.jpg": b"", "c.jpg": b""}
    found = read({**files, "l.json": coco([image(), image(2, "b.jpg")], [label()])})
    assert found.backgrounds == ["b.jpg"]
    assert list(found.splits) == ["a.jpg", "b.jpg"]
    assert read({**files, "l.json": coco([image(), image(2, "b.jpg")])}).backgrounds == []


def test_an_entry_is_left_out_if_it_repeats_another(read: Read) -> None:
    found = read({"a.jpg": b"", "l.json": coco([image(), image()], [label()])})
    assert found.finding("LABEL_DUPLICATE")[2] == "a.jpg"
    assert found.boxes == [BOX]


def test_an_entry_is_refused_if_its_id_stands_for_another_image(read: Read) -> None:
    found = read({"a.jpg": b"", "b.jpg": b"", "l.json": coco([image(), image(1, "b.jpg")], [label()])})
    assert found.finding("LABEL_CONTRADICTS")[2] == "b.jpg"


def test_labels_are_joined_if_an_image_has_two_ids(read: Read) -> None:
    found = read({"a.jpg": b"", "l.json": coco([image(), image(9)], [label(), label(9, 2)])})
    assert found.objects == {"a.jpg": ["cat", "dog"]}
    assert found.codes == ["LABEL_DUPLICATE"]


def test_the_first_split_counts_if_two_files_list_an_image(read: Read) -> None:
    found = read({"a.jpg": b"", "val.json": coco(), "train.json": coco(annotations=[label()])})
    assert found.splits == {"a.jpg": "train"}
    assert found.codes == ["SPLIT_OVERLAP"]


def test_two_files_label_one_image_if_they_are_of_one_split(read: Read) -> None:
    found = read({"a.jpg": b"", "x.json": coco(annotations=[label()]), "y.json": coco(annotations=[label(category=2)])})
    assert found.objects == {"a.jpg": ["cat", "dog"]}
    assert found.codes == []


def test_ids_are_the_same_if_they_are_text_or_numbers(read: Read) -> None:
    found = read({"a.jpg": b"", "l.json": coco([image("1")], [label(1.0, "1", bbox=["64", "48", "1.28e2", 96])])})
    assert found.boxes == [BOX]


@pytest.mark.parametrize("entry", [5, None, {"id": 1}, {"file_name": "a.jpg"}, {"id": True, "file_name": "a.jpg"}])
def test_an_image_entry_is_malformed_if_it_lacks_id_or_name(read: Read, entry: object) -> None:
    found = read({"a.jpg": b"", "l.json": coco([entry])})
    assert found.finding("LABEL_MALFORMED")[:2] == ("l.json", 1)


def test_other_challenges_are_left_aside_if_their_files_came_too(read: Read) -> None:
    names = ("captions_train.json", "person_keypoints_train.json", "panoptic_train.json")
    others: dict[str, str | bytes] = {name: coco(annotations=[label(category=7)]) for name in names}
    found = read({"a.jpg": b"", "instances_train.json": coco(annotations=[label()]), **others})
    assert found.codes == ["FILE_IGNORED"] * 3
    assert found.boxes == [BOX]


def test_a_stated_size_is_told_if_it_is_not_the_images(read: Read) -> None:
    found = read({"a.jpg": b"", "l.json": coco([image(width=1280, height=960)], [label()])})
    assert found.finding("IMAGE_SIZE_DISAGREES")[2] == "1280 × 960"
    assert found.boxes == [BOX]


def test_it_is_recognised_by_one_of_its_lists() -> None:
    assert FORMAT.recognise(Upload({"a.json": "\ufeff" + coco()})) is not None
    assert FORMAT.recognise(Upload({"a.json": '{"shapes": []}', "b.json": "[]", "c.jpg": b""})) is None


# categories


def test_classes_are_in_the_order_of_ids_if_ids_have_gaps(read: Read) -> None:
    categories = [{"id": 90, "name": "toothbrush"}, {"id": "3", "name": "고양이"}, {"id": 11, "name": "<script>"}]
    found = read(one(label(category=90), label(category=3, bbox=[0, 0, 9, 9]), categories=categories))
    assert found.draft.classes == ["고양이", "<script>", "toothbrush"]
    assert found.objects == {"a.jpg": ["toothbrush", "고양이"]}
    assert found.codes == ["CLASS_IDS_RENUMBERED"]


@pytest.mark.parametrize("second", [({"id": 1, "name": "dog"},), ({"id": 5, "name": "cat"},)])
def test_files_are_refused_if_their_categories_disagree(read: Read, second: Any) -> None:
    first = coco(annotations=[label()], categories=CATS[:1])
    found = read({"a.jpg": b"", "x.json": first, "y.json": coco(categories=second)})
    assert "CLASS_NAMES_DISAGREE" in found.codes


def test_classes_are_those_of_all_files_if_they_agree(read: Read) -> None:
    found = read({"a.jpg": b"", "x.json": coco(categories=CATS[1:]), "y.json": coco(categories=CATS)})
    assert found.draft.classes == ["cat", "dog"]
    assert found.codes == []


def test_two_categories_are_one_class_if_they_have_one_name(read: Read) -> None:
    categories = [{"id": 0, "name": "cell"}, {"id": 1, "name": "cell"}]
    found = read(one(label(category=0), label(category=1, bbox=[0, 0, 9, 9]), categories=categories))
    assert found.draft.classes == ["cell"]
    assert found.objects == {"a.jpg": ["cell", "cell"]}
    assert found.codes == ["CLASS_NAMES_ALIKE"]


@pytest.mark.parametrize("entry", [7, {"id": 3}, {"name": "x"}, {"id": 3, "name": 5}, {"id": 1.5, "name": "x"}])
def test_a_category_is_malformed_if_it_lacks_id_or_name(read: Read, entry: object) -> None:
    assert read(one(label(), categories=[*CATS, entry])).codes == ["LABEL_MALFORMED"]


def test_there_are_no_classes_if_no_category_is_listed(read: Read) -> None:
    assert read(one(label(), categories=[])).codes == ["NO_CLASSES", "CLASS_UNKNOWN"]


# annotations


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"image_id": 77}, "LABEL_WITHOUT_IMAGE"),
        ({"image_id": None}, "LABEL_WITHOUT_IMAGE"),
        ({"category_id": 77}, "CLASS_UNKNOWN"),
        ({"category_id": "one"}, "CLASS_UNKNOWN"),
        ({"bbox": [1, 2, 3]}, "LABEL_MALFORMED"),
        ({"bbox": [1, 2, 3, "x"]}, "LABEL_MALFORMED"),
        ({"bbox": [1, 2, 3, None]}, "LABEL_MALFORMED"),
        ({"bbox": "1 2 3 4"}, "LABEL_MALFORMED"),
        ({"bbox": None}, "LABEL_MALFORMED"),
        ({"bbox": []}, "LABEL_MALFORMED"),
        ({"bbox": [float("nan"), 2, 3, 4]}, "LABEL_NOT_FINITE"),
        ({"bbox": [0, 0, float("inf"), 4]}, "LABEL_NOT_FINITE"),
        ({"bbox": [0, 0, 10**400, 4]}, "LABEL_NOT_FINITE"),
        ({"bbox": [10, 10, -5, 8]}, "BOX_EMPTY"),
        ({"bbox": [10, 10, 0, 8]}, "BOX_EMPTY"),
        ({"bbox": [-10, -10, 50, 50]}, "BOX_OUTSIDE"),
        ({"bbox": [900, 900, 50, 50]}, "BOX_OUTSIDE"),
    ],
)
def test_a_bad_annotation_is_found_with_its_line_if_others_are_good(
    read: Read, changed: dict[str, object], code: str
) -> None:
    text = coco(annotations=[label(), label(category=2) | {"id": 8} | changed]).replace("{", "\n{")
    found = read({"a.jpg": b"", "l.json": text})
    file, line, value, _ = found.finding(code)
    assert (file, line) == ("l.json", text[: text.index('"id": 8')].count("\n") + 1)
    assert value and value.startswith("annotation 8: bbox ")
    assert found.objects["a.jpg"][0] == "cat"


def test_an_annotation_is_malformed_if_it_is_no_object_or_repeats_a_key(read: Read) -> None:
    text = coco(annotations=[label(), 7]).replace('"iscrowd": 0', '"bbox": [0, 0, 9, 9]')
    assert read({"a.jpg": b"", "l.json": text}).codes == ["LABEL_MALFORMED"] * 2


def test_attributes_are_kept_if_they_are_short_and_plain(read: Read) -> None:
    attributes = {"occluded": True, "id": 7, "color": "red", "hidden": False, "deep": {"x": 1}, "score": 0.5}
    assert read(one(label(attributes=attributes))).json("attributes") == [{"occluded": True, "id": 7, "color": "red"}]


# segmentation


def test_polygons_make_it_segmentation_if_nothing_is_said(read: Read) -> None:
    second = [float(value) + 100 for value in TRIANGLE]
    found = read(one(label(segmentation=[TRIANGLE, second]), label(category=2, segmentation=TRIANGLE)))
    assert found.draft.task_type == SEGMENTATION
    first, flat = found.json("polygons")
    assert [round(value, 6) for value in first[0]] == [0.1, 0.1, 0.5, 0.1, 0.5, 0.5]
    assert (len(first), len(flat)) == (2, 1)
    assert found.codes == []


def test_polygons_give_the_box_if_there_is_none(read: Read) -> None:
    found = read(one(label(bbox=[], segmentation=[TRIANGLE])), task_type=DETECTION)
    assert found.boxes == [(0.1, 0.1, 0.5, 0.5)]
    assert found.json("polygons") == [None]


@pytest.mark.parametrize("segmentation", ["x", [[1, 2, "y", 4, 5, 6]], [[1, 2], 5], {"counts": [1]}, [{"x": 1}]])
def test_a_segmentation_is_malformed_if_it_is_neither_polygons_nor_mask(read: Read, segmentation: object) -> None:
    found = read(one(label(segmentation=[TRIANGLE]), label(category=2, segmentation=segmentation)))
    assert found.codes == ["LABEL_MALFORMED"]


@pytest.mark.parametrize(
    ("segmentation", "code"),
    [([[1, 2, 3, 4]], "POLYGON_TOO_SHORT"), ([[1, 2, 3, 4, 5]], "LABEL_MALFORMED"), ([[]], "POLYGON_TOO_SHORT")],
)
def test_a_polygon_is_found_if_it_has_too_few_points(read: Read, segmentation: object, code: str) -> None:
    found = read(one(label(segmentation=[TRIANGLE]), label(category=2, segmentation=segmentation)))
    assert found.codes == [code]


def test_boxes_among_polygons_are_named_if_the_task_is_guessed(read: Read) -> None:
    found = read(one(label(segmentation=[TRIANGLE]), label(category=2, segmentation=[])))
    assert found.draft.task_type == SEGMENTATION
    assert found.codes == ["TASK_GUESSED", "LABEL_NOT_FOR_TASK"]
    boxes = [label(category=2, bbox=[n, n, 9, 9], segmentation=[]) for n in range(3)]
    found = read(one(label(segmentation=[TRIANGLE]), *boxes))
    assert found.draft.task_type == DETECTION
    assert found.codes == ["TASK_GUESSED"]
    assert len(found.boxes) == 4


def square(top: int = 48, left: int = 64, side: int = 100) -> list[int]:
    """The counts of a square of an image of 640 by 480."""
    column = [480 - side, side]
    return [left * 480 + top, side, *(column * (side - 1)), (640 - left - side + 1) * 480 - top - side]


def test_a_mask_becomes_its_outline_if_it_is_one(read: Read) -> None:
    mask = {"size": [480, 640], "counts": square()}
    found = read(one(label(segmentation=mask)))
    (polygon,) = found.json("polygons")[0]
    xs, ys = [round(x * 640, 6) for x in polygon[0::2]], [round(y * 480, 6) for y in polygon[1::2]]
    assert (min(xs), max(xs), min(ys), max(ys)) == (64, 164, 48, 148)
    assert found.codes == []


def test_a_crowd_is_set_aside_if_iscrowd_says_so(read: Read) -> None:
    mask = {"size": [480, 640], "counts": square()}
    found = read(one(label(segmentation=[TRIANGLE]), label(category=2, iscrowd=1, segmentation=mask)))
    assert found.rows("SELECT crowd FROM annotations ORDER BY id") == [(0,), (1,)]
    assert len(found.json("polygons")[1]) == 1
    assert found.codes == ["CROWD_SET_ASIDE"]


def test_holes_are_told_if_an_outline_fills_them(read: Read) -> None:
    counts = square()
    counts[41:42] = [40, 20, 40]  # within the 21st column
    found = read(one(label(segmentation={"size": [480, 640], "counts": counts})))
    assert found.codes == ["MASK_HOLES"]
    assert "1 hole" in found.finding("MASK_HOLES")[3]


@pytest.mark.parametrize("mask", [{"size": [640, 480], "counts": [307200]}, {"size": [480, 640], "counts": [5]}])
def test_a_mask_is_malformed_if_it_is_not_of_the_image(read: Read, mask: object) -> None:
    found = read(one(label(segmentation=[TRIANGLE]), label(category=2, segmentation=mask)))
    assert found.codes == ["LABEL_MALFORMED"]


# poses


def test_keypoints_make_it_poses_if_nothing_is_said(read: Read) -> None:
    found = read(one(label(keypoints=POINTS, segmentation=[TRIANGLE]), categories=[PERSON]))
    assert found.draft.task_type == POSE
    assert found.json("keypoints") == [[[0.1, 0.1, 2], [0.2, 0.2, 1], [0.0, 0.0, 0]]]
    assert {key: found.draft.get(key) for key in ("kpt_shape", "flip_idx", "kpt_names", "skeleton")} == {
        "kpt_shape": [3, 3],
        "flip_idx": [0, 2, 1],
        "kpt_names": ["nose", "left_eye", "right_eye"],
        "skeleton": [[1, 2], [1, 3]],
    }
    assert found.codes == []


def test_the_number_of_keypoints_is_that_of_the_labels_if_no_category_names_them(read: Read) -> None:
    found = read(one(label(keypoints=POINTS)))
    assert (found.draft.get("kpt_shape"), found.draft.get("flip_idx")) == ([3, 3], None)
    assert len(found.boxes) == 1


def test_poses_are_refused_if_categories_differ_in_their_keypoints(read: Read) -> None:
    horse = {"id": 2, "name": "horse", "keypoints": ["head", "tail"]}
    found = read(one(label(keypoints=POINTS), label(category=2, keypoints=[1, 2, 2] * 2), categories=[PERSON, horse]))
    assert found.codes == ["KEYPOINTS_DISAGREE", "LABEL_NOT_FOR_TASK"]


def test_poses_are_refused_if_nothing_has_keypoints(read: Read) -> None:
    assert read(one(label()), task_type=POSE).codes == ["KEYPOINTS_DISAGREE"]


@pytest.mark.parametrize("points", ["x", [1, 2], [1, 2, 3], [1, 2, "x"] * 3, [1, 2, float("nan")] * 3])
def test_keypoints_are_malformed_if_they_are_no_triples(read: Read, points: object) -> None:
    found = read(one(label(keypoints=POINTS), label(keypoints=points), categories=[PERSON]), task_type=POSE)
    assert found.codes == ["LABEL_MALFORMED"]


@pytest.mark.parametrize(
    ("names", "flip"),
    [
        (["nose", "left_eye", "right_eye"], (0, 2, 1)),
        (["Left Ear", "Right Ear"], (1, 0)),
        (["l_hip", "r_hip", "tail"], (1, 0, 2)),
        (["hip-L", "hip-R"], (1, 0)),
        (["front_left_paw", "front_right_paw", "back_left_paw", "back_right_paw"], (1, 0, 3, 2)),
        (["left_eye", "nose"], None),
        (["a", "b"], None),
        (["left", "left"], None),
    ],
)
def test_the_mirror_is_known_if_names_say_left_and_right(names: list[str], flip: tuple[int, ...] | None) -> None:
    assert flip_of(names) == flip


# large files


class Endless(Upload):
    """The same annotation over and over, 90 MB, never all of it in memory."""

    LABELS = 12_000

    def chunks(self, name: str) -> Iterator[bytes]:
        block = (json.dumps(label(segmentation=[TRIANGLE * 200])) + ",").encode() * 100
        yield b'{"annotations": ['
        yield from (block for _ in range(self.LABELS // 100 - 1))
        yield block[:-1] + b"], " + coco().encode()[1:].replace(b'"annotations"', b'"others"')


@pytest.mark.slow
def test_memory_is_bounded_if_the_file_is_large(read: Read) -> None:
    upload = Endless({"a.jpg": b"", "l.json": coco()})
    tracemalloc.start()
    found = read(upload, task_type=DETECTION)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.boxes) == 1  # all but the first are copies
    assert peak < 48 * 2**20


# images that do not lie upright


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640)])
def test_labels_are_turned_if_the_stated_size_is_that_of_the_raw_image(width: int, height: int) -> None:
    draft = Draft(Path(":memory:"))
    draft.add_image(SourceImage(0, "a.jpg", "0" * 64, "JPEG", 480, 640, 6))  # 640 by 480, shown with its left side up
    text = coco([image(width=width, height=height)], [label(bbox=[0, 0, 48, 64])])
    FORMAT.read(Upload({"a.jpg": b"", "l.json": text}), draft, Wish())
    (box,) = draft.connection.execute("SELECT x1, y1, x2, y2 FROM annotations").fetchall()
    expected = (1 - 64 / 480, 0, 1, 48 / 640) if width == 640 else (0, 0, 48 / 480, 64 / 640)
    assert box == pytest.approx(expected)
