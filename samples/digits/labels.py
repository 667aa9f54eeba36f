"""One line of a label file for each task type: YOLO's text formats, coordinates as shares of the canvas' side.

Formats: detection `class cx cy w h`; segmentation `class x1 y1 x2 y2 …`; pose `class cx cy w h (x y visible)*5`;
oriented detection `class x1 y1 … x4 y4`.
"""

from collections.abc import Callable, Iterable

import contourpy
import numpy as np

from digits.canvas import Placed
from digits.glyphs import Floats

KEYPOINTS = ("top", "bottom", "left", "right", "centre of mass")
FLIPPED_KEYPOINTS = (0, 1, 3, 2, 4)
VISIBLE = 2.0
MAX_OUTLINE_POINTS = 120


def box_label(placed: Placed, canvas: int) -> str:
    return _line(placed, _centre_and_size(placed, canvas))


def polygon_label(placed: Placed, canvas: int) -> str:
    return _line(placed, outline(placed).ravel() / canvas)


def pose_label(placed: Placed, canvas: int) -> str:
    points = keypoints(placed) / canvas
    visible = np.full((len(points), 1), VISIBLE)
    return _line(placed, [*_centre_and_size(placed, canvas), *np.hstack([points, visible]).ravel()])


def rotated_label(placed: Placed, canvas: int) -> str:
    return _line(placed, (placed.corners / canvas).ravel())


LABELS: dict[str, Callable[[Placed, int], str]] = {
    "object_detection": box_label,
    "instance_segmentation": polygon_label,
    "pose_estimation": pose_label,
    "oriented_object_detection": rotated_label,
}


def outline(placed: Placed) -> Floats:
    """The outer contour of the ink, (n, 2) in pixels; holes are inside it."""
    padded = np.pad(placed.glyph.mask.astype(np.float64), 1)
    contours = contourpy.contour_generator(z=padded).lines(0.5)
    longest = max((np.asarray(line, dtype=np.float64) for line in contours), key=len)[:-1]
    step = -(-len(longest) // MAX_OUTLINE_POINTS)
    # a sample at the middle of pixel i is at i + 0.5; the padding moved everything by one
    return longest[::step] + 0.5 - 1.0 + [placed.left, placed.top]


def keypoints(placed: Placed) -> Floats:
    """The ink's topmost, bottommost, leftmost and rightmost points and its centre of mass, (5, 2) in pixels."""
    rows, columns = np.nonzero(placed.glyph.mask)
    points = [
        (columns[rows == rows.min()].mean(), rows.min()),
        (columns[rows == rows.max()].mean(), rows.max()),
        (columns.min(), rows[columns == columns.min()].mean()),
        (columns.max(), rows[columns == columns.max()].mean()),
        (columns.mean(), rows.mean()),
    ]
    return np.array(points, dtype=np.float64) + 0.5 + [placed.left, placed.top]


def _centre_and_size(placed: Placed, canvas: int) -> list[float]:
    x1, y1, x2, y2 = placed.box
    return [(x1 + x2) / 2 / canvas, (y1 + y2) / 2 / canvas, (x2 - x1) / canvas, (y2 - y1) / canvas]


def _line(placed: Placed, values: Iterable[float]) -> str:
    return " ".join([str(placed.glyph.class_id), *(f"{value:.6f}".rstrip("0").rstrip(".") for value in values)])
