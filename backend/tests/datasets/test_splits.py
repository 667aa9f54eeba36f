"""Splits: what the source says stands, what is missing is made, what was made stays."""

from collections import Counter
from pathlib import Path

import pytest

from app.datasets.draft import Draft
from app.datasets.splits import make_splits
from app.datasets.work import SplitPlan
from tests.datasets.drafts import add, codes, draft_of, fill, splits
from tests.datasets.imports import Imported, make, yolo

PLAN = SplitPlan()


def counts(draft: Draft) -> Counter[str | None]:
    return Counter(splits(draft).values())


def test_splits_of_the_source_stand() -> None:
    with draft_of() as draft:
        fill(draft, 3, [0], "train")
        add(draft, "v.jpg", "val")
        make_splits(draft, SplitPlan(train=0.1, val=0.9, test=0.5), None)
        assert counts(draft) == {"train": 3, "val": 1}
        assert codes(draft) == []


def test_all_are_made_if_the_source_has_none() -> None:
    with draft_of() as draft:
        fill(draft, 100, [0, 1])
        make_splits(draft, SplitPlan(train=0.7, val=0.2, test=0.1), None)
        assert counts(draft) == {"train": 70, "val": 20, "test": 10}
        assert codes(draft) == ["SPLIT_MADE"]


def test_val_is_taken_from_train_if_it_is_missing() -> None:
    with draft_of() as draft:
        fill(draft, 80, [0, 1], "train")
        for number in range(20):
            add(draft, f"t{number}.jpg", "test")
        make_splits(draft, PLAN, None)
        assert counts(draft) == {"train": 64, "val": 16, "test": 20}
        assert codes(draft) == ["SPLIT_MADE"]


def test_val_takes_nothing_that_lies_in_test_too() -> None:
    with draft_of() as draft:
        for number in range(10):
            add(draft, f"{number}.jpg", "train", content=number)
            if number < 7:
                add(draft, f"t{number}.jpg", "test", content=number)
        make_splits(draft, SplitPlan(train=0.5, val=0.5), None)
        assert all(splits(draft)[f"{number}.jpg"] == "train" for number in range(7))
        assert counts(draft)["val"] in (1, 2)


def test_train_is_never_made_of_other_splits() -> None:
    with draft_of() as draft:
        fill(draft, 5, [0], "val")
        make_splits(draft, PLAN, None)
        assert counts(draft) == {"val": 5}


def test_all_are_made_anew_if_a_person_asks() -> None:
    with draft_of() as draft:
        fill(draft, 20, [0, 1], "train")
        make_splits(draft, SplitPlan(train=0.5, val=0.5, anew=True), None)
        assert counts(draft) == {"train": 10, "val": 10}


def test_weights_need_not_sum_to_one() -> None:
    with draft_of() as draft:
        fill(draft, 40, [0])
        make_splits(draft, SplitPlan(train=0.5, val=0.5, test=0.9), None)
        assert counts(draft)["test"] == pytest.approx(40 * 0.9 / 1.9, abs=1)


@pytest.fixture
def parent(tmp_path: Path) -> Imported:
    return make(tmp_path / "parent", yolo(12))


def test_images_stay_where_the_version_before_has_them(parent: Imported) -> None:
    again = make(parent.folder.with_name("again"), yolo(24), parent, wish={"split": {"seed": 99}})
    before = parent.splits
    assert {name: split for name, split in again.splits.items() if name in before} == before
    assert "12 are where the version before has them" in again.outcome.report.groups[-1].first[0].message


def test_images_stay_if_the_version_itself_is_what_comes_back(parent: Imported) -> None:
    exported = {name.replace("/train/", "/").replace("/val/", "/"): data for name, data in parent.files.items()}
    again = make(parent.folder.with_name("again"), exported, parent, wish={"split": {"seed": 99}})
    assert again.packed.sha256 == parent.packed.sha256


def test_images_do_not_stay_if_all_is_to_be_anew(parent: Imported) -> None:
    plan = {"seed": 5, "anew": True}
    again = make(parent.folder.with_name("again"), yolo(12), parent, wish={"split": plan})
    assert again.splits != parent.splits


def test_val_that_was_taken_from_train_is_taken_again(tmp_path: Path) -> None:
    def train(count: int) -> dict[str, str | bytes]:
        return {name.replace("/", "/train/"): data for name, data in yolo(count).items()}

    parent = make(tmp_path / "parent", train(12))
    again = make(tmp_path / "again", train(14), parent, wish={"split": {"seed": 99}})
    assert {name: split for name, split in again.splits.items() if name in parent.splits} == parent.splits
