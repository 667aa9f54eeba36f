"""Images shared among splits by class."""

import random
from collections import Counter

import pytest

from app.datasets.draft import Draft
from app.datasets.sharing import share
from app.datasets.work import Split
from tests.datasets.drafts import CLASSIFICATION, add, draft_of, fill, splits

HALVES: dict[Split, float] = {"train": 0.8, "val": 0.2}
THIRDS: dict[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}


def by_class(draft: Draft) -> dict[int, Counter[str]]:
    query = "SELECT class_id, split, count(*) FROM annotations JOIN images ON images.id = image_id GROUP BY 1, 2"
    found: dict[int, Counter[str]] = {}
    for class_id, split, count in draft.connection.execute(query):
        found.setdefault(class_id, Counter())[split] = count
    return found


def test_every_class_is_shared_in_proportion() -> None:
    with draft_of(CLASSIFICATION, [str(number) for number in range(10)]) as draft:
        fill(draft, 1000, range(10))
        share(draft.connection, THIRDS, 0)
        assert by_class(draft) == {number: {"train": 60, "val": 20, "test": 20} for number in range(10)}


def test_rounding_of_many_small_classes_does_not_add_up() -> None:
    with draft_of(CLASSIFICATION, [str(number) for number in range(100)]) as draft:
        fill(draft, 700, range(100))
        share(draft.connection, HALVES, 0)
        counts = Counter(splits(draft).values())
        assert abs(counts["val"] - 140) <= 1
        assert {split["val"] for split in by_class(draft).values()} <= {1, 2}


def test_images_of_many_classes_are_shared_in_proportion() -> None:
    draw = random.Random(0)
    with draft_of(classes=[str(number) for number in range(12)]) as draft:
        for number in range(600):
            classes = [class_id for class_id in range(12) if draw.random() < 1 / (class_id + 2)]
            add(draft, f"{number}.jpg", None, classes)
        share(draft.connection, HALVES, 0)
        for counts in by_class(draft).values():
            assert counts["val"] == pytest.approx(0.2 * counts.total(), abs=2 + 0.03 * counts.total())
        assert Counter(splits(draft).values())["val"] == pytest.approx(120, abs=12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_rare_class_is_in_train_and_in_val(count: int) -> None:
    with draft_of(CLASSIFICATION) as draft:
        fill(draft, 50, [0])
        for number in range(count):
            add(draft, f"rare{number}.jpg", None, [1])
        share(draft.connection, HALVES, 0)
        assert by_class(draft)[1]["train"] >= 1
        assert by_class(draft)[1]["val"] >= 1


def test_class_that_val_has_already_needs_none_there() -> None:
    with draft_of(CLASSIFICATION) as draft:
        add(draft, "known.jpg", "val", [1])
        fill(draft, 2, [1])
        share(draft.connection, HALVES, 0)
        assert by_class(draft)[1] == {"train": 2, "val": 1}


def test_copies_lie_together() -> None:
    with draft_of() as draft:
        for number in range(60):
            add(draft, f"{number}.jpg", None, content=number % 12)
        share(draft.connection, THIRDS, 0)
        found = splits(draft)
        assert all(found[f"{number}.jpg"] == found[f"{number % 12}.jpg"] for number in range(60))


def test_copy_goes_where_the_other_is() -> None:
    with draft_of() as draft:
        add(draft, "known.jpg", "test", content="same")
        add(draft, "copy.jpg", None, content="same")
        share(draft.connection, HALVES, 0)
        assert splits(draft) == {"known.jpg": "test", "copy.jpg": "test"}


def test_same_seed_gives_the_same_splits_in_any_order() -> None:
    found = []
    for numbers in (range(40), reversed(range(40))):
        with draft_of() as draft:
            for number in numbers:
                add(draft, f"{number}.jpg", None, [number % 2])
            share(draft.connection, THIRDS, 7)
            found.append(dict(sorted(splits(draft).items())))
    assert found[0] == found[1]


def test_another_seed_gives_other_splits() -> None:
    found = []
    for seed in (0, 1):
        with draft_of() as draft:
            fill(draft, 40, [0, 1])
            share(draft.connection, HALVES, seed)
            found.append(splits(draft))
    assert found[0] != found[1]


def test_images_of_nothing_are_shared_too() -> None:
    with draft_of() as draft:
        fill(draft, 100, [[0], []])
        share(draft.connection, HALVES, 0)
        empty = [split for entry, split in splits(draft).items() if int(entry.removesuffix(".jpg")) % 2]
        assert Counter(empty) == {"train": 40, "val": 10}


def test_no_split_is_empty_if_classes_have_one_image_each() -> None:
    with draft_of(classes=["a", "b", "c", "d"]) as draft:
        fill(draft, 4, range(4))
        share(draft.connection, THIRDS, 0)
        assert set(splits(draft).values()) == {"train", "val", "test"}


def test_single_image_goes_to_train() -> None:
    with draft_of() as draft:
        fill(draft, 1, [0])
        share(draft.connection, HALVES, 0)
        assert splits(draft) == {"0.jpg": "train"}
