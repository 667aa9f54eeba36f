"""What changed between two indexes: content decides which images are the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.datasets.annotations import Annotation
from app.datasets.index import Index
from app.services.datasets.compare import SHOWN, ImageChanges, compare_images
from tests.datasets.versioned import Shot, box, make_version, picture, shots


def _compare(
    folder: Path, before: Sequence[Shot], after: Sequence[Shot], classes: Sequence[str] = ("zero", "one")
) -> ImageChanges:
    old, new = make_version(folder / "before", before), make_version(folder / "after", after, classes)
    with Index(old.index) as one, Index(new.index) as other:
        return compare_images(one, other)


def _paths(changes: ImageChanges) -> dict[str, list[tuple[str, str | None]]]:
    found = {name: [(change.path, change.before) for change in value.first] for name, value in vars(changes).items()}
    return {name: paths for name, paths in found.items() if paths}


def test_nothing_changed_if_only_the_order_did(tmp_path: Path) -> None:
    one = replace(shots(3)[0], annotations=[box(0), box(1), box(0, 0.5)])
    other = replace(one, annotations=[box(1), box(0, 0.5), box(0)])
    assert _paths(_compare(tmp_path, [one, *shots(3)[1:]], [*shots(3)[1:], other])) == {}


def test_images_came_and_went_if_their_content_is_on_one_side(tmp_path: Path) -> None:
    new = Shot("0000.jpg", "train", picture(99), [box()])
    assert _paths(_compare(tmp_path, shots(3), [new, *shots(3)[1:]])) == {
        "added": [("images/train/0000.jpg", None)],
        "removed": [("images/train/0000.jpg", None)],
    }


def test_an_image_moved_if_its_split_is_another(tmp_path: Path) -> None:
    before = shots(3)
    after = [replace(before[0], split="val"), *before[1:]]
    assert _paths(_compare(tmp_path, before, after)) == {"moved": [("images/val/0000.jpg", "images/train/0000.jpg")]}


def test_an_image_was_renamed_if_its_name_alone_is_another(tmp_path: Path) -> None:
    before = shots(3)
    after = [replace(before[0], name="new.jpg"), *before[1:]]
    changes = {"renamed": [("images/train/new.jpg", "images/train/0000.jpg")]}
    assert _paths(_compare(tmp_path, before, after)) == changes


def test_an_image_may_have_moved_and_be_relabelled(tmp_path: Path) -> None:
    before = shots(3)
    after = [replace(before[0], split="val", annotations=[box(1)]), *before[1:]]
    assert _paths(_compare(tmp_path, before, after)) == {
        "moved": [("images/val/0000.jpg", "images/train/0000.jpg")],
        "relabelled": [("images/val/0000.jpg", None)],
    }


@pytest.mark.parametrize(
    ("labels", "relabelled"),
    [
        ([box(0), box(0)], False),
        ([box(0), box(0, 0.25 + 4e-9)], False),
        ([box(0, 0.25 + 4e-9), box(0, 0.25 - 4e-9)], False),
        ([box(0)], True),
        ([box(0)] * 3, True),
        ([box(0), box(1)], True),
        ([box(0), box(0, 0.26)], True),
        ([], True),
        ([box(0), box(0), box(1, crowd=True)], False),
        ([box(0, attributes={"difficult": True}), box(0)], False),
    ],
)
def test_an_image_is_relabelled_if_a_trainer_would_see_other_labels(
    tmp_path: Path, labels: list[Annotation], relabelled: bool
) -> None:
    before = [replace(shots(2)[0], annotations=[box(0), box(0)]), shots(2)[1]]
    after = [replace(before[0], annotations=labels), before[1]]
    found = _paths(_compare(tmp_path, before, after))
    assert found == ({"relabelled": [("images/train/0000.jpg", None)]} if relabelled else {})


POLYGON, OTHER = ((0.1, 0.1, 0.2, 0.1, 0.2, 0.2),), ((0.1, 0.1, 0.2, 0.1, 0.2, 0.3),)


@pytest.mark.parametrize(
    ("task_type", "before", "after", "relabelled"),
    [
        ("object_detection", box(polygons=POLYGON), box(polygons=OTHER), False),
        ("instance_segmentation", box(polygons=POLYGON), box(polygons=OTHER), True),
        ("instance_segmentation", box(polygons=POLYGON), box(x=0.5, polygons=POLYGON), False),
        ("oriented_object_detection", box(polygons=POLYGON), box(polygons=OTHER), True),
        ("pose_estimation", box(keypoints=((0.1, 0.1, 2),)), box(keypoints=((0.1, 0.1, 1),)), True),
        ("pose_estimation", box(keypoints=((0.1, 0.1, 2),)), box(keypoints=((0.1, 0.1 + 4e-9, 2),)), False),
        ("image_classification", Annotation(0), Annotation(1), True),
        ("image_classification", Annotation(0), Annotation(0, attributes={"note": 1}), False),
    ],
)
def test_what_a_label_of_the_task_has_decides(
    tmp_path: Path, task_type: str, before: Annotation, after: Annotation, relabelled: bool
) -> None:
    made = [
        make_version(tmp_path / name, [Shot("a.jpg", "train", picture(1), [label])], task_type=task_type)
        for name, label in (("before", before), ("after", after))
    ]
    with Index(made[0].index) as old, Index(made[1].index) as new:
        assert compare_images(old, new).relabelled.count == relabelled


def test_images_are_relabelled_if_their_class_is_renamed(tmp_path: Path) -> None:
    found = _compare(tmp_path, shots(3), shots(3), classes=("nought", "one"))
    assert [change.path for change in found.relabelled.first] == ["images/train/0000.jpg", "images/val/0002.jpg"]


def test_copies_are_told_apart_by_their_names_if_one_went(tmp_path: Path) -> None:
    copies = [Shot(name, "train", picture(7), [box()]) for name in ("a.jpg", "b.jpg", "c.jpg")]
    after = [replace(copies[2], split="val"), replace(copies[0], name="d.jpg")]
    assert _paths(_compare(tmp_path, copies, after)) == {
        "moved": [("images/val/c.jpg", "images/train/c.jpg")],
        "renamed": [("images/train/d.jpg", "images/train/a.jpg")],
        "removed": [("images/train/b.jpg", None)],
    }


def test_all_are_counted_and_the_first_shown_if_there_are_many(tmp_path: Path) -> None:
    data = picture(5)
    many = [Shot(f"{number:04}.jpg", "train", data) for number in range(SHOWN + 20)]
    changes = _compare(tmp_path, [], many)
    assert (changes.added.count, len(changes.added.first)) == (SHOWN + 20, SHOWN)
    assert (changes.removed.count, changes.relabelled.count) == (0, 0)
