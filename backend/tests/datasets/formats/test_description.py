"""What data.yaml says, and the paths in it, found in the upload and nowhere else."""

import pytest

from app.datasets.findings import Finding
from app.datasets.formats.description import Description, candidates, find_description, read_description
from app.datasets.formats.yolo import FORMAT, recognise
from app.words import TaskType
from tests.datasets.formats.uploads import Read, Upload, reader

yolo = reader(FORMAT)
Contents = dict[str, str | bytes]
NAMES = "names: [cat, dog]\n"
BOX = "0 .5 .5 .2 .2"
ROBOFLOW: Contents = {
    "train/images/a.jpg": b"",
    "train/labels/a.txt": BOX,
    "valid/images/b.jpg": b"",
    "valid/labels/b.txt": BOX,
}
IN_SPLITS = {"train/images/a.jpg": "train", "valid/images/b.jpg": "val"}
FLAT: Contents = {"images/a.jpg": b"", "labels/a.txt": BOX, "images/b.jpg": b"", "labels/b.txt": BOX}


def describe(text: str) -> tuple[Description, list[Finding]]:
    findings: list[Finding] = []
    return read_description(Upload({"data.yaml": text}), "data.yaml", findings.append), findings


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]", ["cat", "dog"]),
        ("names:\n- cat\n- dog\n", ["cat", "dog"]),
        ("names: {0: cat, 1: dog}", ["cat", "dog"]),
        ("names:\n  1: dog\n  0: cat", ["cat", "dog"]),
        ("{names: {'0': cat, '1': dog}}", ["cat", "dog"]),
        (
            "names: [yes, no, on, ~, 01, 1e3, 2024-01-01, 0x1F]",
            ["yes", "no", "on", "~", "01", "1e3", "2024-01-01", "0x1F"],
        ),
        ("names: ['고양이', \"собака\", ' 猫 ']", ["고양이", "собака", "猫"]),
        ("\ufeffnames: [cat]\r\nnc: 1\r\n", ["cat"]),
        ("nc: 1", None),
    ],
)
def test_names_are_as_they_are_written(text: str, names: list[str] | None) -> None:
    description, findings = describe(text)
    assert (description.names, findings) == (names, [])


@pytest.mark.parametrize("nc", ["", "nc: 2", "nc: 6"])
def test_ids_are_numbered_anew_if_they_have_gaps(nc: str, yolo: Read) -> None:
    reading = yolo({"images/a.jpg": b"", "labels/a.txt": "5 .5 .5 .2 .2", "d.yml": "names: {0: cat, 5: dog}\n" + nc})
    assert (reading.draft.classes, reading.objects) == (["cat", "dog"], {"images/a.jpg": ["dog"]})
    assert reading.codes == ["CLASS_IDS_RENUMBERED"]


def test_id_is_out_of_range_if_it_falls_in_a_gap(yolo: Read) -> None:
    reading = yolo({"images/a.jpg": b"", "labels/a.txt": "1 .5 .5 .2 .2", "d.yml": "names: {0: cat, 5: dog}\n"})
    assert "class 1 is not one of the 2 that are named" in reading.finding("CLASS_OUT_OF_RANGE")[3]


@pytest.mark.parametrize(
    ("text", "code", "line", "words"),
    [
        ("names: [a, b]\nnc: 3", "CLASS_NAMES_DISAGREE", 2, "says nc: 3 and names 2 classes"),
        ("names: [a]\nnc: many", "DATA_YAML_INVALID", 2, "whole number in `nc`"),
        ("names:\n  0: a\n  0: b", "CLASS_NAMES_DISAGREE", 3, "names class 0 twice"),
        ("names: {cat: 0}", "CLASS_NAMES_DISAGREE", 1, "by 'cat', which is no whole number"),
        ("names: [a, [b]]", "CLASS_NAME_INVALID", 1, "no plain name for class 1"),
        ("names: []", "DATA_YAML_INVALID", 1, "a list of class names"),
        ("names: cat", "DATA_YAML_INVALID", 1, "a list of class names"),
        ("names: [a]\nnames: [b]", "DATA_YAML_INVALID", 2, "has `names` twice"),
        ("names: [a]\nkpt_shape: [0, 3]", "DATA_YAML_INVALID", 2, "kpt_shape"),
        ("names: [a]\nkpt_shape: [3, 4]", "DATA_YAML_INVALID", 2, "kpt_shape"),
        ("names: [a]\nkpt_shape: 17", "DATA_YAML_INVALID", 2, "kpt_shape"),
        ("names: [a]\nkpt_shape: [2, 3]\nflip_idx: [0, 0]", "DATA_YAML_INVALID", 3, "each of 0 to 1 once"),
        ("names: [a]\ntrain: {a: b}", "DATA_YAML_INVALID", 2, "a path or a list of paths"),
        ("names: [", "DATA_YAML_INVALID", None, "not readable YAML"),
        ("- names", "DATA_YAML_INVALID", None, "not a mapping"),
        ("", "DATA_YAML_INVALID", None, "not a mapping"),
        ("names: [a]\n---\nnames: [b]", "DATA_YAML_INVALID", None, "not readable YAML"),
        ("names: [a]\ndownload: |\n  import os", "DOWNLOAD_IGNORED", 2, "never run"),
    ],
)
def test_description_is_a_finding_with_its_line(text: str, code: str, line: int | None, words: str) -> None:
    _, (finding,) = describe(text)
    assert (finding.code, finding.file, finding.line) == (code, "data.yaml", line)
    assert words in finding.message


def test_broken_description_is_the_only_finding_about_classes(yolo: Read) -> None:
    reading = yolo(FLAT | {"data.yaml": "names: ["})
    assert reading.codes == ["DATA_YAML_INVALID"]
    assert reading.draft.task_type is TaskType.OBJECT_DETECTION


@pytest.mark.parametrize(
    ("yaml", "codes"),
    [
        ("train: train/images\nval: valid/images", []),
        ("path: .\ntrain: [train/images]\nval: [./valid/images/]", []),
        (
            "train: ../train/images\nval: ../valid/images\ntest: ../test/images",
            ["SPLIT_LEFT_OUT", *["PATH_REPAIRED"] * 2],
        ),
        ("path: /etc\ntrain: train/images\nvalid: valid/images", ["PATH_REPAIRED"] * 2),
        ("train: /home/me/x/train/images\nval: /home/me/x/valid/images", ["PATH_REPAIRED"] * 2),
        ("path: C:\\Users\\me\ntrain: C:\\Users\\me\\train\\images\nval: valid\\images", ["PATH_REPAIRED"] * 2),
        ("train: old/training\nval: old/validation", ["PATH_REPAIRED"] * 2),
        ("train: train\nvalidation: valid\ntest:", []),
        ("val: null", []),
    ],
)
def test_paths_are_found_in_the_upload(yaml: str, codes: list[str], yolo: Read) -> None:
    reading = yolo(ROBOFLOW | {"data.yaml": NAMES + yaml})
    assert reading.splits == IN_SPLITS
    assert sorted(reading.codes) == sorted(codes)


def test_path_is_not_found_if_only_one_split_was_sent(yolo: Read) -> None:
    files: Contents = {"train/images/a.jpg": b"", "train/labels/a.txt": BOX}
    reading = yolo(files | {"data.yaml": NAMES + "train: train/images\nval: valid/images"})
    assert reading.finding("PATH_NOT_FOUND")[:3] == ("data.yaml", 3, "valid/images")


def test_splits_are_left_to_the_platform_if_none_of_them_was_sent(yolo: Read) -> None:
    files: Contents = {"a.jpg": b"", "a.txt": BOX}
    reading = yolo(files | {"data.yaml": NAMES + "train: x/train\nval: https://example.org/val"})
    assert (reading.splits, reading.codes) == ({"a.jpg": None}, ["SPLIT_LEFT_OUT"] * 2)


def test_splits_are_left_to_the_platform_if_train_and_val_are_the_same(yolo: Read) -> None:
    reading = yolo(FLAT | {"data.yaml": NAMES + "train: images\nval: images"})
    assert reading.splits == {"images/a.jpg": None, "images/b.jpg": None}
    assert reading.codes == ["SPLIT_OVERLAP"]


def test_image_stays_in_the_first_split_if_two_name_it(yolo: Read) -> None:
    lists = {"train.txt": "images/a.jpg", "val.txt": "images/b.jpg\nimages/a.jpg\n"}
    reading = yolo(FLAT | lists | {"data.yaml": NAMES + "train: train.txt\nval: val.txt"})
    assert reading.splits == {"images/a.jpg": "train", "images/b.jpg": "val"}
    assert reading.codes == ["SPLIT_OVERLAP"]


def test_several_lists_and_folders_make_one_split(yolo: Read) -> None:
    files: Contents = {f"{folder}/images/1.jpg": b"" for folder in "abcd"}
    yaml = NAMES + "train:\n- a/images\n- b/images\n- more.txt\nval: d/images"
    reading = yolo(files | {"data.yaml": yaml, "more.txt": "c/images/1.jpg"})
    assert list(reading.splits.values()) == ["train", "train", "train", "val"]
    assert list(reading.names.values()) == ["a/1.jpg", "b/1.jpg", "c/1.jpg", "d/1.jpg"]


def test_image_is_unused_if_no_split_names_it(yolo: Read) -> None:
    files = ROBOFLOW | {"extra/images/x.jpg": b"", "test/images/t.jpg": b""}
    reading = yolo(files | {"data.yaml": NAMES + "train: train/images\nval: valid/images"})
    assert reading.finding("IMAGE_UNUSED")[0] == "extra/images/x.jpg"
    assert reading.splits["test/images/t.jpg"] == "test"


def test_paths_of_lists_are_repaired_and_counted(yolo: Read) -> None:
    lists = {"train.txt": "/data/x/images/a.jpg\nimages/gone.jpg\n", "val.txt": "D:\\x\\images\\b.jpg"}
    reading = yolo(FLAT | lists | {"data.yaml": NAMES + "train: train.txt\nval: val.txt"})
    assert reading.splits == {"images/a.jpg": "train", "images/b.jpg": "val"}
    assert reading.codes == ["IMAGE_MISSING", "PATH_REPAIRED", "PATH_REPAIRED"]
    assert reading.finding("IMAGE_MISSING")[:3] == ("train.txt", 2, "images/gone.jpg")


@pytest.mark.parametrize("name", ["data.yaml", "x/dataset.yml", "custom.yaml", "Data.YAML"])
def test_description_may_have_any_name(name: str, yolo: Read) -> None:
    files = FLAT | {name: NAMES}
    assert yolo(files).draft.classes == ["cat", "dog"]
    clues = recognise(Upload(files))
    assert clues and clues.score == 3


def test_other_yaml_is_no_description() -> None:
    upload = Upload({"hyp.yaml": "lr0: 0.01", "big.yaml": "names: [a]\n" + "#" * 2**20, "conf/args.yml": "[names]"})
    assert (candidates(upload), find_description(upload, lambda finding: pytest.fail(finding.message))) == ([], None)


def test_descriptions_that_contradict_each_other_are_refused(yolo: Read) -> None:
    reading = yolo(FLAT | {"data.yaml": NAMES, "other.yaml": "names: [dog, cat]"})
    assert reading.finding("CLASS_NAMES_DISAGREE")[0] == "other.yaml"


def test_darknet_is_described_by_obj_data(yolo: Read) -> None:
    files: Contents = {
        "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = b/",
        "obj.names": "cat\ndog\n",
        "train.txt": "data/obj_train_data/a.jpg\n",
        "valid.txt": "data/obj_valid_data/b.jpg\n",
        "obj_train_data/a.jpg": b"",
        "obj_train_data/a.txt": BOX,
        "obj_valid_data/b.jpg": b"",
        "obj_valid_data/b.txt": "1 .5 .5 .2 .2",
    }
    reading = yolo(files)
    assert reading.splits == {"obj_train_data/a.jpg": "train", "obj_valid_data/b.jpg": "val"}
    assert reading.objects == {"obj_train_data/a.jpg": ["cat"], "obj_valid_data/b.jpg": ["dog"]}
    assert set(reading.codes) == {"PATH_REPAIRED"}


@pytest.mark.parametrize(
    ("files", "codes"),
    [
        ({"classes.txt": "cat\ndog\n\n"}, []),
        ({"labels/classes.txt": "\ufeffcat\r\ndog"}, []),
        ({"a/classes.txt": "cat", "b/classes.txt": "cat\ndog"}, []),
        ({"a/classes.txt": "cat\ndog", "b/classes.txt": "dog\ncat"}, ["CLASS_NAMES_DISAGREE"]),
        ({"classes.txt": "cat\ndog", "data.yaml": NAMES}, []),
        ({"classes.txt": "dog\nperson", "data.yaml": NAMES}, ["CLASS_NAMES_IGNORED"]),
    ],
)
def test_names_come_from_files_of_names(files: Contents, codes: list[str], yolo: Read) -> None:
    reading = yolo(FLAT | files)
    assert (reading.draft.classes, reading.codes) == (["cat", "dog"], codes)
