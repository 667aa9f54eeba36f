"""Masks decoded and traced: nothing of them gets lost, nothing that is no mask gets through."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app.datasets.masks import MAX_RUNS, NotAMask, Outlines, outlines, size_of

Mask = NDArray[np.bool_]


def encoded(mask: Mask) -> dict[str, Any]:
    """Uncompressed, as COCO's API does it."""
    flat = np.concatenate([[False], mask.T.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": [int(count) for count in counts]}


def compressed(counts: list[int]) -> str:
    """As COCO's API writes it: differences of every second count, five bits a character."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(digit + (32 if more else 0) + 48)
    return text


def traced(mask: Mask) -> Outlines:
    height, width = mask.shape
    return outlines(encoded(mask), width, height)


def area(polygon: list[float]) -> float:
    x, y = np.asarray(polygon[0::2]), np.asarray(polygon[1::2])
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def drawn(polygons: list[list[float]], shape: tuple[int, ...]) -> Mask:
    """Which pixels have their middle inside, on a canvas eight times as fine."""
    canvas = Image.new("1", (shape[1] * 8, shape[0] * 8))
    for polygon in polygons:
        ImageDraw.Draw(canvas).polygon([value * 8 for value in polygon], fill=1)
    return np.asarray(canvas)[4::8, 4::8]


def blob(seed: int, shape: tuple[int, int] = (61, 83)) -> Mask:
    """Something without holes: discs, overlapping."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, dtype=bool)
    for _ in range(3):
        cx, cy, radius = rng.integers(20, 60), rng.integers(15, 45), rng.integers(5, 25)
        mask |= (x - cx) ** 2 + (y - cy) ** 2 < radius**2
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_the_outline_covers_the_mask_if_it_has_no_holes(seed: int) -> None:
    mask = blob(seed)
    found = traced(mask)
    assert sum(map(area, found.polygons)) == pytest.approx(
        mask.sum() - len(found.polygons) / 2 + found.hole_area, abs=1
    )
    assert found.holes or (drawn(found.polygons, mask.shape) == mask).all()


def test_the_outline_is_the_edge_of_the_image_if_all_of_it_is_shown() -> None:
    (polygon,) = traced(np.ones((4, 6), dtype=bool)).polygons
    assert (min(polygon[0::2]), max(polygon[0::2]), min(polygon[1::2]), max(polygon[1::2])) == (0, 6, 0, 4)
    assert area(polygon) == 23.5
    assert len(polygon) == 16


def test_there_is_an_outline_for_each_part_if_the_mask_is_in_pieces() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:6, 3:9] = mask[10:15, 20:28] = True
    found = traced(mask)
    assert sorted(area(polygon) for polygon in found.polygons) == [23.5, 39.5]
    assert (drawn(found.polygons, mask.shape) == mask).all()


def test_holes_are_filled_and_counted_if_the_mask_has_some() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:18, 2:28] = True
    mask[5:9, 5:9] = mask[12, 12] = False
    found = traced(mask)
    assert (len(found.polygons), found.holes) == (1, 2)
    assert found.hole_area == pytest.approx(17, abs=1.5)


def test_a_single_pixel_is_seen_if_nothing_else_is_there() -> None:
    mask = np.zeros((5, 5), dtype=bool)
    mask[3, 1] = True
    (polygon,) = traced(mask).polygons
    assert (min(polygon[0::2]), max(polygon[0::2]), min(polygon[1::2]), max(polygon[1::2])) == (1, 2, 3, 4)


def test_nothing_is_outlined_if_the_mask_is_empty() -> None:
    assert traced(np.zeros((5, 7), dtype=bool)) == Outlines([])


@pytest.mark.parametrize("seed", range(4))
def test_compressed_counts_give_the_same_if_they_say_the_same(seed: int) -> None:
    mask = encoded(blob(seed))
    packed = mask | {"counts": compressed(mask["counts"])}
    assert outlines(packed, 83, 61) == outlines(mask, 83, 61)


def test_counts_of_zero_change_nothing_if_runs_touch() -> None:
    assert outlines({"counts": [2, 0, 0, 3, 0, 2, 13]}, 5, 4) == outlines({"counts": [2, 5, 13]}, 5, 4)


@pytest.mark.parametrize(
    "counts",
    [
        None,
        [],
        "",
        {"a": 1},
        [10, 10.0],
        [10, "10"],
        [10, True, 9],
        [21],
        [10, 11],
        [10, 9],
        [-5, 25],
        [10**30],
        [0] * 23,
        [1] * (MAX_RUNS + 1),
        "~",
        "한",
        "\x00",
        "oooooooooooooooo",
        "o",
        "PPPPPPPPP0",
        "0" * 100,
        "N",
    ],
    ids=lambda counts: repr(counts)[:20],
)
def test_it_is_no_mask_if_the_counts_are_not_those_of_the_image(counts: object) -> None:
    with pytest.raises(NotAMask):
        outlines({"counts": counts}, 5, 4)


@pytest.mark.parametrize("size", [None, [], [4], [4, 5, 6], [4, "5"], [0, 5], [-4, 5], [4.0, 5], [True, 5], "45"])
def test_it_is_no_mask_if_its_size_is_no_size(size: object) -> None:
    with pytest.raises(NotAMask):
        size_of({"size": size})


def test_it_is_refused_if_it_covers_more_than_memory_allows() -> None:
    with pytest.raises(NotAMask, match="covers more"):
        outlines({"counts": [0, 10**10]}, 10**5, 10**5)
