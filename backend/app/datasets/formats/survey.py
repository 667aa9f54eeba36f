"""The task of a YOLO dataset, from the columns of all its label lines; and its class numbers, where nobody names them.

All of 5 columns: detection. All of 9: oriented boxes, since outlines by hand seldom have just four points every time;
this is a guess and says so. Keypoints: where `kpt_shape` says so, else where every line has the same even count of
columns with visibilities in it. Odd counts from 7: segmentation. Boxes among polygons: what most lines are, which is
a guess too.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.datasets.archives.base import Archive
from app.datasets.formats.class_names import MAX_CLASSES
from app.datasets.formats.description import MAX_KEYPOINTS, Description
from app.datasets.formats.lines import BOX_COLUMNS, CORNER_COLUMNS, LEAST_POLYGON_COLUMNS
from app.datasets.formats.text import numbered_lines, read_text
from app.errors import Invalid
from app.words import TaskType

MAX_LABEL_BYTES = 16 * 2**20
MAX_LINES = 100_000
_VISIBILITY = re.compile(r"[012](\.0*)?")


@dataclass
class Survey:
    """What all label lines together look like. `visibilities`: whether they could be, by count of columns."""

    columns: Counter[int] = field(default_factory=Counter)
    classes: set[int] = field(default_factory=set)
    visibilities: dict[int, bool] = field(default_factory=dict)

    def add(self, line: str) -> None:
        words = line.split()
        count = len(words)
        self.columns[count] += 1
        if words[0] not in self._seen:
            self._seen.add(words[0])
            self._add_class(words[0])
        if count > BOX_COLUMNS and count % 3 == 2 and self.visibilities.get(count, True):
            self.visibilities[count] = all(map(_VISIBILITY.fullmatch, words[7::3]))

    def __post_init__(self) -> None:
        self._seen: set[str] = set()

    def _add_class(self, word: str) -> None:
        try:
            number = float(word)
        except ValueError:
            return
        if 0 <= number < MAX_CLASSES and number == int(number):
            self.classes.add(int(number))


def label_lines(archive: Archive, label: str) -> Iterator[tuple[int, str]]:
    """The lines of a label file by their numbers. `Invalid` where it is not text, or more than an image can have."""
    for number, line in numbered_lines(read_text(archive, label, MAX_LABEL_BYTES)):
        if number > MAX_LINES:
            raise Invalid(f"{label} has more than {MAX_LINES} lines")
        yield number, line


def survey(archive: Archive, labels: Iterable[str]) -> Survey:
    """Every label file once; what cannot be read is left for the reading itself to tell."""
    seen = Survey()
    for label in labels:
        try:
            for _, line in label_lines(archive, label):
                seen.add(line)
        except Invalid:
            continue
    return seen


def recognised_task(seen: Survey, description: Description | None) -> tuple[TaskType, str | None]:
    """The task, and why it is a guess, if it is one."""
    if description and description.kpt_shape:
        return TaskType.POSE_ESTIMATION, None
    if description and description.task:
        return description.task, None
    boxes = seen.columns[BOX_COLUMNS]
    corners = seen.columns[CORNER_COLUMNS]
    polygons = sum(count for columns, count in seen.columns.items() if _is_polygon(columns))
    if corners and corners == polygons and not boxes:
        return TaskType.ORIENTED_OBJECT_DETECTION, f"all {corners} lines have four corners: read as oriented boxes"
    if not polygons:
        poses = inferred_kpt_shape(seen) is not None
        return (TaskType.POSE_ESTIMATION if poses else TaskType.OBJECT_DETECTION), None
    task = TaskType.INSTANCE_SEGMENTATION if polygons >= boxes else TaskType.OBJECT_DETECTION
    return task, f"{boxes} lines are boxes and {polygons} polygons: read as {task}" if boxes else None


def _is_polygon(columns: int) -> bool:
    return columns >= LEAST_POLYGON_COLUMNS and columns % 2 == 1


def inferred_kpt_shape(seen: Survey) -> tuple[int, int] | None:
    """Keypoints that all lines agree on: with visibilities where every third number can be one, else without."""
    if len(seen.columns) != 1:
        return None
    columns = next(iter(seen.columns))
    numbers = columns - BOX_COLUMNS
    if not 0 < numbers <= 3 * MAX_KEYPOINTS:
        return None
    if numbers % 3 == 0 and seen.visibilities.get(columns):
        return numbers // 3, 3
    return (numbers // 2, 2) if numbers % 2 == 0 else None
