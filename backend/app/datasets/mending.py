"""Every annotation passes here on its way into a draft: clipped to its image, or dropped, with a finding that says so.

Formats differ in how they write an object, not in what a sound one is; so that is decided once.
"""

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from itertools import chain

from app.datasets.annotations import Annotation, Box, Keypoint, Place, Polygon
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Action, Finding
from app.datasets.geometry import (
    bounds,
    clamp,
    clamp_polygon,
    clip_box,
    clip_polygon,
    is_empty,
    reaches_outside,
)
from app.words import TaskType

BOXES = (TaskType.OBJECT_DETECTION, TaskType.POSE_ESTIMATION)


def add(draft: Draft, image: SourceImage, annotation: Annotation, place: Place) -> bool:
    """Store the annotation, mended; False if it was dropped or refused, with the reason among the draft's findings.

    The draft's task and classes are set before, for poses `kpt_shape` too. A missing box is derived.
    """
    task = draft.task_type
    case = _Case(draft, image, place, task)
    if not _is_sound(case, annotation):
        return False
    if task is TaskType.IMAGE_CLASSIFICATION:
        mended: Annotation | None = Annotation(annotation.class_id, attributes=annotation.attributes)
    else:
        mended = _mend(case, annotation)
    if mended is None or not (mended.crowd or _is_first(case, mended)):
        return False
    draft.annotate(image.id, mended)
    return True


@dataclass(frozen=True, slots=True)
class _Case:
    """One annotation under examination."""

    draft: Draft
    image: SourceImage
    place: Place
    task: TaskType

    def find(self, code: str, message: str, value: str | None = None, action: Action | None = None) -> None:
        place = self.place
        text = f"{message} (image {self.image.entry})"
        self.draft.find(Finding(code, text, place.file, place.line, place.value or value, action, self.image.id))


def _is_sound(case: _Case, annotation: Annotation) -> bool:
    """What no clipping can mend: an unknown class, half a point, NaN."""
    if not _knows_class(case.draft, annotation.class_id):
        last = len(case.draft.classes) - 1
        case.find("CLASS_OUT_OF_RANGE", f"there is no class {annotation.class_id}: classes go from 0 to {last}")
        return False
    if any(len(polygon) % 2 for polygon in annotation.polygons):
        case.find("LABEL_MALFORMED", "a polygon needs pairs of x and y; it has an odd count of numbers")
        return False
    labelled = chain.from_iterable(point[:2] for point in annotation.keypoints if point[2])
    numbers = chain(annotation.box or (), *annotation.polygons, labelled)
    strange = next((number for number in numbers if not math.isfinite(number)), None)
    if strange is not None:
        case.find("LABEL_NOT_FINITE", f"{strange} is no coordinate; the object was dropped", str(strange))
    return strange is None


def _knows_class(draft: Draft, class_id: int) -> bool:
    query = "SELECT 1 FROM classes WHERE id = ?"
    return 0 <= class_id < 2**31 and draft.connection.execute(query, (class_id,)).fetchone() is not None


def _mend(case: _Case, annotation: Annotation) -> Annotation | None:
    """The annotation inside the image and fit for the task; None, with a finding, where it is not."""
    if not annotation.crowd and not _fits_task(case, annotation):
        return None
    keypoints = _mend_keypoints(case, annotation.keypoints)
    polygons = _mend_polygons(case, annotation)
    if not polygons and _lives_by_outline(case, annotation):
        return None
    box = _mend_box(case, annotation.box, polygons, keypoints)
    return box and replace(annotation, box=box, polygons=polygons, keypoints=keypoints)


def _fits_task(case: _Case, annotation: Annotation) -> bool:
    """Whether it has what the task asks for; tells what is missing."""
    missing = None
    if case.task is TaskType.INSTANCE_SEGMENTATION and not annotation.polygons:
        missing = "segmentation needs a polygon"
    elif case.task is TaskType.ORIENTED_OBJECT_DETECTION and [len(p) for p in annotation.polygons] != [8]:
        missing = "an oriented box needs its four corners"
    elif case.task is TaskType.POSE_ESTIMATION:
        count = int(case.draft.get("kpt_shape")[0])
        if len(annotation.keypoints) != count:
            missing = f"a pose needs {count} keypoints; this one has {len(annotation.keypoints)}"
    elif case.task is TaskType.OBJECT_DETECTION and not (annotation.box or annotation.polygons or annotation.keypoints):
        missing = "detection needs a box"
    if missing:
        case.find("LABEL_NOT_FOR_TASK", f"{missing}; the object was dropped")
    return missing is None


def _lives_by_outline(case: _Case, annotation: Annotation) -> bool:
    """Whether the object is nothing once its polygons are gone."""
    if not annotation.polygons:
        return False
    has_other = annotation.box is not None or bool(annotation.keypoints)
    return not has_other or (case.task not in BOXES and not annotation.crowd)


def _mend_polygons(case: _Case, annotation: Annotation) -> tuple[Polygon, ...]:
    """Those that show something, clipped. What goes with the object is dropped, a part of it is repaired."""
    mended = [_mend_polygon(polygon, case.task) for polygon in annotation.polygons]
    kept = tuple(polygon for polygon in mended if not isinstance(polygon, str))
    dropped = not kept and _lives_by_outline(case, annotation)
    consequence, action = ("the object was dropped", Action.DROPPED) if dropped else ("left out", Action.REPAIRED)
    for polygon, result in zip(annotation.polygons, mended, strict=True):
        if isinstance(result, str):
            case.find(result, f"{_PROBLEMS[result]}: {_numbers(polygon)}; {consequence}", _numbers(polygon), action)
        elif reaches_outside(polygon):
            case.find("BOX_OUTSIDE", f"the polygon {_numbers(polygon)} reaches outside; clipped", _numbers(polygon))
    return kept


_PROBLEMS = {
    "POLYGON_TOO_SHORT": "a polygon of fewer than three different points",
    "BOX_OUTSIDE": "a polygon entirely outside",
    "BOX_EMPTY": "a polygon without area",
}


def _mend_polygon(polygon: Polygon, task: TaskType) -> Polygon | str:
    """The polygon inside the image, or the code of what is wrong with it. Corners stay four: moved, not cut."""
    if len(set(zip(polygon[0::2], polygon[1::2], strict=True))) < 3:
        return "POLYGON_TOO_SHORT"
    if is_empty(bounds([polygon])):
        return "BOX_EMPTY"
    if all(0.0 <= value <= 1.0 for value in polygon):
        return polygon
    clipped = clip_polygon(polygon)
    if not clipped or not all(map(math.isfinite, clipped)) or is_empty(bounds([clipped])):
        return "BOX_OUTSIDE"
    if task is not TaskType.ORIENTED_OBJECT_DETECTION and reaches_outside(polygon):
        return clipped
    return clamp_polygon(polygon)


def _mend_keypoints(case: _Case, keypoints: tuple[Keypoint, ...]) -> tuple[Keypoint, ...]:
    """A point outside the image is not labelled in it. Where points carry no visibility it is moved to the edge."""
    return tuple(_mend_keypoint(case, index, point) for index, point in enumerate(keypoints))


def _mend_keypoint(case: _Case, index: int, point: Keypoint) -> Keypoint:
    x, y, visibility = point
    if not visibility:
        return point if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 else (0.0, 0.0, 0)
    if not reaches_outside((x, y)):
        return clamp(x), clamp(y), visibility
    value = _numbers((x, y))
    if case.draft.get("kpt_shape") is not None and case.draft.get("kpt_shape")[1] == 2:
        case.find("BOX_OUTSIDE", f"keypoint {index} at {value} lies outside; moved to the edge", value)
        return clamp(x), clamp(y), visibility
    case.find("BOX_OUTSIDE", f"keypoint {index} at {value} lies outside; it counts as not labelled", value)
    return 0.0, 0.0, 0


def _mend_box(
    case: _Case, box: Box | None, polygons: tuple[Polygon, ...], keypoints: tuple[Keypoint, ...]
) -> Box | None:
    """The box inside the image: as given, else around what is there. None, with a finding, if nothing is left."""
    labelled = tuple(value for point in keypoints if point[2] for value in point[:2])
    outlines = polygons or ((labelled,) if labelled else ())
    derived = bounds(outlines) if outlines else None
    given = box or derived
    if given is None:
        case.find("BOX_EMPTY", "no box, and nothing to draw one around; the object was dropped")
        return None
    clipped = clip_box(given)
    if not is_empty(clipped):
        if reaches_outside(given):
            case.find("BOX_OUTSIDE", f"the box {_numbers(given)} reaches outside; clipped", _numbers(given))
        return clipped
    code, problem = ("BOX_EMPTY", "has no area") if is_empty(given) else ("BOX_OUTSIDE", "lies entirely outside")
    if polygons and derived and case.task not in BOXES:
        message = f"the box {_numbers(given)} {problem}; drawn again around the outline"
        case.find(code, message, _numbers(given), Action.REPAIRED)
        return derived
    message = f"the box {_numbers(given)} {problem}; the object was dropped"
    case.find(code, message, _numbers(given), Action.DROPPED)
    return None


def _numbers(values: tuple[float, ...]) -> str:
    shown = " ".join(f"{value:.6g}" for value in values[:8])
    return f"{shown} … ({len(values) // 2} points)" if len(values) > 8 else shown


def _is_first(case: _Case, annotation: Annotation) -> bool:
    """False for what a trainer would take for a copy: the same numbers in the label, read as 32-bit floats."""
    label = struct.pack("=qq", case.image.id, annotation.class_id) + _label(case.task, annotation)
    key = hashlib.blake2b(label, digest_size=16).digest()
    connection = case.draft.connection
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS labels_seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
    if connection.execute("INSERT OR IGNORE INTO labels_seen VALUES (?)", (key,)).rowcount:
        return True
    what = f"box {_numbers(annotation.box)}" if annotation.box else "label"
    case.find("LABEL_DUPLICATE", f"the same {what} of class {annotation.class_id} again; the copy was dropped")
    return False


def _label(task: TaskType, annotation: Annotation) -> bytes:
    """What its line in the label file says, as numbers: of `%.8g`, as `canonical.py` writes it."""
    numbers: list[float] = []
    if task in BOXES and annotation.box:
        x1, y1, x2, y2 = annotation.box
        numbers += ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    elif annotation.polygons:
        numbers += chain.from_iterable(annotation.polygons)
    if task is TaskType.POSE_ESTIMATION:
        numbers += chain.from_iterable(annotation.keypoints)
    return struct.pack(f"={len(numbers)}f", *(float(f"{number:.8g}") for number in numbers))
