"""Bytes of an upload: counted once they are on the disk, and never lost, whoever stumbles."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.errors import AppError, Conflict, DiskFull, Invalid, NotFound, TooLarge
from app.models import Import
from app.services import access
from app.services.datasets import ending, folders, imports, parts
from app.services.datasets.imports import NewImport
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import ImportStatus
from tests import factories
from tests.factories import NOW
from tests.tmpfs import small_tmpfs


class Gone(Exception):
    """Who sends is not there any more."""


@dataclass
class Uploads:
    database: Database
    settings: Settings
    storage: Storage

    def begin(self, **fields: Any) -> int:
        new = NewImport("digits", {"kind": "upload"}, **fields)
        return imports.create(self.database, self.settings, new, NOW).id

    def send(self, import_id: int, offset: int, *chunks: bytes, **options: Any) -> int:
        """How many bytes were taken. `options`: then, announced, whole."""
        then = options.pop("then", None)
        announced = options.pop("announced", None)
        with parts.receiving(self.database, self.settings, import_id, offset, announced, **options) as part:
            asyncio.run(part.receive(_chunks(chunks, then)))
        return part.written

    def start(self, import_id: int) -> ImportStatus:
        parts.start(self.database, self.settings, import_id, NOW)
        return self.row(import_id).status  # type: ignore[return-value]

    def cancel(self, import_id: int) -> None:
        ending.cancel(self.database, self.storage, self.settings, import_id, NOW)

    def row(self, import_id: int) -> Import:
        with self.database.read_session() as session:
            return imports.get(session, import_id)

    def folder(self, import_id: int) -> Path:
        return folders.folder_of(self.settings.data_dir, import_id)

    def bytes(self, import_id: int) -> bytes:
        return (self.folder(import_id) / folders.UPLOAD).read_bytes()


async def _chunks(chunks: tuple[bytes, ...], then: Callable[[], None] | None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then:
        then()


@pytest.fixture
def uploads(database: Database, tmp_path: Path) -> Uploads:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path, "max_dataset_bytes": 10 * 2**20}
    settings = Settings(**values)
    access.ensure_access(database, settings, NOW)
    return Uploads(database, settings, open_storage(settings))


@pytest.fixture
def local(sqlite_url: str, tmp_path: Path) -> Iterator[Uploads]:
    """With SQLite alone, for what is about files."""
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path / "var", "max_dataset_bytes": 10 * 2**20}
    settings, database = Settings(**values), Database(sqlite_url)
    yield Uploads(database, settings, open_storage(settings))
    database.dispose()


def test_parts_follow_each_other(uploads: Uploads) -> None:
    import_id = uploads.begin(size=9)
    assert uploads.send(import_id, 0, b"one ") == 4
    assert uploads.row(import_id).received == 4
    uploads.send(import_id, 4, b"t", b"w", b"o")
    uploads.send(import_id, 7)
    uploads.send(import_id, 7, b"!!")
    assert uploads.bytes(import_id) == b"one two!!"
    assert uploads.start(import_id) == ImportStatus.QUEUED
    assert uploads.start(import_id) == ImportStatus.QUEUED


@pytest.mark.parametrize("offset", [0, 3, 5, 2**62])
def test_offset_is_told_if_it_is_another(uploads: Uploads, offset: int) -> None:
    import_id = uploads.begin()
    uploads.send(import_id, 0, b"1234")
    with pytest.raises(Conflict, match="has 4 bytes") as caught:
        uploads.send(import_id, offset, b"more")
    assert caught.value.details == {"received": 4} and uploads.bytes(import_id) == b"1234"


def test_part_counts_as_far_as_it_came_if_its_sender_is_gone(local: Uploads) -> None:
    def leave() -> None:
        raise Gone

    import_id = local.begin(size=10)
    with pytest.raises(Gone):
        local.send(import_id, 0, b"12345", then=leave)
    assert local.row(import_id).received == 5
    local.send(import_id, 5, b"67890")
    assert local.bytes(import_id) == b"1234567890"


def test_bytes_that_were_not_counted_are_written_anew(local: Uploads) -> None:
    import_id = local.begin()
    local.send(import_id, 0, b"1234")
    with (local.folder(import_id) / folders.UPLOAD).open("ab") as file:
        file.write(b"what a backend wrote that was killed before it counted it")
    local.send(import_id, 4, b"56")
    assert local.bytes(import_id) == b"123456"


def test_loss_is_admitted_if_the_file_is_shorter_than_what_was_counted(local: Uploads) -> None:
    import_id = local.begin()
    local.send(import_id, 0, b"1234")
    (local.folder(import_id) / folders.UPLOAD).write_bytes(b"12")
    with pytest.raises(Conflict, match="2 are on the disk of 4; begin another"):
        local.send(import_id, 4, b"5")
    with pytest.raises(Conflict, match="4 of 4 bytes"):
        local.start(import_id)


TOO_MUCH: list[tuple[dict[str, Any], int, int | None, str]] = [
    ({"size": 6}, 7, None, "6 were announced"),
    ({"size": 6}, 1, 7, "6 were announced"),
    ({}, 65 * 2**10, None, "a part has at most 65536 bytes"),
    ({}, 1, 65 * 2**10, "a part has at most 65536 bytes"),
]


@pytest.mark.parametrize(("fields", "sent", "announced", "reason"), TOO_MUCH)
def test_nothing_of_a_part_counts_if_it_is_too_large(
    local: Uploads, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], sent: int, announced: int, reason: str
) -> None:
    monkeypatch.setattr(parts, "MAX_PART_BYTES", 2**16)
    monkeypatch.setattr(parts, "WRITE_SIZE", 4)
    import_id = local.begin(**fields)
    local.send(import_id, 0, b"1")
    with pytest.raises(TooLarge, match=reason):
        local.send(import_id, 1, b"2" * (sent // 2), b"3" * (sent - sent // 2), announced=announced)
    assert (local.row(import_id).received, local.bytes(import_id)) == (1, b"1")


def test_refused_if_all_together_is_too_large(local: Uploads) -> None:
    with pytest.raises(TooLarge, match="MAX_DATASET_BYTES"):
        local.begin(size=10 * 2**20 + 1)
    import_id = local.begin()
    with pytest.raises(TooLarge, match="MAX_DATASET_BYTES"):
        local.send(import_id, 0, *[bytes(2**20)] * 11, whole=True)


def test_second_sender_is_told_to_wait(uploads: Uploads) -> None:
    import_id = uploads.begin()

    def interfere() -> None:
        for step in (lambda: uploads.send(import_id, 0, b"other"), lambda: uploads.start(import_id)):
            with pytest.raises(Conflict, match="is being received"):
                step()

    uploads.send(import_id, 0, b"mine", then=interfere)
    assert uploads.bytes(import_id) == b"mine"


def test_part_is_refused_and_its_folder_goes_if_the_import_is_cancelled_meanwhile(uploads: Uploads) -> None:
    import_id = uploads.begin()
    with pytest.raises(Conflict, match="is cancelled by now"):
        uploads.send(import_id, 0, b"mine", then=lambda: uploads.cancel(import_id))
    assert not uploads.folder(import_id).exists()
    for late in (lambda: uploads.send(import_id, 0, b"1"), lambda: uploads.start(import_id)):
        with pytest.raises(Conflict, match="cancelled"):
            late()


def test_cancelled_import_is_forgotten_if_it_is_cancelled_again(uploads: Uploads) -> None:
    import_id = uploads.begin()
    uploads.send(import_id, 0, b"1")
    uploads.cancel(import_id)
    assert uploads.row(import_id).status == ImportStatus.CANCELLED and not uploads.folder(import_id).exists()
    uploads.cancel(import_id)
    with pytest.raises(NotFound, match=f"no import {import_id}"):
        uploads.cancel(import_id)
    assert uploads.begin() > import_id


@pytest.mark.parametrize("size", [None, 3])
def test_start_is_refused_while_bytes_are_missing(local: Uploads, size: int | None) -> None:
    import_id = local.begin(size=size)
    with pytest.raises(Conflict, match=f"has 0 of {size or 0} bytes"):
        local.start(import_id)


def test_start_is_refused_if_the_bytes_are_others(local: Uploads) -> None:
    import_id = local.begin(sha256=hashlib.sha256(b"these").hexdigest())
    local.send(import_id, 0, b"those")
    with pytest.raises(Invalid, match="not those that were announced") as caught:
        local.start(import_id)
    assert [problem["field"] for problem in caught.value.details["fields"]] == ["sha256"]
    assert local.row(import_id).status == ImportStatus.RECEIVING


def test_failed_import_can_be_started_again(local: Uploads) -> None:
    import_id = local.begin()
    local.send(import_id, 0, b"1")
    with local.database.write_session() as session:
        row = imports.get(session, import_id)
        row.status, row.takes, row.error, row.ended_at = ImportStatus.FAILED, 3, {"code": "X"}, NOW
    assert local.start(import_id) == ImportStatus.QUEUED
    row = local.row(import_id)
    assert (row.takes, row.error, row.ended_at) == (0, None, None)


def test_told_that_the_disk_is_full_and_goes_on_when_there_is_room(local: Uploads) -> None:
    with small_tmpfs(local.settings.data_dir / "uploads", "3m") as disk:
        import_id = local.begin()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2 * 2**20))
        with pytest.raises(DiskFull, match=r"no room on the disk of .*; make room, or set DATA_DIR"):
            local.send(import_id, 0, *[b"x" * 2**18] * 8)
        received = local.row(import_id).received
        assert 0 < received <= 2**20
        ballast.unlink()
        local.send(import_id, received, b"y")
        assert local.bytes(import_id) == b"x" * received + b"y"


def test_refused_at_once_if_the_disk_has_no_room(local: Uploads) -> None:
    with small_tmpfs(local.settings.data_dir, "1m"), pytest.raises(DiskFull, match="are to come"):
        local.begin(size=2**20 + 1)


def test_said_where_the_files_are_not(local: Uploads) -> None:
    import_id = local.begin()
    folders.remove(local.folder(import_id))
    with pytest.raises(Conflict, match="is not on this machine"):
        local.send(import_id, 0, b"1")
    local.cancel(import_id)


ADDITIONS: list[tuple[int, str | None, type[AppError], str]] = [
    (2, factories.SHA256, NotFound, "no version 2"),
    (1, None, Conflict, "before there was an index"),
]


@pytest.mark.parametrize(("parent", "index_sha256", "error", "reason"), ADDITIONS)
def test_addition_is_refused_if_its_parent_cannot_be_added_to(
    local: Uploads, parent: int, index_sha256: str | None, error: type[AppError], reason: str
) -> None:
    with local.database.write_session() as session:
        factories.dataset(session, name="digits").all_versions[0].index_sha256 = index_sha256
    with pytest.raises(error, match=reason):
        local.begin(parent_version=parent)


def test_upload_is_abandoned_after_a_day_without_a_byte(uploads: Uploads) -> None:
    import_id = uploads.begin()
    later = NOW + timedelta(days=1, minutes=1)
    assert [row.id for row in ending.abandoned(uploads.database, NOW)] == []
    assert [row.id for row in ending.abandoned(uploads.database, later)] == [import_id]
    assert not ending.abandon(uploads.database, uploads.storage, uploads.settings, import_id, NOW)
    assert ending.abandon(uploads.database, uploads.storage, uploads.settings, import_id, later)
    row = uploads.row(import_id)
    assert row.status == ImportStatus.CANCELLED and row.error and row.error["code"] == "ABANDONED"
    assert not uploads.folder(import_id).exists()
