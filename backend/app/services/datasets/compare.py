"""What changed from one version to another: images by their content, labels as trainers see them.

An image is the same if its bytes are; its path says whether it moved. Labels are the same if they differ by less than
writing them as text and reading them again changes them.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

from app.datasets.index import Index, index_uri
from app.models import DatasetVersion
from app.services.datasets import browse
from app.services.datasets.browse import Library
from app.words import TaskType

SHOWN = 100
TOLERANCE = 1e-6  # of the image; a label has eight digits

_PAIRS = """
CREATE TEMP TABLE pairs (before_id INTEGER PRIMARY KEY, after_id INTEGER NOT NULL UNIQUE);
INSERT INTO pairs SELECT b.id, a.id FROM before.images b JOIN after.images a ON a.path = b.path AND a.sha256 = b.sha256;
"""
_MORE_PAIRS = """
CREATE TEMP TABLE b AS SELECT id, sha256 || {name} AS mark, row_number() OVER (PARTITION BY sha256, {name} ORDER BY id)
    AS number FROM before.images WHERE path IS NOT NULL AND id NOT IN (SELECT before_id FROM pairs);
CREATE TEMP TABLE a AS SELECT id, sha256 || {name} AS mark, row_number() OVER (PARTITION BY sha256, {name} ORDER BY id)
    AS number FROM after.images WHERE path IS NOT NULL AND id NOT IN (SELECT after_id FROM pairs);
CREATE INDEX temp.a_mark ON a (mark, number);
INSERT INTO pairs SELECT b.id, a.id FROM b CROSS JOIN a ON a.mark = b.mark AND a.number = b.number;
DROP TABLE a;
DROP TABLE b;
"""
_MOVED = """
SELECT a.path, b.path, a.split != b.split FROM pairs JOIN before.images b ON b.id = before_id
    JOIN after.images a ON a.id = after_id WHERE a.split != b.split OR a.name != b.name ORDER BY a.path
"""
_ALONE = "SELECT path, NULL FROM {side}.images WHERE path IS NOT NULL AND id NOT IN (SELECT {side}_id FROM pairs)"


@dataclass(frozen=True)
class Change:
    """Where an image is, and where it was if that is elsewhere."""

    path: str
    before: str | None


@dataclass
class Changes:
    """How many, and the first of them."""

    count: int = 0
    first: list[Change] = field(default_factory=list)

    def add(self, path: str, before: str | None = None) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(Change(path, before))


@dataclass(frozen=True)
class ImageChanges:
    """Removed ones have their old path. One that moved, or was renamed in its split, may be relabelled, too."""

    added: Changes
    removed: Changes
    moved: Changes
    renamed: Changes
    relabelled: Changes


@dataclass(frozen=True)
class ClassChange:
    """Objects of a class; None where it is no class of that version."""

    before: int | None
    after: int | None


@dataclass(frozen=True)
class Comparison:
    before: int
    after: int
    images: ImageChanges
    classes: dict[str, ClassChange]


def compare(library: Library, before: DatasetVersion, after: DatasetVersion) -> Comparison:
    """Two versions of a dataset."""
    with browse.opened(library, before) as old, browse.opened(library, after) as new:
        changes = compare_images(old, new)
    names = dict.fromkeys([*after.classes, *before.classes])
    counts = [version.counts.get("classes", {}) for version in (before, after)]
    classes = {name: ClassChange(counts[0].get(name), counts[1].get(name)) for name in names}
    return Comparison(before.version, after.version, changes, classes)


def compare_images(old: Index, new: Index) -> ImageChanges:
    """What became of the images and their labels."""
    with closing(sqlite3.connect(":memory:", uri=True, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS before", (index_uri(old.path),))
        connection.execute("ATTACH ? AS after", (index_uri(new.path),))
        connection.executescript(_PAIRS)
        for name in ("name", "''"):  # of equal images first those that kept their name
            connection.executescript(_MORE_PAIRS.format(name=name))
        moved, renamed = Changes(), Changes()
        for path, was, is_moved in connection.execute(_MOVED):
            (moved if is_moved else renamed).add(path, was)
        relabelled = _relabelled(connection, old, new)
        return ImageChanges(_alone(connection, "after"), _alone(connection, "before"), moved, renamed, relabelled)


def _alone(connection: sqlite3.Connection, side: str) -> Changes:
    changes = Changes()
    for path, before in connection.execute(f"{_ALONE.format(side=side)} ORDER BY path"):
        changes.add(path, before)
    return changes


def _relabelled(connection: sqlite3.Connection, old: Index, new: Index) -> Changes:
    """Most images have the very same numbers; only the others are looked at one by one."""
    changes, sides = Changes(), (_Side(old), _Side(new))
    marks = [side.marks() for side in sides]
    query = "SELECT a.path, before_id, after_id FROM pairs JOIN after.images a ON a.id = after_id ORDER BY a.path"
    for path, *ids in connection.execute(query):
        if marks[0].get(ids[0]) != marks[1].get(ids[1]):
            before, after = (side.labels(image_id) for side, image_id in zip(sides, ids, strict=True))
            if not _are_alike(before, after):
                changes.add(path)
    return changes


_Label = tuple[str, tuple[float, ...]]  # the class and what a label of the task has beside it
_COLUMNS = {
    TaskType.OBJECT_DETECTION: "x1, y1, x2, y2",
    TaskType.INSTANCE_SEGMENTATION: "polygons",
    TaskType.ORIENTED_OBJECT_DETECTION: "polygons",
    TaskType.POSE_ESTIMATION: "x1, y1, x2, y2, keypoints",
    TaskType.IMAGE_CLASSIFICATION: "NULL",
}


class _Side:
    """The labels of one version, crowd regions aside."""

    def __init__(self, index: Index) -> None:
        self._connection, self._classes = index.connection, index.classes
        self._query = f"SELECT image_id, class_id, {_COLUMNS[index.task_type]} FROM annotations WHERE NOT crowd"

    def marks(self) -> dict[int, int]:
        """A number for each image with labels, the same for the same labels in any order."""
        marks: dict[int, int] = {}
        for image_id, class_id, *columns in self._connection.execute(self._query):
            marks[image_id] = marks.get(image_id, 0) + hash((self._classes[class_id], *columns))
        return marks

    def labels(self, image_id: int) -> list[_Label]:
        rows = self._connection.execute(f"{self._query} AND image_id = ?", (image_id,))
        return sorted((self._classes[class_id], _numbers(columns)) for _, class_id, *columns in rows)


def _numbers(columns: list[float | str | None]) -> tuple[float, ...]:
    """Those in JSON, too."""
    found: list[float] = []
    for column in columns:
        if isinstance(column, str):
            found += [number for part in json.loads(column) for number in part]
        elif column is not None:
            found.append(column)
    return tuple(found)


def _are_alike(old: list[_Label], new: list[_Label]) -> bool:
    """Whether each has its own counterpart. Sorted as they are, it is among the first."""
    left = list(new)
    for label in old:
        found = next((place for place, other in enumerate(left) if _is_close(label, other)), None)
        if found is None:
            return False
        del left[found]
    return not left


def _is_close(one: _Label, other: _Label) -> bool:
    same_kind = one[0] == other[0] and len(one[1]) == len(other[1])
    return same_kind and all(abs(a - b) <= TOLERANCE for a, b in zip(one[1], other[1], strict=True))
