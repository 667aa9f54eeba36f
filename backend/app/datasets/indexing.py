"""The draft as index.sqlite: written anew in the order of the paths, so that a page of images lies together on disk."""

import hashlib
import sqlite3
from pathlib import Path

from app.datasets.draft import SCHEMA, SCHEMA_VERSION

_IMAGE_COLUMNS = (
    "archive, entry, source_sha256, format, width, height, orientation, rewrite, split, name, background, "
    "path, sha256, size, offset"
)
_ANNOTATION_COLUMNS = "class_id, x1, y1, x2, y2, polygons, keypoints, crowd, attributes"
_FINDING_COLUMNS = "code, severity, action, file, line, value, message"
_COPY = (
    "CREATE TEMP TABLE numbers AS SELECT id AS old, row_number() OVER (ORDER BY path) AS new FROM draft.images",
    "CREATE UNIQUE INDEX temp.numbers_old ON numbers (old, new)",
    "INSERT INTO meta SELECT * FROM draft.meta ORDER BY key",
    "INSERT INTO classes SELECT * FROM draft.classes ORDER BY id",
    f"INSERT INTO images (id, {_IMAGE_COLUMNS}) SELECT new, {_IMAGE_COLUMNS} FROM draft.images "
    "JOIN numbers ON old = id ORDER BY new",
    f"INSERT INTO annotations (image_id, {_ANNOTATION_COLUMNS}) SELECT new, {_ANNOTATION_COLUMNS} "
    "FROM draft.annotations JOIN numbers ON old = image_id ORDER BY new, id",
    f"INSERT INTO findings (image_id, {_FINDING_COLUMNS}) SELECT new, {_FINDING_COLUMNS} FROM draft.findings "
    "LEFT JOIN numbers ON old = image_id ORDER BY id",
    "INSERT INTO finding_counts SELECT * FROM draft.finding_counts ORDER BY code",
    "DROP TABLE numbers",
)


def write_index(draft: Path, target: Path) -> str:
    """Write a closed draft to `target` as one small file; gives its sha256."""
    target.unlink(missing_ok=True)
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {SCHEMA}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("ATTACH ? AS draft", (str(draft),))
        connection.execute("BEGIN")
        for statement in _COPY:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("DETACH draft")
        connection.execute("VACUUM")
    finally:
        connection.close()
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
