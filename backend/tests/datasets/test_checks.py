"""What is told of a dataset as a whole."""

from collections.abc import Iterable

import pytest

from app.datasets.annotations import Annotation
from app.datasets.checks import check, tidy
from app.datasets.draft import Draft
from app.words import TaskType
from tests.datasets.drafts import CLASSIFICATION, DETECTION, add, codes, draft_of, fill, findings


def tidied(draft: Draft, unread: Iterable[str] = (), junk: int = 0, tell_unused: bool = True) -> list[str]:
    tidy(draft, unread, junk, tell_unused=tell_unused)
    return codes(draft)


def checked(draft: Draft) -> list[str]:
    check(draft)
    return codes(draft)


def test_nothing_is_told_of_a_sound_dataset() -> None:
    with draft_of() as draft:
        fill(draft, 4, [(0, 1)], "train")
        add(draft, "v.jpg", "val", [0, 1])
        assert tidied(draft) == checked(draft) == []


def test_image_that_no_reader_placed_is_left_out_and_named() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg")
        draft.connection.execute("UPDATE images SET name = NULL")
        assert tidied(draft) == ["IMAGE_UNUSED"]
        assert findings(draft, "IMAGE_UNUSED") == [("a.jpg", None, "dropped")]
        assert list(draft.images()) == []


def test_image_that_the_reader_named_itself_is_not_named_again() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg")
        draft.connection.execute("UPDATE images SET name = NULL")
        assert tidied(draft, tell_unused=False) == []
        assert list(draft.images()) == []


def test_files_that_nobody_read_and_junk_are_told() -> None:
    with draft_of() as draft:
        tidy(draft, ["README.md", "train.py"], 7, tell_unused=True)
        assert findings(draft, "FILE_IGNORED") == [
            *(("README.md", None, "dropped"), ("train.py", None, "dropped"), (None, "7", "dropped"))
        ]


def test_folders_are_numbered_by_their_names_and_empty_ones_are_gone() -> None:
    with draft_of(CLASSIFICATION, ["zebra", "wolf", "ant"]) as draft:
        add(draft, "z.jpg", None, [0])
        add(draft, "a.jpg", None, [2])
        assert tidied(draft) == ["CLASS_UNUSED"]
        assert draft.classes == ["ant", "zebra"]
        query = "SELECT entry, class_id FROM annotations JOIN images ON images.id = image_id ORDER BY entry"
        assert draft.connection.execute(query).fetchall() == [("a.jpg", 0), ("z.jpg", 1)]


def test_image_without_a_class_is_left_out_of_folders() -> None:
    with draft_of(CLASSIFICATION, ["a"]) as draft:
        add(draft, "a.jpg", None, [0])
        add(draft, "b.jpg", None, [])
        assert tidied(draft) == ["IMAGE_UNLABELLED"]
        assert [image.entry for image in draft.images()] == ["a.jpg"]


def test_dataset_without_images_is_refused() -> None:
    with draft_of() as draft:
        assert checked(draft) == ["NO_IMAGES"]


def test_dataset_without_classes_is_refused() -> None:
    with draft_of(classes=[]) as draft:
        add(draft, "a.jpg", classes=[])
        assert checked(draft) == ["NO_CLASSES"]


def test_dataset_without_objects_to_train_on_is_refused() -> None:
    with draft_of(classes=["cat"]) as draft:
        add(draft, "a.jpg", "train", [])
        add(draft, "b.jpg", "val", [0])
        draft.mark_background(1)
        assert checked(draft) == ["NO_LABELS", "CLASS_MISSING_IN_SPLIT"]


@pytest.mark.parametrize(("split", "missing"), [("train", "val"), ("val", "train")])
def test_split_that_training_needs_is_missed(split: str, missing: str) -> None:
    with draft_of() as draft:
        fill(draft, 2, [(0, 1)], split)
        check(draft)
        ((message,),) = draft.connection.execute("SELECT message FROM findings WHERE code = 'SPLIT_EMPTY'")
        assert missing in message


def test_unlabelled_images_are_named_and_backgrounds_are_not() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg", "train", [0, 1])
        add(draft, "v.jpg", "val", [0, 1])
        add(draft, "unlabelled.jpg", "train", [])
        draft.mark_background(add(draft, "background.jpg", "train", []))
        assert checked(draft) == ["IMAGE_UNLABELLED"]
        assert findings(draft, "IMAGE_UNLABELLED") == [("unlabelled.jpg", None, "kept")]


def test_unused_class_is_told() -> None:
    with draft_of(classes=["cat", "dog", "emu"]) as draft:
        fill(draft, 2, [(0, 1)], "train")
        add(draft, "v.jpg", "val", [0, 1])
        assert checked(draft) == ["CLASS_UNUSED"]
        assert findings(draft, "CLASS_UNUSED") == [(None, "emu", "kept")]


def test_class_that_a_split_lacks_is_told() -> None:
    with draft_of(classes=["cat", "dog", "emu"]) as draft:
        fill(draft, 2, [(0, 1)], "train")
        add(draft, "v.jpg", "val", [0, 2])
        assert checked(draft) == ["CLASS_MISSING_IN_SPLIT"] * 2
        assert [value for _, value, _ in findings(draft, "CLASS_MISSING_IN_SPLIT")] == ["emu", "dog"]


def test_folder_that_a_split_lacks_refuses_where_trainers_number_by_it() -> None:
    with draft_of(CLASSIFICATION, ["a", "b", "c"]) as draft:
        for number, (split, class_id) in enumerate(
            [("train", 0), ("train", 1), ("train", 2), ("val", 0), ("val", 1), ("test", 0), ("test", 2)]
        ):
            add(draft, f"{number}.jpg", split, [class_id])
        assert checked(draft) == ["CLASS_FOLDER_MISSING", "CLASS_MISSING_IN_SPLIT"]
        assert findings(draft, "CLASS_FOLDER_MISSING") == [("val/c", "c", "refused")]


@pytest.mark.parametrize("task", [DETECTION, CLASSIFICATION])
def test_split_of_a_single_class_is_told(task: TaskType) -> None:
    with draft_of(task) as draft:
        fill(draft, 4, [0, 1], "train")
        add(draft, "v.jpg", "val", [0])
        assert "SPLIT_SINGLE_CLASS" in checked(draft)
        assert findings(draft, "SPLIT_SINGLE_CLASS") == [(None, "val", "kept")]


def test_single_class_is_no_finding_if_the_dataset_has_no_other() -> None:
    with draft_of(classes=["cat"]) as draft:
        fill(draft, 2, [0], "train")
        add(draft, "v.jpg", "val", [0])
        assert checked(draft) == []


@pytest.mark.parametrize(("most", "found"), [(100, []), (101, ["CLASS_IMBALANCE"])])
def test_imbalance_is_extreme_above_a_hundred_to_one(most: int, found: list[str]) -> None:
    with draft_of() as draft:
        image_id = add(draft, "a.jpg", "train", [0] * most + [1])
        add(draft, "v.jpg", "val", [])
        draft.mark_background(image_id + 1)
        check(draft)
        assert [code for code in codes(draft) if code == "CLASS_IMBALANCE"] == found


def test_crowd_regions_are_no_objects() -> None:
    with draft_of(classes=["cat"]) as draft:
        image_id = add(draft, "a.jpg", "train", [])
        draft.annotate(image_id, Annotation(0, (0, 0, 1, 1), crowd=True))
        add(draft, "v.jpg", "val", [0])
        assert checked(draft) == ["NO_LABELS", "CLASS_MISSING_IN_SPLIT"]


def test_outlines_that_a_label_joins_are_told() -> None:
    square, other = (0.0, 0.0, 0.2, 0.0, 0.2, 0.2), (0.5, 0.5, 0.7, 0.5, 0.7, 0.7)
    with draft_of(TaskType.INSTANCE_SEGMENTATION, ["cat"]) as draft:
        for split in ("train", "val"):
            image_id = add(draft, f"{split}.jpg", split, [])
            draft.annotate(image_id, Annotation(0, (0, 0, 1, 1), (square,)))
        draft.annotate(image_id, Annotation(0, (0, 0, 1, 1), (square, other)))
        assert checked(draft) == ["POLYGON_PARTS_JOINED"]
        assert findings(draft, "POLYGON_PARTS_JOINED") == [("val.jpg", "2", "repaired")]
