"""Label files as trainers read them: a line an object, a class and fractions of the image, eight significant digits.

Detection `c x y w h`; segmentation and oriented boxes `c x1 y1 … xn yn`; pose `c x y w h` and the keypoints. What is
read back from a line gives the same line again, so that importing an export makes no new version.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from app.datasets.annotations import Box
from app.datasets.outlines import join
from app.words import TaskType

DIGITS = 8


def label_text(connection: sqlite3.Connection, image_id: int, task: TaskType, kpt_numbers: int = 3) -> str:
    """The image's label file; empty for an image that shows nothing. Crowd regions are left out."""
    query = (
        "SELECT class_id, x1, y1, x2, y2, polygons, keypoints FROM annotations "
        "WHERE image_id = ? AND NOT crowd ORDER BY id"
    )
    lines = (_line(row, task, kpt_numbers) for row in connection.execute(query, (image_id,)))
    return "".join(f"{line}\n" for line in lines)


def _line(row: tuple[Any, ...], task: TaskType, kpt_numbers: int) -> str:
    class_id, x1, y1, x2, y2, polygons, keypoints = row
    if task in (TaskType.INSTANCE_SEGMENTATION, TaskType.ORIENTED_OBJECT_DETECTION):
        return " ".join([str(class_id), *_numbers(join([tuple(part) for part in json.loads(polygons)]))])
    words = [str(class_id), *_box((x1, y1, x2, y2))]
    if task is TaskType.POSE_ESTIMATION:
        words += _keypoints(json.loads(keypoints), kpt_numbers)
    return " ".join(words)


def _box(box: Box) -> Iterator[str]:
    """Centre and size, the size never reaching outside the image by its rounding."""
    x1, y1, x2, y2 = box
    x, y = _rounded((x1 + x2) / 2), _rounded((y1 + y2) / 2)
    return _numbers((x, y, _inside(x2 - x1, x), _inside(y2 - y1, y)))


def _inside(length: float, centre: float) -> float:
    room = 2 * min(centre, 1 - centre)
    if room <= 0 or _rounded(length) <= room + 1e-14:
        return length
    step = 10.0 ** (math.floor(math.log10(room)) - DIGITS + 1)
    return math.floor(room / step + 1e-6) * step


def _keypoints(keypoints: list[list[float]], numbers: int) -> Iterator[str]:
    for x, y, visibility in keypoints:
        yield from _numbers((x, y))
        if numbers == 3:
            yield str(int(visibility))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _numbers(values: Iterable[float]) -> Iterator[str]:
    return (f"{value:.{DIGITS}g}" for value in values)
