"""One annotation of a COCO file: what it says, as an annotation of ours. Format: the COCO data format.

Boxes are [x, y, width, height] in pixels from the outer corner of the first; polygons are lists of x, y; masks are
run-length encoded; keypoints are triples of x, y and visibility.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.datasets.annotations import Annotation, Box, Keypoint, Polygon
from app.datasets.draft import SourceImage
from app.datasets.formats.numbers import number, whole
from app.datasets.frames import Frame, Size, frame_of
from app.datasets.geometry import bounds
from app.datasets.masks import MAX_OUTLINES, NotAMask, outlines, size_of
from app.words import TaskType

OUTLINED = (TaskType.INSTANCE_SEGMENTATION, TaskType.ORIENTED_OBJECT_DETECTION)
MAX_ATTRIBUTES, MAX_TEXT = 50, 200

Note = tuple[str, str]


class Refused(Exception):
    """What an annotation cannot be; the text says why."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """`notes`: codes and messages of what the annotation lost on the way."""

    annotation: Annotation
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """How annotations are read: for which task, and which category is which class."""

    task: TaskType
    class_ids: Mapping[str, int]


def parse(entry: dict[str, Any], class_id: int, image: SourceImage, stated: Size | None, task: TaskType) -> Parsed:
    """The object as it is written, neither clipped nor fitted to the task. Raises Refused."""
    frame = frame_of(image, stated)
    box = _box(entry.get("bbox"), frame)
    polygons: tuple[Polygon, ...] = ()
    notes: tuple[Note, ...] = ()
    segmentation = entry.get("segmentation")
    if segmentation and (task in OUTLINED or box is None):
        polygons, notes = _polygons(segmentation, image, frame)
    keypoints = _keypoints(entry.get("keypoints"), frame) if task is TaskType.POSE_ESTIMATION else ()
    if box is None and not polygons and not keypoints:
        raise Refused("an annotation needs a bbox of four numbers, or a segmentation that shows something")
    if task not in OUTLINED:
        box, polygons, notes = box or _around(polygons), (), ()
    return Parsed(Annotation(class_id, box, polygons, keypoints, is_crowd(entry), _attributes(entry)), notes)


def is_crowd(entry: Mapping[str, Any]) -> bool:
    crowd = entry.get("iscrowd")
    return crowd is True or whole(crowd) == 1


def _around(polygons: tuple[Polygon, ...]) -> Box | None:
    whole_ones = [polygon for polygon in polygons if len(polygon) >= 2 and len(polygon) % 2 == 0]
    return bounds(whole_ones) if whole_ones else None


def _box(value: object, frame: Frame) -> Box | None:
    if value is None or value == []:
        return None
    x, y, width, height = _numbers(value, "bbox", 4)
    return frame.box(x, y, x + width, y + height)


def _numbers(value: object, what: str, count: int | None = None) -> list[float]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise Refused(f"{what} is not a list of {count if count is not None else ''} numbers".replace("  ", " "))
    found = [number(one) for one in value]
    numbers = [one for one in found if one is not None]
    if len(numbers) < len(found):
        raise Refused(f"{what} has something that is no number")
    return numbers


def _polygons(value: object, image: SourceImage, frame: Frame) -> tuple[tuple[Polygon, ...], tuple[Note, ...]]:
    if isinstance(value, dict):
        return _outlined(value, image)
    if not isinstance(value, list):
        raise Refused("segmentation is neither polygons nor a mask")
    parts = [_numbers(part, "a polygon") for part in (value if isinstance(value[0], list) else [value])]
    largest, notes = _largest(parts)
    return tuple(frame.polygon(part) for part in largest), notes


def _outlined(mask: dict[str, Any], image: SourceImage) -> tuple[tuple[Polygon, ...], tuple[Note, ...]]:
    """A mask states its own size, so that tells whether it is upright."""
    try:
        width, height = size_of(mask)
        sizes = ((image.width, image.height), (image.height, image.width))
        if (width, height) not in sizes[: 2 if image.orientation >= 5 else 1]:
            raise Refused(f"the mask is of {width} × {height} pixels; the image has {image.width} × {image.height}")
        found = outlines(mask, width, height)
    except NotAMask as error:
        raise Refused(str(error)) from error
    frame = frame_of(image, (width, height))
    notes = []
    if found.left_out:
        notes.append(("POLYGON_PARTS_LEFT_OUT", f"{found.left_out} parts of the mask were left out, the smallest"))
    if found.holes:
        plural = "s" if found.holes > 1 else ""
        notes.append(("MASK_HOLES", f"{found.holes} hole{plural} of {found.hole_area:.0f} pixels filled"))
    return tuple(frame.polygon(polygon) for polygon in found.polygons), tuple(notes)


def _largest(parts: list[list[float]]) -> tuple[list[list[float]], tuple[Note, ...]]:
    """Those of the largest extents, in their order."""
    if len(parts) <= MAX_OUTLINES:
        return parts, ()
    by_size = sorted(range(len(parts)), key=lambda place: -_extent(parts[place]))
    kept = sorted(by_size[:MAX_OUTLINES])
    message = f"{len(parts) - MAX_OUTLINES} of {len(parts)} parts were left out, the smallest"
    return [parts[place] for place in kept], (("POLYGON_PARTS_LEFT_OUT", message),)


def _extent(part: list[float]) -> float:
    if len(part) < 2 or not all(map(math.isfinite, part)):
        return 0.0
    xs, ys = part[0::2], part[1::2]
    return (max(xs) - min(xs)) * (max(ys) - min(ys))


def _keypoints(value: object, frame: Frame) -> tuple[Keypoint, ...]:
    if value is None:
        return ()
    numbers = _numbers(value, "keypoints")
    if len(numbers) % 3:
        raise Refused(f"keypoints are triples; there are {len(numbers)} numbers")
    return tuple(_keypoint(frame, *numbers[place : place + 3]) for place in range(0, len(numbers), 3))


def _keypoint(frame: Frame, x: float, y: float, seen: float) -> Keypoint:
    if seen not in (0, 1, 2):
        raise Refused(f"a keypoint has visibility {seen:g}; it is 0, 1 or 2")
    return (*frame.point(x, y), int(seen)) if seen else (0.0, 0.0, 0)


def _attributes(entry: Mapping[str, Any]) -> dict[str, bool | int | str]:
    """What CVAT and Datumaro note beside an object: short texts, whole numbers and flags."""
    noted = entry.get("attributes")
    if not isinstance(noted, dict):
        return {}
    kept = {
        name[:MAX_TEXT]: value[:MAX_TEXT] if isinstance(value, str) else value
        for name, value in list(noted.items())[:MAX_ATTRIBUTES]
        if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**53)
    }
    return {name: value for name, value in kept.items() if value is not False}
