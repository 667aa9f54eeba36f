"""A line of a YOLO label file: a class and fractions of the upright image.

Detection `c x y w h`; oriented boxes `c x1 y1 … x4 y4`; segmentation `c x1 y1 … xn yn` with n ≥ 3; pose `c x y w h`
and, for each keypoint, x and y and, where kpt_shape says so, its visibility.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.datasets.annotations import Annotation, Box, Keypoint
from app.words import TaskType

BOX_COLUMNS, CORNER_COLUMNS, LEAST_POLYGON_COLUMNS = 5, 9, 7
VISIBLE = 2


class Refused(Exception):
    """What a line cannot be, by the code of its finding."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Form(StrEnum):
    BOX = "a box"
    POLYGON = "a polygon"
    POSE = "a box with keypoints"


@dataclass(frozen=True)
class Rules:
    """How the lines of one dataset are read. `ids`: what a label calls a class, to the class."""

    task: TaskType
    ids: Mapping[int, int]
    kpt_shape: tuple[int, int] | None = None


def form_of(columns: int, kpt_shape: tuple[int, int] | None) -> Form | None:
    """What a line of so many columns can be. Keypoints win where their count is that of a polygon, too."""
    if columns == BOX_COLUMNS:
        return Form.BOX
    if kpt_shape and columns == BOX_COLUMNS + kpt_shape[0] * kpt_shape[1]:
        return Form.POSE
    if columns >= LEAST_POLYGON_COLUMNS and columns % 2:
        return Form.POLYGON
    return None


def annotation_of(line: str, rules: Rules) -> Annotation:
    """The object of a line as it is written, neither clipped nor fitted to the task. `Refused` says what it is not."""
    words = line.split()
    form = form_of(len(words), rules.kpt_shape)
    if form is None or (form is Form.POLYGON and rules.task is TaskType.POSE_ESTIMATION):
        raise Refused("LABEL_MALFORMED", f"has {len(words)} columns; {_expected(rules)}")
    label, *values = _numbers(line, words)
    class_id = _class_id(label, words[0], rules)
    if form is Form.BOX:
        return Annotation(class_id, _box(values))
    if form is Form.POLYGON:
        return Annotation(class_id, polygons=(tuple(values),))
    return Annotation(class_id, _box(values), keypoints=_keypoints(values[4:], rules.kpt_shape or (0, 2)))


def _expected(rules: Rules) -> str:
    match rules.task:
        case TaskType.INSTANCE_SEGMENTATION:
            return "a polygon has a class and three points or more, of two numbers each"
        case TaskType.ORIENTED_OBJECT_DETECTION:
            return "an oriented box has 9, a class and four corners of two numbers"
        case TaskType.POSE_ESTIMATION:
            points, numbers = rules.kpt_shape or (0, 0)
            columns = BOX_COLUMNS + points * numbers
            return f"a pose has {columns}, a class, a box of four numbers and {points} keypoints of {numbers}"
    return "a box has 5, a class and x y w h; a confidence does not belong in a label"


def _numbers(line: str, words: list[str]) -> list[float]:
    """`float` alone takes 1_0 and digits of other scripts, which no other reader does."""
    if (line.isascii() and "_" not in line) or all(map(_is_number, words)):
        try:
            return [float(word) for word in words]
        except ValueError:
            pass
    strange = next(word for word in words if not _is_number(word))
    raise Refused("LABEL_MALFORMED", f"{strange[:40]!r} is not a number")


def _is_number(word: str) -> bool:
    try:
        return word.isascii() and "_" not in word and float(word) is not None
    except ValueError:
        return False


def _class_id(value: float, word: str, rules: Rules) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Refused("LABEL_MALFORMED", f"class {word[:40]} is not a whole number")
    class_id = rules.ids.get(int(value))
    if class_id is None:
        count = len(rules.ids)
        known = f"0 to {max(rules.ids)}" if rules.ids and max(rules.ids) == count - 1 else f"the {count} that are named"
        raise Refused("CLASS_OUT_OF_RANGE", f"class {word[:40]} is not one of {known}")
    return class_id


def _box(values: list[float]) -> Box:
    x, y, width, height = values[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _keypoints(values: list[float], shape: tuple[int, int]) -> tuple[Keypoint, ...]:
    if shape[1] == 2:
        return tuple((x, y, VISIBLE) for x, y in zip(values[::2], values[1::2], strict=True))
    for visibility in values[2::3]:
        if visibility not in (0, 1, 2):
            raise Refused("LABEL_MALFORMED", f"visibility {visibility:g} is not 0, 1 or 2")
    return tuple(
        (x, y, int(visibility)) for x, y, visibility in zip(values[::3], values[1::3], values[2::3], strict=True)
    )
