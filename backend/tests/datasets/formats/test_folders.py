"""A folder per class, in the layouts that people have."""

import time
from collections.abc import Iterable

import pytest

from app.datasets.formats.folders import FORMAT, recognise
from app.words import TaskType
from tests.datasets.formats.uploads import BROKEN, Read, Upload, reader

folders = reader(FORMAT)


def images(names: str) -> dict[str, str | bytes]:
    return {f"{name}.png": b"" for name in names.split()}


def labels(reading_objects: dict[str, list[str]]) -> dict[str, str]:
    return {entry.removesuffix(".png"): name for entry, (name,) in reading_objects.items()}


LAYOUTS = {
    "classes": ("cat/1 cat/2 dog/1", {"cat/1": "cat", "cat/2": "cat", "dog/1": "dog"}, [None] * 3),
    "splits": (
        "training/cat/1 training/dog/1 valid/cat/1 Test/dog/2",
        {"Test/dog/2": "dog", "training/cat/1": "cat", "training/dog/1": "dog", "valid/cat/1": "cat"},
        ["test", "train", "train", "val"],
    ),
    "splits inside classes": (
        "cat/train/1 cat/val/2 dog/train/1",
        {"cat/train/1": "cat", "cat/val/2": "cat", "dog/train/1": "dog"},
        ["train", "val", "train"],
    ),
    "a folder around classes": ("a/b/cat/1 a/b/dog/1", {"a/b/cat/1": "cat", "a/b/dog/1": "dog"}, [None] * 2),
    "a folder around splits": (
        "a/train/cat/1 a/val/cat/2",
        {"a/train/cat/1": "cat", "a/val/cat/2": "cat"},
        ["train", "val"],
    ),
    "one split": ("train/cat/1 train/dog/1", {"train/cat/1": "cat", "train/dog/1": "dog"}, ["train"] * 2),
    "a train among vehicles": ("bus/1 car/1 train/1", {"bus/1": "bus", "car/1": "car", "train/1": "train"}, [None] * 3),
    "a train among vehicles in splits": (
        "train/bus/1 train/train/1 val/train/2",
        {"train/bus/1": "bus", "train/train/1": "train", "val/train/2": "train"},
        ["train", "train", "val"],
    ),
    "many scripts": ("고양이/1 собака/1 猫/1", {"고양이/1": "고양이", "собака/1": "собака", "猫/1": "猫"}, None),
    "digits": ("0/1 10/1 2/1", {"0/1": "0", "10/1": "10", "2/1": "2"}, [None] * 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_and_splits_are_the_folders_if_there_are_(layout: str, folders: Read) -> None:
    names, expected, splits = LAYOUTS[layout]
    reading = folders(images(names))
    assert labels(reading.objects) == dict(sorted(expected.items(), key=lambda item: item[0].encode()))
    assert splits is None or list(reading.splits.values()) == splits
    assert reading.draft.classes == sorted(set(expected.values()))
    assert reading.draft.task_type is TaskType.IMAGE_CLASSIFICATION
    assert reading.codes == []
    assert (recognise(Upload(images(names))) is not None) == (len(reading.draft.classes) > 1)


def test_images_are_named_below_their_class(folders: Read) -> None:
    reading = folders(images("train/cat/1 train/cat/tabby/2 train/dog/1"))
    assert list(reading.names.values()) == ["1.png", "tabby/2.png", "1.png"]


def test_first_folder_is_the_class_and_the_finding_says_so_if_folders_are_nested(folders: Read) -> None:
    reading = folders(images("cat/indoor/1 cat/outdoor/2 dog/1"))
    assert labels(reading.objects) == {"cat/indoor/1": "cat", "cat/outdoor/2": "cat", "dog/1": "dog"}
    assert reading.finding("CLASS_FOLDERS_NESTED")[2] == "cat"


def test_image_is_left_out_if_it_lies_in_no_class(folders: Read) -> None:
    reading = folders(images("train/cat/1 train/dog/1 test/1") | {"a.png": b"", "train/b.png": b""})
    assert list(reading.splits) == ["train/cat/1.png", "train/dog/1.png"]
    assert [file for (file,) in reading.rows("SELECT file FROM findings WHERE code = 'IMAGE_UNUSED'")] == [
        "a.png",
        "test/1.png",
        "train/b.png",
    ]


def test_broken_image_has_no_finding_of_its_own_here(folders: Read) -> None:
    reading = folders({"cat/1.png": b"", "cat/2.png": BROKEN, "dog/1.png": b""})
    assert (list(reading.splits), reading.codes) == (["cat/1.png", "dog/1.png"], [])


def test_nothing_is_a_class_if_images_lie_flat(folders: Read) -> None:
    assert folders(images("1 2")).codes == ["NO_CLASSES", "IMAGE_UNUSED", "IMAGE_UNUSED"]


@pytest.mark.parametrize(
    ("others", "score"),
    [("", 2), ("README.txt", 2), ("a/1.txt a/2.txt b/1.txt b/2.txt", 1), ("a/1.xml a/2.xml", 1)],
)
def test_label_files_beside_images_speak_for_another_format(others: str, score: int) -> None:
    clues = recognise(Upload(images("a/1 a/2 b/1 b/2") | dict.fromkeys(others.split(), b"")))
    assert clues and clues.score == score


@pytest.mark.parametrize(
    "names",
    [
        "images/train/1 images/val/1",
        "train/images/1 valid/images/2",
        "1 2",
        "JPEGImages/1",
        "train2017/1 val2017/1",
        "",
    ],
)
def test_folders_of_other_formats_are_no_classes(names: str) -> None:
    assert recognise(Upload(images(names))) is None


def test_five_thousand_digits_are_read_fast(folders: Read) -> None:
    names: Iterable[str] = (f"{split}/{n % 10}/{n}" for split in ("training", "testing") for n in range(2_500))
    start = time.process_time()
    reading = folders(images(" ".join(names)))
    assert reading.rows("SELECT split, count(*) FROM images GROUP BY 1") == [("test", 2500), ("train", 2500)]
    assert reading.draft.classes == [str(digit) for digit in range(10)]
    assert time.process_time() - start < 5
