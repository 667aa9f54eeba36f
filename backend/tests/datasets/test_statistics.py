"""What is counted of a version."""

import json
from typing import Any

import pytest

from app.datasets.annotations import Annotation
from app.datasets.draft import Draft
from app.datasets.statistics import counts_of, statistics_of
from tests.datasets.drafts import CLASSIFICATION, add, draft_of


def bins(histogram: dict[str, Any]) -> dict[float, int]:
    """Lower edge to count, of bins that are not empty."""
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    return {edge: count for edge, count in zip(histogram["edges"], histogram["counts"], strict=False) if count}


def boxed(draft: Draft, *boxes: tuple[float, float, float, float], **options: Any) -> None:
    image_id = add(draft, f"{boxes}.jpg", "train", [], width=200, height=100)
    for box in boxes:
        draft.annotate(image_id, Annotation(0, box, **options))


def test_images_and_objects_are_counted_by_split_and_class() -> None:
    with draft_of(classes=["cat", "dog", "emu"]) as draft:
        add(draft, "v.jpg", "val", [1])
        add(draft, "a.jpg", "train", [0, 0, 1])
        add(draft, "b.jpg", "train", [])
        found = statistics_of(draft)
        assert list(found["images"].items()) == [("train", 2), ("val", 1)]
        assert found["objects"] == {"train": 3, "val": 1}
        assert found["classes"] == {"cat": {"train": 2}, "dog": {"train": 1, "val": 1}, "emu": {}}
        assert found["empty_images"] == 1
        assert bins(found["objects_per_image"]) == {0: 1, 1: 1, 3: 1}
        assert counts_of(draft, 5) == {
            "images": {"train": 2, "val": 1},
            "instances": {"train": 3, "val": 1},
            "classes": {"cat": 2, "dog": 2, "emu": 0},
            "files": {"ignored": 5},
        }


def test_boxes_are_measured_in_fractions_and_their_aspect_in_pixels() -> None:
    with draft_of() as draft:
        boxed(draft, (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.1, 0.22))
        found = statistics_of(draft)["boxes"]
        assert bins(found["width"]) == {0.1: 1, 0.95: 1}
        assert bins(found["height"]) == {0.2: 1, 0.95: 1}
        assert bins(found["area"]) == {0.0: 1, 0.95: 1}
        assert bins(found["aspect"]) == {0.7579: 1, 1.7411: 1}  # 20 by 22 pixels, 200 by 100


@pytest.mark.parametrize(("box", "edge"), [((0, 0, 1, 0.001), 12.1257), ((0, 0, 0.001, 1), 0.0625)])
def test_extreme_aspects_count_in_the_last_bins(box: tuple[float, float, float, float], edge: float) -> None:
    with draft_of() as draft:
        boxed(draft, box)
        assert bins(statistics_of(draft)["boxes"]["aspect"]) == {edge: 1}


def test_image_sizes_are_counted() -> None:
    with draft_of() as draft:
        for number, width in enumerate((100, 100, 300, 200)):
            add(draft, f"{number}.jpg", "train", [0], width=width, height=50)
        found = statistics_of(draft)
        assert found["image_sizes"] == [[100, 50, 2], [300, 50, 1], [200, 50, 1]]
        assert bins(found["image_widths"]) == {100: 2, 200: 1, 290: 1}
        assert found["image_heights"] == {"edges": [50, 50], "counts": [4]}


def test_crowds_are_not_counted() -> None:
    with draft_of() as draft:
        boxed(draft, (0, 0, 1, 1), crowd=True)
        found = statistics_of(draft)
        assert (found["objects"], found["empty_images"], bins(found["boxes"]["width"])) == ({"train": 0}, 1, {})


def test_images_with_very_many_objects_share_a_bin() -> None:
    with draft_of() as draft:
        add(draft, "a.jpg", "train", [0] * 19)
        add(draft, "b.jpg", "train", [0] * 20)
        add(draft, "c.jpg", "train", [0] * 500)
        assert bins(statistics_of(draft)["objects_per_image"]) == {19: 1, 20: 2}


def test_folders_have_no_boxes() -> None:
    with draft_of(CLASSIFICATION) as draft:
        add(draft, "a.jpg", "train", [0])
        found = statistics_of(draft)
        assert "boxes" not in found and found["classes"]["cat"] == {"train": 1}


def test_statistics_are_small_and_plain() -> None:
    with draft_of(classes=[f"class {number}" for number in range(80)]) as draft:
        for number in range(200):
            add(draft, f"{number}.jpg", "train", [number % 80], width=50 + number, height=60)
        text = json.dumps(statistics_of(draft), allow_nan=False)
        assert len(text) < 8000
