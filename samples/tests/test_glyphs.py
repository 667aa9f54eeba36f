"""Which handwriting a split may use, and how it is drawn."""

from itertools import combinations

import numpy as np
import pytest
from digits.glyphs import Pools, draw_glyph, load_pools


@pytest.fixture(scope="module")
def pools() -> Pools:
    return load_pools(classes=10, seed=0)


def test_splits_share_no_handwriting(pools: Pools) -> None:
    seen = {split: {digit.tobytes() for one in pools[split] for digit in one} for split in pools}
    for one, other in combinations(seen, 2):
        assert not seen[one] & seen[other]


def test_every_split_has_handwriting_of_every_class(pools: Pools) -> None:
    for of_split in pools.values():
        assert len(of_split) == 10
        assert min(len(of_class) for of_class in of_split) >= 15


def test_division_differs_if_seed_differs(pools: Pools) -> None:
    other = load_pools(classes=1, seed=1)
    assert [one.tobytes() for one in other["train"][0]] != [one.tobytes() for one in pools["train"][0]]


@pytest.mark.parametrize("size", [14, 36, 64])
def test_glyph_is_as_high_as_asked(pools: Pools, size: int) -> None:
    heights = [draw_glyph(digit, 0, size).ink.shape[0] for digit in pools["val"][0]]
    assert np.abs(np.array(heights) - size).max() <= size * 0.2


@pytest.mark.parametrize("class_id", range(10))
def test_turned_box_surrounds_the_turned_ink_closely(pools: Pools, class_id: int) -> None:
    for degrees, digit in zip((-60.0, -33.0, 17.0, 45.0, 90.0), pools["val"][class_id], strict=False):
        glyph = draw_glyph(digit, class_id, 48, degrees)
        rows, columns = np.nonzero(glyph.mask)
        points = np.stack([columns + 0.5, rows + 0.5], axis=1) - glyph.corners[0]
        across, down = glyph.corners[1] - glyph.corners[0], glyph.corners[3] - glyph.corners[0]
        for side in (across, down):
            along = points @ side / np.linalg.norm(side)
            assert along.min() == pytest.approx(0, abs=2.0)
            assert along.max() == pytest.approx(np.linalg.norm(side), abs=2.0)
