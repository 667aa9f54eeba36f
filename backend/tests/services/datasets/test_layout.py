"""Names of an archive become splits, or problems by file."""

from typing import Any

import pytest

from app.errors import Invalid
from app.services.datasets.layout import class_names, find_layout
from app.words import TaskType
from tests.services.datasets.zips import class_files, yolo_files

DETECTION, CLASSIFICATION = TaskType.OBJECT_DETECTION, TaskType.IMAGE_CLASSIFICATION


def _problems(names: list[str], task_type: TaskType = DETECTION) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        find_layout(names, task_type)
    fields: list[dict[str, Any]] = caught.value.details["fields"]
    return {field["field"]: field["message"] for field in fields}


def test_yolo_layout_is_sorted_into_splits() -> None:
    layout = find_layout([*yolo_files(), "images/test/deep/er/d.webp"], DETECTION)
    assert layout.images == {
        "train": ["images/train/a.jpg", "images/train/b.png"],
        "val": ["images/val/c.jpg"],
        "test": ["images/test/deep/er/d.webp"],
    }
    assert layout.labels["train"] == ["labels/train/a.txt"]
    assert layout.splits == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("names", "task_type"), [(list(yolo_files()), DETECTION), (list(class_files()), CLASSIFICATION)]
)
def test_layout_is_found_one_folder_deep(names: list[str], task_type: TaskType) -> None:
    layout = find_layout([f"digits/{name}" for name in names], task_type)
    assert layout.sources == {name: f"digits/{name}" for name in names if name != "data.yaml"}
    assert layout.data_yaml in (None, "digits/data.yaml")


def test_junk_and_foreign_files_are_left_out_and_counted() -> None:
    junk = ["__MACOSX/images/train/._a.jpg", "images/.DS_Store", "README.txt", "labels/train.cache", "images/"]
    layout = find_layout([*yolo_files(), *junk[:-1]], DETECTION)
    assert layout.ignored == 4
    assert not any(name in layout.sources for name in junk)


@pytest.mark.parametrize(
    ("added", "place", "words"),
    [
        ("images/valid/x.jpg", "images/valid/x.jpg", "use images/{train,val,test}"),
        ("images/x.jpg", "images/x.jpg", "lies in no split"),
        ("images/train/x.gif", "images/train/x.gif", "use .bmp .jpeg"),
        ("images/train/a.webp", "images/train/a.webp", "same label file as images/train/a.jpg"),
        ("labels/train/z.txt", "labels/train/z.txt", "not in images/train"),
        ("labels/train/a.TXT", "labels/train/a.TXT", "use .txt"),
    ],
)
def test_file_is_a_problem_if_it_has_no_place(added: str, place: str, words: str) -> None:
    problems = _problems([*yolo_files(), added])
    assert list(problems) == [place]
    assert words in problems[place]


@pytest.mark.parametrize("missing", ["images/train/", "images/val/", "data.yaml"])
def test_layout_is_refused_if_a_part_is_missing(missing: str) -> None:
    names = [name for name in yolo_files() if not name.startswith((missing, missing.replace("images", "labels")))]
    assert list(_problems(names)) == [missing]


def test_layout_is_refused_if_the_archive_is_empty() -> None:
    assert set(_problems([])) == {"images/train/", "images/val/", "data.yaml"}


def test_classes_are_the_folders_in_their_order() -> None:
    assert class_names(find_layout(list(class_files()), CLASSIFICATION)) == ["cat", "dog"]


def test_class_is_a_problem_if_a_split_has_no_image_of_it() -> None:
    problems = _problems([name for name in class_files() if not name.startswith("val/dog")], CLASSIFICATION)
    assert problems == {"val/dog": "the val split has no images of class 'dog'"}


def test_image_is_a_problem_if_it_lies_in_no_class() -> None:
    assert list(_problems([*class_files(), "train/x.jpg"], CLASSIFICATION)) == ["train/x.jpg"]


def test_first_twenty_problems_are_named_and_all_are_counted() -> None:
    with pytest.raises(Invalid, match="and 29 more") as caught:
        find_layout([*yolo_files(), *(f"labels/train/x{number}.txt" for number in range(30))], DETECTION)
    assert (len(caught.value.details["fields"]), caught.value.details["total"]) == (20, 30)
