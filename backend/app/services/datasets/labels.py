"""Label files of the YOLO formats and the parts of data.yaml that we read.

A line is a class and normalised numbers: detection `c x y w h`; oriented boxes `c x1 y1 … x4 y4`; segmentation
`c x1 y1 … xn yn` with n ≥ 3; pose `c x y w h` and, for each keypoint, x y and where kpt_shape says so its visibility.
"""

import math
from dataclasses import dataclass
from typing import Any

import yaml

from app.errors import Invalid
from app.services.datasets.problems import Problems
from app.words import TaskType

MAX_CLASSES = 10_000
MAX_KEYPOINTS = 1_000
LOWEST, HIGHEST = -0.01, 1.01  # beyond them Ultralytics drops the whole image with a warning
BOX_COLUMNS = 5


@dataclass(frozen=True)
class Description:
    """What a dataset says of its classes and, for pose, of its keypoints."""

    names: list[str]
    kpt_shape: tuple[int, int] | None = None
    flip_idx: list[int] | None = None


def read_description(text: bytes, task_type: TaskType) -> Description:
    """`names`, and for pose `kpt_shape` and `flip_idx`, of a data.yaml; nothing else in it is looked at."""
    try:
        content = yaml.safe_load(text.decode("utf-8-sig"))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"data.yaml is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise Invalid("data.yaml is not a mapping with `names`")
    problems = Problems()
    names = _names(content.get("names"), problems)
    is_pose = task_type is TaskType.POSE_ESTIMATION
    shape = _kpt_shape(content.get("kpt_shape"), problems) if is_pose else None
    flip = _flip_idx(content.get("flip_idx"), shape, problems) if shape else None
    problems.raise_if_any("data.yaml is refused")
    return Description(names, shape, flip)


def check_labels(
    path: str, text: bytes, description: Description, task_type: TaskType, problems: Problems
) -> list[int]:
    """The class of each labelled object; problems are added as `path:line`."""
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        problems.add(path, None, "is not UTF-8 text")
        return []
    classes = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        message = _line_problem(words, description, task_type)
        if message:
            problems.add(f"{path}:{number}", line[:200], message)
        else:
            classes.append(int(float(words[0])))
    return classes


def _line_problem(words: list[str], description: Description, task_type: TaskType) -> str | None:
    columns = _columns_problem(len(words), description, task_type)
    if columns:
        return columns
    try:
        label, *values = [_number(word) for word in words]
    except ValueError as error:
        return f"{error} is not a finite number"
    if label != int(label) or not 0 <= label < len(description.names):
        return f"class {words[0]} is not one of 0 to {len(description.names) - 1}, as data.yaml has them"
    return _values_problem(values, description, task_type)


def _columns_problem(count: int, description: Description, task_type: TaskType) -> str | None:
    match task_type:
        case TaskType.INSTANCE_SEGMENTATION:
            if count < 7 or count % 2 == 0:
                return f"has {count} columns; a polygon has a class and at least three points of two numbers"
            return None
        case TaskType.ORIENTED_OBJECT_DETECTION:
            wanted, what = 9, "a class and the four corners of two numbers"
        case TaskType.POSE_ESTIMATION:
            points, numbers = description.kpt_shape or (0, 0)
            wanted, what = BOX_COLUMNS + points * numbers, f"a class, a box and {points} keypoints of {numbers} numbers"
        case _:
            wanted, what = BOX_COLUMNS, "a class and a box of four numbers"
    return None if count == wanted else f"has {count} columns, not {wanted}: {what}"


def _values_problem(values: list[float], description: Description, task_type: TaskType) -> str | None:
    visible: list[float] = []
    if task_type is TaskType.POSE_ESTIMATION and description.kpt_shape and description.kpt_shape[1] == 3:
        visible = values[6::3]
        values = values[:4] + [value for index, value in enumerate(values[4:]) if index % 3 != 2]
    for value in values:
        if not LOWEST <= value <= HIGHEST:
            return f"{value:g} is outside 0 to 1; coordinates are fractions of the image"
    for value in visible:
        if value not in (0, 1, 2):
            return f"visibility {value:g} is not 0, 1 or 2"
    return None


def _number(word: str) -> float:
    try:
        value = float(word) if word.isascii() and "_" not in word else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(repr(word[:40]))
    return value


def _names(value: Any, problems: Problems) -> list[str]:
    """A list, or a mapping from 0, 1, 2 …, of distinct names."""
    if isinstance(value, dict) and set(value) == set(range(len(value))):
        value = [value[index] for index in range(len(value))]
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CLASSES:
        problems.add("data.yaml:names", None, f"must be a list of 1 to {MAX_CLASSES} class names, or a mapping from 0")
        return []
    names: list[str] = []
    seen: set[str] = set()
    for index, name in enumerate(value):
        message = _name_problem(name) or ("is a class name twice" if str(name) in seen else None)
        if message:
            problems.add(f"data.yaml:names[{index}]", _shown(name), message)
        else:
            seen.add(str(name))
            names.append(str(name))
    return names


def _name_problem(name: Any) -> str | None:
    if isinstance(name, bool) or not isinstance(name, str | int | float) or _is_huge(name):
        return "is not a plain name; put it in quotes (YAML reads yes, no, on and off as true and false)"
    if not str(name).strip() or len(str(name)) > 200 or not str(name).isprintable():
        return "is empty, longer than 200 characters or has control characters"
    return None


def _is_huge(value: str | int | float) -> bool:
    return not isinstance(value, str) and not abs(value) < 10**15


def _shown(value: Any) -> str:
    """The value for a message; a structure by its type, since YAML's aliases can make one of any size."""
    return value[:100] if isinstance(value, str) else type(value).__name__


def _kpt_shape(value: Any, problems: Problems) -> tuple[int, int] | None:
    match value:
        case [int(points), int(numbers)] if 1 <= points <= MAX_KEYPOINTS and numbers in (2, 3):
            return points, numbers
    problems.add("data.yaml:kpt_shape", _shown(value), "must be [keypoints, 2 or 3] for pose estimation")
    return None


def _flip_idx(value: Any, shape: tuple[int, int], problems: Problems) -> list[int] | None:
    if value is None:
        return None
    plain = isinstance(value, list) and all(type(index) is int for index in value)
    if not plain or sorted(value) != list(range(shape[0])):
        problems.add("data.yaml:flip_idx", _shown(value), f"must hold each of 0 to {shape[0] - 1} once")
        return None
    return list(value)
