"""Several outlines as one: the same area, and bridges where they are nearest."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.datasets.annotations import Polygon
from app.datasets.outlines import join

SQUARE = (0.1, 0.1, 0.3, 0.1, 0.3, 0.3, 0.1, 0.3)
RIGHT = (0.5, 0.3, 0.7, 0.3, 0.7, 0.5, 0.5, 0.5)
BELOW = (0.5, 0.7, 0.9, 0.7, 0.9, 0.9)


def filled(*polygons: Polygon) -> int:
    image = Image.new("1", (400, 400))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([value * 400 for value in polygon], fill=1)
    return int(np.asarray(image).sum())


def test_single_outline_stays_as_it_is() -> None:
    assert join([SQUARE]) == SQUARE


def test_bridge_is_between_the_nearest_points() -> None:
    joined = join([SQUARE, RIGHT])
    points = list(zip(joined[::2], joined[1::2], strict=True))
    place = points.index((0.3, 0.3))
    assert points[place + 1] == (0.5, 0.3)
    assert points[place + 6] == (0.3, 0.3)
    assert points[place + 5] == (0.5, 0.3)


@pytest.mark.parametrize("parts", [(SQUARE, RIGHT), (SQUARE, RIGHT, BELOW), (BELOW, SQUARE, RIGHT)])
def test_area_is_that_of_the_parts(parts: tuple[Polygon, ...]) -> None:
    assert filled(join(parts)) == pytest.approx(filled(*parts), rel=0.03)


def test_every_point_is_kept() -> None:
    joined = join([SQUARE, RIGHT, BELOW])
    found = set(zip(joined[::2], joined[1::2], strict=True))
    for part in (SQUARE, RIGHT, BELOW):
        assert set(zip(part[::2], part[1::2], strict=True)) <= found


def test_long_outlines_are_joined_within_bounds() -> None:
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    circle = np.stack([0.2 + 0.1 * np.cos(angles), 0.5 + 0.1 * np.sin(angles)], axis=1)
    other = circle + np.array([0.5, 0.0])
    joined = join([tuple(circle.reshape(-1)), tuple(other.reshape(-1))])
    assert len(joined) == 2 * (2 * 5000 + 2)
    points = np.asarray(joined).reshape(-1, 2)
    longest = np.linalg.norm(np.diff(points, axis=0), axis=1).max()
    assert longest == pytest.approx(0.3, abs=1e-3)
