"""The bytes of an upload, in parts: on the disk before they are counted, and nothing that was counted is lost.

One part at a time; whoever sends it holds the import's folder. A part that ends early counts as far as it came.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from anyio import to_thread

from app.db import Database
from app.errors import Conflict, Invalid, TooLarge
from app.models import Import
from app.services.datasets import folders, imports
from app.settings import Settings
from app.words import IMPORT_ENDED, ImportStatus

WRITE_SIZE = 2**20
MAX_PART_BYTES = 64 * 2**20
BUSY = "another part of import {} is being received, or it is being started; wait for that answer"


@dataclass
class Part:
    """Bytes on their way to the disk, from `offset` on, at most to `end`."""

    descriptor: int
    folder: Path
    offset: int
    end: int
    limit: str  # what allows no more, in words
    written: int = 0

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """TooLarge as soon as there is more than is allowed; then none of the part counts."""
        buffer = bytearray()
        try:
            async for chunk in chunks:
                self.check(len(buffer) + len(chunk))
                buffer += chunk
                if len(buffer) >= WRITE_SIZE:
                    data, buffer = bytes(buffer), bytearray()
                    await to_thread.run_sync(self._write, data)
        except TooLarge:
            buffer.clear()
            raise
        finally:
            await to_thread.run_sync(self._write, bytes(buffer))

    def check(self, more: int) -> None:
        if self.offset + self.written + more > self.end:
            self.written = 0
            raise TooLarge(f"bytes come after the {self.end}th: {self.limit}")

    def _write(self, data: bytes) -> None:
        with folders.disk_trouble(self.folder):
            view = memoryview(data)
            while view:
                count = os.pwrite(self.descriptor, view, self.offset + self.written)
                self.written += count
                view = view[count:]


@contextmanager
def receiving(
    database: Database, settings: Settings, import_id: int, offset: int, announced: int | None, *, whole: bool = False
) -> Iterator[Part]:
    """A part to be filled; at the end it is flushed and counted, as far as it came, whatever ended it.

    Raises Conflict with `details.received` where the upload is not at `offset`, TooLarge, and DiskFull where
    the disk is full. `whole` says that the part is all there is, of any size.
    """
    folder = folders.folder_of(settings.data_dir, import_id)
    with folders.locked(folder) as ours:
        row = _check(database, import_id, offset)
        if not ours:
            _explain(folder, row)
        part = _open(folder, row, settings, whole=whole)
        try:
            part.check(announced or 0)
            yield part
        finally:
            _close(database, part, row)


def start(database: Database, settings: Settings, import_id: int, now: datetime) -> None:
    """Queue an upload whose bytes are all there; one that was started already is left alone.

    Raises Conflict while bytes are missing, and Invalid if they are not those that were announced.
    """
    folder = folders.folder_of(settings.data_dir, import_id)
    with folders.locked(folder) as ours:
        with database.read_session() as session:
            row = imports.get(session, import_id)
        if row.status in (ImportStatus.QUEUED, ImportStatus.RUNNING, ImportStatus.ACCEPTED, ImportStatus.REFUSED):
            return
        if row.status == ImportStatus.CANCELLED:
            raise Conflict(f"import {import_id} was cancelled; begin another")
        if not ours:
            _explain(folder, row)
        if row.source["kind"] == "upload":
            _check_whole(row, folder)
        imports.queue(database, import_id, row.received, now)


def _check(database: Database, import_id: int, offset: int) -> Import:
    with database.read_session() as session:
        row = imports.get(session, import_id)
    if row.status != ImportStatus.RECEIVING:
        raise Conflict(f"import {import_id} is {row.status} and takes no bytes", received=row.received)
    if row.received != offset:
        message = f"import {import_id} has {row.received} bytes; the next part begins there, not at {offset}"
        raise Conflict(message, received=row.received)
    return row


def _explain(folder: Path, row: Import) -> None:
    if folder.is_dir():
        raise Conflict(BUSY.format(row.id), received=row.received)
    here = f"its folder {folder} is not on this machine"
    raise Conflict(f"the bytes of import {row.id} are not here: {here}; cancel it and begin another")


def _open(folder: Path, row: Import, settings: Settings, *, whole: bool) -> Part:
    """Anything behind what was counted is from a part that was cut short by a crash, and goes."""
    limits = [(settings.max_dataset_bytes, f"MAX_DATASET_BYTES={settings.max_dataset_bytes}")]
    if row.size is not None:
        limits.append((row.size, f"{row.size} were announced"))
    if not whole:
        limits.append((row.received + MAX_PART_BYTES, f"a part has at most {MAX_PART_BYTES} bytes"))
    end, limit = min(limits)
    descriptor = os.open(folder / folders.UPLOAD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        there = os.fstat(descriptor).st_size
        if there < row.received:
            message = f"import {row.id} has lost bytes: {there} are on the disk of {row.received}; begin another"
            raise Conflict(message, received=row.received)
        os.ftruncate(descriptor, row.received)
    except BaseException:
        os.close(descriptor)
        raise
    return Part(descriptor, folder, row.received, end, limit)


def _close(database: Database, part: Part, row: Import) -> None:
    try:
        with folders.disk_trouble(part.folder):
            os.ftruncate(part.descriptor, part.offset + part.written)  # of a refused part nothing stays
            os.fsync(part.descriptor)
    finally:
        os.close(part.descriptor)
    if part.written:
        _count(database, part, row)


def _count(database: Database, part: Part, row: Import) -> None:
    now = datetime.now(UTC)
    if imports.note_received(database, row.id, part.offset, part.offset + part.written, now):
        return
    with database.read_session() as session:
        status = imports.get(session, row.id).status
    if status in IMPORT_ENDED:
        folders.remove(part.folder)
    raise Conflict(f"import {row.id} is {status} by now and takes no bytes")


def _check_whole(row: Import, folder: Path) -> None:
    path = folder / folders.UPLOAD
    there = path.stat().st_size if path.exists() else 0
    size = row.received if row.size is None else row.size
    if not (0 < row.received == size == there):
        message = f"import {row.id} has {row.received} of {size} bytes; send the rest, then start it"
        raise Conflict(message, received=row.received, size=size)
    if row.sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != row.sha256:
        message = "the bytes are not those that were announced; cancel the import and send them again"
        problem = {"field": "sha256", "value": row.sha256, "message": f"what was received has {found}"}
        raise Invalid(f"import {row.id}: {message}", fields=[problem])
