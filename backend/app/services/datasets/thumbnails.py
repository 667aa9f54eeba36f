"""Thumbnails: drawn when first asked for, kept in one SQLite file a version on this machine.

A file of 50,000 is written eight times and removed twenty times as fast as a folder of them, and read as fast. What
goes wrong with it costs time and no answer: thumbnails are drawn again.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from app.datasets import images
from app.datasets.index import IndexedImage
from app.errors import NotFound
from app.models import DatasetVersion
from app.services.datasets import browse
from app.services.datasets.browse import Library

SIZES = (128, 256)
MEDIA_TYPE = "image/jpeg"
READ_BYTES = 32 * 2**20  # of archive, in memory at once
BUSY_SECONDS = 5.0
log = logging.getLogger(__name__)


def thumbnails(library: Library, version: DatasetVersion, ids: Sequence[int], size: int) -> dict[int, bytes | None]:
    """A JPEG for each of the images, None for one that cannot be drawn. `NotFound` names ids that there are not."""
    name = browse.index_name(version)
    with library.thumbnails.use(name, _create) as path:
        found: dict[int, bytes | None] = dict(_load(library, path, ids, size))
        missing = [image_id for image_id in ids if image_id not in found]
        if missing:
            drawn = dict(_draw(library, version, missing, size))
            _keep(library, path, drawn, size)
            found |= drawn
            library.trim()
    return found


def etag(version: DatasetVersion, ids: Sequence[int], size: int) -> str:
    """What the answer is as long as thumbnails are drawn as they are now."""
    return f"{browse.index_name(version)[:32]}-{size}-{'.'.join(map(str, ids))}"


def _draw(
    library: Library, version: DatasetVersion, ids: Sequence[int], size: int
) -> Iterator[tuple[int, bytes | None]]:
    with browse.opened(library, version) as index:
        found = index.some_images(ids)
    if unknown := sorted(set(ids) - set(found)):
        raise NotFound(f"the version has no image {', '.join(map(str, unknown))}", ids=unknown)
    for group in _groups([found[image_id] for image_id in ids]):
        ranges = [(image.offset, image.size) for image in group]
        for image, data in zip(group, library.storage.read_ranges(browse.archive_key(version), ranges), strict=True):
            yield image.id, _drawn(image, data, size)


def _groups(found: list[IndexedImage]) -> Iterator[list[IndexedImage]]:
    """Few enough each that their bytes together are no burden."""
    group: list[IndexedImage] = []
    for image in found:
        if group and sum(one.size for one in group) + image.size > READ_BYTES:
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _drawn(image: IndexedImage, data: bytes, size: int) -> bytes | None:
    try:
        return images.thumbnail(data, size)
    except Exception as error:  # whatever a decoder makes of bytes that were damaged since the import
        log.warning("no thumbnail of %s: %s", image.path, error)
        return None


def _create(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for size in SIZES:
            connection.execute(f"CREATE TABLE jpeg_{size} (image_id INTEGER PRIMARY KEY, data BLOB NOT NULL)")


def _load(library: Library, path: Path, ids: Sequence[int], size: int) -> list[tuple[int, bytes]]:
    with _forgiving(library, path), _connected(path) as connection:
        query = f"SELECT image_id, data FROM jpeg_{size} WHERE image_id IN ({', '.join('?' * len(ids))})"
        return connection.execute(query, ids).fetchall()
    return []


def _keep(library: Library, path: Path, drawn: dict[int, bytes | None], size: int) -> None:
    rows = [(image_id, data) for image_id, data in drawn.items() if data is not None]
    with _forgiving(library, path), _connected(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT OR REPLACE INTO jpeg_{size} VALUES (?, ?)", rows)
        connection.execute("COMMIT")


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        yield connection


@contextmanager
def _forgiving(library: Library, path: Path) -> Iterator[None]:
    """Without the file, or with a full disk, there are thumbnails all the same; a damaged file is made anew."""
    try:
        yield
    except sqlite3.OperationalError as error:
        log.warning("thumbnails of %s are not kept: %s", path.name, error)
    except sqlite3.DatabaseError as error:
        log.warning("thumbnails of %s are made anew: %s", path.name, error)
        library.thumbnails.discard(path.stem)
