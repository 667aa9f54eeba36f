"""Masks as COCO writes them, run by run, and the outlines of what they show.

Format: the COCO API's run-length encoding: counts of pixels without and with, in turn, down the columns from the left;
compressed, each count is a difference in base 32, least digit first, in the characters from "0".

An outline goes midway between pixels that belong and pixels that do not, so its area is half a pixel less than theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import contourpy
import numpy as np
from numpy.typing import NDArray

MAX_RUNS = 1_000_000
MAX_PIXELS = 64_000_000  # of the part that shows something: contours take nine bytes and more for each
MAX_OUTLINES = 1_000  # the longest of them; the rest are specks, and whoever joins outlines looks at all pairs
MAX_DIGITS = 7  # of 5 bits: enough for any count of pixels
_Points = NDArray[np.float64]


class NotAMask(Exception):
    """What is written is no mask of the image; the text says why."""


@dataclass(frozen=True)
class Outlines:
    """Polygons in pixels, x1, y1, x2, y2, …; what they cover though the mask does not; how many were left out."""

    polygons: list[list[float]]
    holes: int = 0
    hole_area: float = 0.0
    left_out: int = 0


def size_of(mask: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that the mask states."""
    size = mask.get("size")
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise NotAMask("a mask needs its size, [height, width]")
    return size[1], size[0]


def outlines(mask: Mapping[str, Any], width: int, height: int) -> Outlines:
    """What the mask shows of an image of this size; nothing where it is empty. Raises NotAMask."""
    runs = _runs(mask.get("counts"), width * height)
    ends = np.cumsum(runs)
    if int(ends[-1]) != width * height:
        raise NotAMask(f"the counts add up to {ends[-1]}, not to {width} × {height} = {width * height}")
    shown = runs[1::2] > 0
    starts, stops = ends[0::2][: len(shown)][shown], ends[1::2][shown]
    return _traced(starts, stops, height) if len(starts) else Outlines([])


def _runs(counts: object, pixels: int) -> NDArray[np.int64]:
    if isinstance(counts, str):
        runs: Sequence[int] = _decompressed(counts, pixels)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        runs = counts
    else:
        raise NotAMask("a mask needs its counts, whole numbers or a compressed text of them")
    if not runs or len(runs) > min(MAX_RUNS, pixels + 2):
        raise NotAMask(f"a mask of {pixels} pixels cannot have {len(runs)} counts (at most {MAX_RUNS})")
    if min(runs) < 0 or max(runs) > pixels:
        raise NotAMask(f"a count is {min(runs) if min(runs) < 0 else max(runs)}; it is from 0 to {pixels}")
    return np.asarray(runs, dtype=np.int64)


def _decompressed(text: str, pixels: int) -> list[int]:
    """Counts, from the third on as a difference to the one before the last."""
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits >= MAX_DIGITS:
            raise NotAMask(f"{text[:20]!r}… is no compressed mask")
        value |= (code & 31) << 5 * digits
        digits += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * digits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        if len(runs) > MAX_RUNS or not 0 <= runs[-1] <= pixels:
            raise NotAMask(f"count {len(runs)} of the compressed mask is {runs[-1]}; it is from 0 to {pixels}")
        value = digits = 0
    if digits:
        raise NotAMask("the compressed mask ends in the middle of a count")
    return runs


def _traced(starts: NDArray[np.int64], stops: NDArray[np.int64], height: int) -> Outlines:
    """The runs from `starts` to `stops`, as places down the columns, drawn and traced where they are."""
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height
    is_tall = bool(np.any(starts // height != (stops - 1) // height))  # from one column into the next
    top, bottom = (0, height - 1) if is_tall else (int((starts % height).min()), int(((stops - 1) % height).max()))
    if (right - left + 1) * height > MAX_PIXELS:
        raise NotAMask(f"the mask covers more than {MAX_PIXELS:,} pixels")
    changes = np.zeros((right - left + 1) * height + 1, dtype=np.int8)
    changes[starts - left * height] = 1
    np.add.at(changes, stops - left * height, -1)
    columns = np.cumsum(changes[:-1], dtype=np.int8).reshape(right - left + 1, height)
    grid = np.zeros((bottom - top + 3, right - left + 3))
    grid[1:-1, 1:-1] = columns[:, top : bottom + 1].T
    tracer = contourpy.contour_generator(z=grid, name="serial", line_type=contourpy.LineType.Separate)
    lines = cast("list[_Points]", tracer.lines(0.5))
    return _sorted(lines, np.array([left - 0.5, top - 0.5]))


def _sorted(lines: Sequence[_Points], origin: _Points) -> Outlines:
    """Outlines have what belongs on their left and so an area above zero, holes one below it."""
    polygons: list[list[float]] = []
    holes, hole_area = 0, 0.0
    for line in _longest(lines):
        points = _corners(line[:-1])
        area = _area(points)
        if area > 0:
            polygons.append([float(value) for value in (points + origin).reshape(-1)])
        else:
            holes, hole_area = holes + 1, hole_area - area
    return Outlines(polygons, holes, hole_area, max(0, len(lines) - MAX_OUTLINES))


def _longest(lines: Sequence[_Points]) -> Sequence[_Points]:
    """In their order."""
    if len(lines) <= MAX_OUTLINES:
        return lines
    places = sorted(range(len(lines)), key=lambda place: -len(lines[place]))
    return [lines[place] for place in sorted(places[:MAX_OUTLINES])]


def _corners(points: _Points) -> _Points:
    """Without the points on straight lines."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    is_corner: NDArray[np.bool_] = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return points[is_corner]


def _area(points: _Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
