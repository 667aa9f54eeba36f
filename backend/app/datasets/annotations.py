"""One labelled object, as every format's reader gives it and every export takes it.

Coordinates are fractions of the upright image (EXIF orientation applied): x to the right, y down, (0, 0) the outer
corner of the first pixel, (1, 1) that of the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Box = tuple[float, float, float, float]  # x1, y1, x2, y2
Polygon = tuple[float, ...]  # x1, y1, x2, y2, …
Keypoint = tuple[float, float, int]  # x, y, visibility: 0 not labelled, 1 hidden, 2 visible


@dataclass(frozen=True, slots=True)
class Annotation:
    """`box` is None only for the class of a whole image. An oriented box is one polygon of its four corners.

    `crowd` marks a region that COCO calls iscrowd: kept in the index, never in the labels.
    """

    class_id: int
    box: Box | None = None
    polygons: tuple[Polygon, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    crowd: bool = False
    attributes: Mapping[str, bool | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an annotation was written, for findings: a file of the upload, a line of it, and what stands there."""

    file: str
    line: int | None = None
    value: str | None = None
