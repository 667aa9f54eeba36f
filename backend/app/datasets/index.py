"""A version's index.sqlite, read only: what people page through, what exports write, what an edit starts from.

The file never changes, so it is opened as immutable: no locks, no journal. Pages are keyset pages over ids.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from app.datasets.annotations import Annotation, Box
from app.datasets.draft import SCHEMA_VERSION
from app.errors import Invalid
from app.words import TaskType

CHUNK = 500  # ids in one statement


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """An image of the version. `offset` and `size` are where its bytes lie in data.zip; `name` is below its split."""

    id: int
    path: str
    split: str
    name: str
    width: int
    height: int
    sha256: str
    size: int
    offset: int
    source_sha256: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list says of an image: its objects (crowd regions aside), its classes by id, its findings' codes."""

    objects: int = 0
    classes: tuple[int, ...] = ()
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexedFinding:
    id: int
    code: str
    severity: str
    action: str
    image_id: int | None
    file: str | None
    line: int | None
    value: str | None
    message: str


class Index:
    """One connection: use it in one thread at a time, and close it. `Invalid` if the file is no index of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(index_uri(path), uri=True, isolation_level=None, check_same_thread=False)
        try:
            found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise Invalid(f"{path.name} is not a readable index: {error}") from error
        if found != SCHEMA_VERSION:
            self.connection.close()
            raise Invalid(f"{path.name} has index format {found}; this release reads {SCHEMA_VERSION}")

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # facts about the whole

    @property
    def meta(self) -> dict[str, Any]:
        """task_type, format, kpt_shape, flip_idx and whatever else the import noted."""
        return {key: json.loads(value) for key, value in self.connection.execute("SELECT key, value FROM meta")}

    @property
    def task_type(self) -> TaskType:
        return TaskType(self.meta["task_type"])

    @property
    def classes(self) -> list[str]:
        """Class i is the name at i."""
        return [name for (name,) in self.connection.execute("SELECT name FROM classes ORDER BY id")]

    # images

    def images(
        self,
        *,
        split: str | None = None,
        class_name: str | None = None,
        finding: str | None = None,
        after: int = 0,
        limit: int = 60,
    ) -> list[IndexedImage]:
        """A page by id: images above `after` that have the split, an object of the class, a finding of the code."""
        query, values = _image_query(split, class_name, finding)
        rows = self.connection.execute(f"{query} ORDER BY images.id LIMIT :limit", values | _page(after, limit))
        return [IndexedImage(*row) for row in rows]

    def every_image(self, split: str | None = None) -> Iterator[IndexedImage]:
        """All of them, or all of a split, by id, a page in memory at a time."""
        after = 0
        while page := self.images(split=split, after=after, limit=1_000):
            yield from page
            after = page[-1].id

    def image(self, image_id: int) -> IndexedImage | None:
        row = self.connection.execute(f"{_IMAGES} AND images.id = ?", (image_id,)).fetchone()
        return IndexedImage(*row) if row else None

    def some_images(self, ids: Sequence[int]) -> dict[int, IndexedImage]:
        """Those of the ids that there are."""
        return {row[0]: IndexedImage(*row) for row in self._of(ids, f"{_IMAGES} AND images.id IN")}

    def summaries(self, ids: Sequence[int]) -> dict[int, Summary]:
        """For each of the images."""
        classes: dict[int, dict[int, None]] = {}
        objects: dict[int, int] = {}
        for image_id, class_id, count in self._of(ids, _OBJECTS, " GROUP BY image_id, class_id"):
            classes.setdefault(image_id, {})[class_id] = None
            objects[image_id] = objects.get(image_id, 0) + count
        codes: dict[int, dict[str, None]] = {}
        for image_id, code in self._of(ids, "SELECT image_id, code FROM findings WHERE image_id IN", " ORDER BY id"):
            codes.setdefault(image_id, {})[code] = None
        return {
            image: Summary(objects.get(image, 0), tuple(classes.get(image, ())), tuple(codes.get(image, ())))
            for image in ids
        }

    # labels and findings

    def annotations(self, image_id: int) -> list[tuple[int, Annotation]]:
        """The image's annotations with their ids, in the order of the source."""
        rows = self.connection.execute(f"{_ANNOTATIONS} WHERE image_id = ? ORDER BY id", (image_id,))
        return [(row[0], _annotation(row)) for row in rows]

    def findings(
        self,
        *,
        code: str | None = None,
        severity: str | None = None,
        image_id: int | None = None,
        after: int = 0,
        limit: int = 60,
    ) -> list[IndexedFinding]:
        """A page by id; of one code the first thousand are here, `finding_counts` has all."""
        wanted = {"code": code, "severity": severity, "image_id": image_id}
        conditions = [f"{column} = :{column}" for column, value in wanted.items() if value is not None]
        where = " AND ".join(["id > :after", *conditions])
        query = f"SELECT {_FINDING_COLUMNS} FROM findings WHERE {where} ORDER BY id LIMIT :limit"
        return [IndexedFinding(*row) for row in self.connection.execute(query, wanted | _page(after, limit))]

    @property
    def finding_counts(self) -> dict[str, int]:
        return dict(self.connection.execute("SELECT code, count FROM finding_counts"))

    def _of(self, ids: Sequence[int], query: str, rest: str = "") -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            yield from self.connection.execute(f"{query} ({', '.join('?' * len(chunk))}){rest}", chunk)


def index_uri(path: Path) -> str:
    """For sqlite3.connect and ATTACH."""
    return f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"


_IMAGE_COLUMNS = "id, path, split, name, width, height, sha256, size, offset, source_sha256"
_IMAGES = (
    f"SELECT {', '.join(f'images.{column}' for column in _IMAGE_COLUMNS.split(', '))} FROM images "
    "WHERE images.path IS NOT NULL"
)
_OBJECTS = "SELECT image_id, class_id, sum(NOT crowd) FROM annotations WHERE image_id IN"
_ANNOTATIONS = "SELECT id, class_id, x1, y1, x2, y2, polygons, keypoints, crowd, attributes FROM annotations"
_FINDING_COLUMNS = "id, code, severity, action, image_id, file, line, value, message"


def _image_query(split: str | None, class_name: str | None, finding: str | None) -> tuple[str, dict[str, Any]]:
    query = f"{_IMAGES} AND images.id > :after"
    values: dict[str, Any] = {}
    if split is not None:
        query, values = f"{query} AND images.split = :split", values | {"split": split}
    if class_name is not None:
        has_class = "SELECT 1 FROM annotations WHERE class_id = (SELECT id FROM classes WHERE name = :class)"
        query, values = f"{query} AND EXISTS ({has_class} AND image_id = images.id)", values | {"class": class_name}
    if finding is not None:  # a thousand at most, so they lead
        found = "SELECT image_id FROM findings WHERE code = :finding AND image_id IS NOT NULL"
        query, values = f"{query} AND images.id IN ({found})", values | {"finding": finding}
    return query, values


def _page(after: int, limit: int) -> dict[str, Any]:
    return {"after": after, "limit": limit}


def _annotation(row: tuple[Any, ...]) -> Annotation:
    _, class_id, x1, y1, x2, y2, polygons, keypoints, crowd, attributes = row
    box: Box | None = None if x1 is None else (x1, y1, x2, y2)
    return Annotation(
        class_id,
        box,
        tuple(tuple(polygon) for polygon in json.loads(polygons)) if polygons else (),
        tuple((x, y, int(seen)) for x, y, seen in json.loads(keypoints)) if keypoints else (),
        bool(crowd),
        json.loads(attributes) if attributes else {},
    )
