"""The same image more than once."""

from app.datasets.duplicates import check_duplicates
from tests.datasets.drafts import CLASSIFICATION, add, codes, draft_of, findings


def test_nothing_is_told_if_all_images_differ() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg")
        add(draft, "b.jpg")
        check_duplicates(draft)
        assert codes(draft) == []


def test_every_copy_after_the_first_is_named_within_a_split() -> None:
    with draft_of() as draft:
        for name in "cab":
            add(draft, f"{name}.jpg", "train", content="same")
        check_duplicates(draft)
        assert findings(draft, "IMAGE_DUPLICATE") == [("b.jpg", "a.jpg", "kept"), ("c.jpg", "a.jpg", "kept")]
        assert codes(draft) == ["IMAGE_DUPLICATE"] * 2


def test_first_of_each_further_split_is_named_across_splits() -> None:
    with draft_of() as draft:
        for name, split in (("a", "test"), ("b", "train"), ("c", "val"), ("d", "val")):
            add(draft, f"{name}.jpg", split, content="same")
        check_duplicates(draft)
        assert findings(draft, "IMAGE_DUPLICATE_ACROSS_SPLITS") == [
            *(("c.jpg", "b.jpg", "kept"), ("a.jpg", "b.jpg", "kept"))
        ]
        assert findings(draft, "IMAGE_DUPLICATE") == [("d.jpg", "c.jpg", "kept")]


def test_copies_with_different_objects_are_told() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg", classes=[0, 1], content="same")
        add(draft, "b.jpg", classes=[0], content="same")
        check_duplicates(draft)
        assert findings(draft, "IMAGE_TWO_LABELS") == [("b.jpg", "a.jpg", "kept")]


def test_copies_with_the_same_objects_in_another_order_are_not() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg", classes=[0, 1], content="same")
        second = add(draft, "b.jpg", classes=[0, 1], content="same")
        draft.connection.execute("UPDATE annotations SET id = 100 - id WHERE image_id = ?", (second,))
        check_duplicates(draft)
        assert codes(draft) == ["IMAGE_DUPLICATE"]


def test_same_image_in_two_folders_is_told() -> None:
    with draft_of(CLASSIFICATION) as draft:
        add(draft, "cat/a.jpg", classes=[0], content="same")
        add(draft, "dog/a.jpg", classes=[1], content="same")
        check_duplicates(draft)
        assert findings(draft, "IMAGE_TWO_LABELS") == [("dog/a.jpg", "cat/a.jpg", "kept")]
