"""Thumbnails are drawn once, from ranges of the archive, and whatever happens to the cache there is an answer."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.db import Database
from app.errors import NotFound, StorageUnavailable
from app.models import DatasetVersion
from app.services.datasets import browse
from app.services.datasets.browse import Library
from app.services.datasets.thumbnails import thumbnails
from app.settings import Settings
from app.storage import Storage, open_storage
from tests.datasets.versioned import Made, Shot, box, make_version, picture
from tests.services.datasets.placed import place

SUFFIXES = (".jpg", ".png", ".bmp", ".webp", ".tiff")


@dataclass
class Shelved:
    library: Library
    version: DatasetVersion
    made: Made
    read: list[int] = field(default_factory=list)

    def draw(self, ids: Sequence[int], size: int = 128) -> dict[int, bytes | None]:
        return thumbnails(self.library, self.version, ids, size)

    @property
    def path(self) -> Path:
        return self.library.thumbnails.path(self.made.index_sha256)


@pytest.fixture
def shelved(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelved]:
    """An image of each format; `read` counts the ranges that were read of the archive."""
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path}
    storage = open_storage(Settings(**values))
    images = [
        Shot(f"{number}{suffix}", "train", picture(number, suffix, (300, 150)), [box()])
        for number, suffix in enumerate(SUFFIXES, start=1)
    ]
    made = make_version(tmp_path / "made", images)
    database = Database(sqlite_url)
    found = Shelved(Library(storage, tmp_path, 2**30), place(database, storage, made), made)
    read_ranges = Storage.read_ranges

    def count(self: Storage, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        found.read.append(len(ranges))
        return read_ranges(self, key, ranges)

    monkeypatch.setattr(Storage, "read_ranges", count)
    yield found
    database.dispose()


@pytest.mark.parametrize(("size", "expected"), [(128, (128, 64)), (256, (256, 128))])
def test_each_format_becomes_a_small_jpeg(shelved: Shelved, size: int, expected: tuple[int, int]) -> None:
    drawn = shelved.draw([1, 2, 3, 4, 5], size)
    for data in drawn.values():
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", expected)


def test_only_what_is_missing_is_drawn_if_some_were_drawn_before(shelved: Shelved) -> None:
    first = shelved.draw([1, 2])
    second = shelved.draw([3, 2, 1])
    assert (second[1], second[2]) == (first[1], first[2])
    shelved.draw([1, 2, 3])
    shelved.draw([1], 256)
    assert shelved.read == [2, 1, 1]


def test_thumbnails_are_drawn_again_if_the_cache_is_damaged(shelved: Shelved) -> None:
    first = shelved.draw([1, 2])
    shelved.path.write_bytes(b"damaged" * 5000)
    assert shelved.draw([1, 2]) == first
    assert shelved.draw([1, 2]) == first
    assert shelved.draw([1, 2]) == first
    assert shelved.read == [2, 2, 2]


def test_thumbnails_are_drawn_if_they_cannot_be_kept(shelved: Shelved) -> None:
    first = shelved.draw([1])
    shelved.path.unlink()
    shelved.path.mkdir()
    assert shelved.draw([1]) == first


def test_the_others_are_drawn_if_one_cannot_be(shelved: Shelved) -> None:
    data = bytearray(shelved.made.archive.read_bytes())
    with browse.opened(shelved.library, shelved.version) as index:
        image = browse.find_image(index, 2)
    data[image.offset : image.offset + image.size] = bytes(image.size)
    key = browse.archive_key(shelved.version)
    shelved.library.storage.put_bytes(key, bytes(data))
    drawn = shelved.draw([1, 2, 3])
    assert [drawn[number] is None for number in (1, 2, 3)] == [False, True, False]


def test_not_found_if_an_id_is_unknown(shelved: Shelved) -> None:
    with pytest.raises(NotFound, match="no image 7, 9") as caught:
        shelved.draw([1, 9, 7])
    assert caught.value.details == {"ids": [7, 9]}


def test_not_found_if_the_version_has_no_index(shelved: Shelved) -> None:
    shelved.version.index_sha256 = None
    with pytest.raises(NotFound, match="version 1 has no index"):
        shelved.draw([1])


def test_refused_if_the_index_in_storage_is_another(shelved: Shelved) -> None:
    shelved.library.storage.put_bytes(f"datasets/{shelved.version.dataset_id}/1/index.sqlite", b"another")
    with pytest.raises(StorageUnavailable, match="has the digest"):
        shelved.draw([1])
    assert shelved.library.indexes.kept() == []
    assert shelved.library.indexes.half_made() == []


def test_what_is_not_used_goes_if_there_is_no_room(shelved: Shelved) -> None:
    tight = Library(shelved.library.storage, shelved.library.data_dir, 0)
    with tight.indexes.use("old", Path.touch) as path:
        path.write_bytes(b"x" * 10)
    thumbnails(tight, shelved.version, [1], 128)
    left = {kept.name for kept in tight.indexes.kept() if kept.bytes}
    assert "old" not in left
    assert shelved.path.exists()
