"""An index under construction: the memory of an import, on disk.

A reader fills it, checks go over it, the archive is written from it. When the import is done, this file is the
version's index.sqlite. `SCHEMA` is what readers of an index rely on.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.datasets.annotations import Annotation
from app.datasets.findings import KINDS, Finding, Severity
from app.words import TaskType

SCHEMA_VERSION = 1  # PRAGMA user_version

SCHEMA = """
CREATE TABLE meta (  -- values are JSON; keys: task_type, format, kpt_shape, flip_idx
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);      -- numbered from 0
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    archive INTEGER NOT NULL DEFAULT 0,  -- 0: this upload, 1: the parent version's data.zip
    entry TEXT NOT NULL,                 -- its name there
    source_sha256 TEXT NOT NULL,         -- of the bytes as uploaded
    format TEXT NOT NULL,                -- as Pillow names it: JPEG, PNG, BMP, WEBP, TIFF
    width INTEGER NOT NULL,              -- pixels, upright
    height INTEGER NOT NULL,
    orientation INTEGER NOT NULL,        -- EXIF, as uploaded: 1 to 8
    rewrite TEXT,                        -- suffix to encode it as, where the bytes cannot stay: .jpg or .png
    split TEXT,                          -- train, val, test; null until it has one
    name TEXT,                           -- below its split or class folder: a/b.jpg; null until it is placed
    background INTEGER NOT NULL DEFAULT 0,  -- its source says that it shows nothing (an empty label file)
    path TEXT UNIQUE,                    -- in data.zip, as are the next three; null until that is written
    sha256 TEXT,
    size INTEGER,                        -- bytes
    offset INTEGER                       -- of the first byte
);
CREATE UNIQUE INDEX images_entry ON images (archive, entry);
CREATE INDEX images_split ON images (split, id);
CREATE INDEX images_source ON images (source_sha256);
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY,
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    class_id INTEGER NOT NULL REFERENCES classes (id),
    x1 REAL, y1 REAL, x2 REAL, y2 REAL,  -- fractions of the upright image; null for the class of a whole image
    polygons TEXT,                       -- JSON [[x, y, …], …]; of an oriented box its four corners
    keypoints TEXT,                      -- JSON [[x, y, visibility], …]
    crowd INTEGER NOT NULL DEFAULT 0,    -- in the index alone, not in the labels
    attributes TEXT                      -- JSON: difficult, truncated, …
);
CREATE INDEX annotations_image ON annotations (image_id);
CREATE INDEX annotations_class ON annotations (class_id, image_id);
CREATE TABLE findings (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    action TEXT NOT NULL,
    image_id INTEGER REFERENCES images (id) ON DELETE SET NULL,
    file TEXT,
    line INTEGER,
    value TEXT,
    message TEXT NOT NULL
);
CREATE INDEX findings_code ON findings (code, id);
CREATE INDEX findings_image ON findings (image_id);
CREATE TABLE finding_counts (  -- of all; `findings` has the first 1,000 of a code
    code TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
"""
FINDINGS_KEPT = 1_000  # of one code; the rest is counted
VALUE_LENGTH, MESSAGE_LENGTH = 200, 500


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of the upload, inspected. `width` and `height` are upright."""

    id: int
    entry: str
    source_sha256: str
    format: str
    width: int
    height: int
    orientation: int
    rewrite: str | None = None
    archive: int = 0


class Draft:
    """Not shared between threads. `close` commits; what is not closed is worth nothing."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON; PRAGMA cache_size = -32000;"
            f"PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA}"
        )
        self.connection.execute("BEGIN")
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, str] = {}  # of `meta`, which every annotation asks for

    def close(self) -> None:
        self.connection.executemany("INSERT OR REPLACE INTO finding_counts VALUES (?, ?)", sorted(self._counts.items()))
        self.connection.execute("COMMIT")
        self.connection.close()

    # facts about the whole

    def set(self, key: str, value: Any) -> None:
        """A fact as JSON: task_type, format, kpt_shape, flip_idx."""
        self._facts[key] = json.dumps(value, ensure_ascii=False)
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, self._facts[key]))

    def get(self, key: str) -> Any:
        return json.loads(self._facts[key]) if key in self._facts else None

    @property
    def task_type(self) -> TaskType:
        return TaskType(self.get("task_type"))

    def set_classes(self, names: Sequence[str]) -> None:
        """Class i is `names[i]`; the names are checked and distinct."""
        self.connection.executemany("INSERT INTO classes VALUES (?, ?)", enumerate(names))

    @property
    def classes(self) -> list[str]:
        return [name for (name,) in self.connection.execute("SELECT name FROM classes ORDER BY id")]

    # images

    def add_image(self, image: SourceImage) -> int:
        """The new image's id; `image.id` is not looked at."""
        columns = "archive, entry, source_sha256, format, width, height, orientation, rewrite"
        values = tuple(getattr(image, column) for column in columns.split(", "))
        return self._insert(f"INSERT INTO images ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def image(self, entry: str, archive: int = 0) -> SourceImage | None:
        """The inspected image of this name in the upload; None for what is no image or was dropped."""
        query = f"SELECT {_IMAGE_COLUMNS} FROM images WHERE archive = ? AND entry = ?"
        found = self.connection.execute(query, (archive, entry)).fetchone()
        return SourceImage(*found) if found else None

    def images(self) -> Iterator[SourceImage]:
        """All of this upload, by name."""
        query = f"SELECT {_IMAGE_COLUMNS} FROM images WHERE archive = 0 ORDER BY entry"
        return (SourceImage(*row) for row in self.connection.execute(query).fetchall())

    def place(self, image_id: int, name: str, split: str | None) -> None:
        """Take the image into the dataset as `name`, relative, below its split; images never placed are dropped."""
        self.connection.execute("UPDATE images SET name = ?, split = ? WHERE id = ?", (name, split, image_id))

    def mark_background(self, image_id: int) -> None:
        """The source says that there is nothing to label; other images without annotations are unlabelled."""
        self.connection.execute("UPDATE images SET background = 1 WHERE id = ?", (image_id,))

    def drop(self, image_id: int) -> None:
        """Leave the image out, with its annotations."""
        self.connection.execute("DELETE FROM images WHERE id = ?", (image_id,))

    # labels and findings

    def annotate(self, image_id: int, annotation: Annotation) -> int:
        """Store an annotation that has been mended."""
        box = annotation.box or (None, None, None, None)
        values = (
            image_id,
            annotation.class_id,
            *box,
            json.dumps(annotation.polygons) if annotation.polygons else None,
            json.dumps(annotation.keypoints) if annotation.keypoints else None,
            annotation.crowd,
            json.dumps(dict(annotation.attributes), ensure_ascii=False) if annotation.attributes else None,
        )
        columns = "image_id, class_id, x1, y1, x2, y2, polygons, keypoints, crowd, attributes"
        return self._insert(f"INSERT INTO annotations ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def find(self, finding: Finding) -> None:
        """Record what was found; the first thousand of a code are kept, all are counted."""
        self._counts[finding.code] += 1
        if self._counts[finding.code] > FINDINGS_KEPT:
            return
        kind = KINDS[finding.code]
        value = None if finding.value is None else finding.value[:VALUE_LENGTH]
        place = (finding.image_id, finding.file, finding.line, value, finding.message[:MESSAGE_LENGTH])
        columns = "code, severity, action, image_id, file, line, value, message"
        self.connection.execute(
            f"INSERT INTO findings ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (finding.code, kind.severity, finding.action or kind.action, *place),
        )

    @property
    def found(self) -> frozenset[str]:
        """The codes of all findings so far."""
        return frozenset(self._counts)

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there were."""
        return sum(count for code, count in self._counts.items() if KINDS[code].severity is severity)

    def _insert(self, statement: str, values: tuple[Any, ...]) -> int:
        return int(self.connection.execute(statement, values).lastrowid or 0)


_IMAGE_COLUMNS = "id, entry, source_sha256, format, width, height, orientation, rewrite, archive"
