"""Several outlines of one object as the single one that a label line holds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.datasets.annotations import Polygon

Points = NDArray[np.float64]
BLOCK = 2**20  # distances computed at a time


def join(parts: Sequence[Polygon]) -> Polygon:
    """One outline through all parts: each is reached from what there is by a bridge, there and back, at the nearest
    points. Bridges have no area, so a filled polygon shows the parts alone."""
    if len(parts) == 1:
        return parts[0]
    outline, *rest = (np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in parts)
    for part in rest:
        here, there = _nearest(outline, part)
        turned = np.roll(part, -there, axis=0)
        outline = np.concatenate([outline[: here + 1], turned, turned[:1], outline[here:]])
    return tuple(float(value) for value in outline.reshape(-1))


def _nearest(first: Points, second: Points) -> tuple[int, int]:
    """The indices of the two points that lie nearest; of equal ones the earliest."""
    best, found = np.inf, (0, 0)
    rows = max(1, BLOCK // len(second))
    for start in range(0, len(first), rows):
        block = first[start : start + rows]
        distances = ((block[:, None, :] - second[None, :, :]) ** 2).sum(axis=2)
        index = int(distances.argmin())
        if distances.flat[index] < best:
            best = float(distances.flat[index])
            found = (start + index // len(second), index % len(second))
    return found
