"""Imports in the database. Every change of a status is guarded: who comes second finds that it has changed.

receiving → queued → running → accepted | refused | failed; cancelled from any of the first three. A failed one whose
upload is still there can be queued again, and so is one whose backend was killed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from app.datasets.work import Edit, Request, Wish
from app.db import Database
from app.errors import Conflict, NotFound, TooLarge
from app.models import DatasetVersion, Import
from app.services.datasets import folders, names, versions
from app.settings import Settings
from app.words import ImportStatus, TaskType

WAITING = (ImportStatus.RECEIVING, ImportStatus.QUEUED, ImportStatus.RUNNING)
MAX_TAKES = 3  # a backend that is killed by one import must not be killed by it for ever


@dataclass(frozen=True)
class NewImport:
    """What a person asks for. `source` is {"kind": "upload" | "storage" | "edit", …}."""

    name: str
    source: dict[str, Any]
    wish: Wish = field(default_factory=Wish)
    parent_version: int | None = None
    edit: Edit | None = None
    size: int | None = None
    sha256: str | None = None


def create(database: Database, settings: Settings, new: NewImport, now: datetime) -> Import:
    """A new import with its folder: an upload waits for its bytes, everything else is queued.

    Raises Invalid for the name, NotFound for the parent, Conflict where they do not fit the dataset, TooLarge, and
    StorageUnavailable where the disk has no room for `size`.
    """
    _check_size(settings, new.size)
    uploaded = new.source["kind"] == "upload"
    with database.write_session() as session:
        name, task_type = names.check_request(session, new.name, new.wish.task_type)
        parent = _parent(session, name, new.parent_version)
        row = Import(
            dataset_name=name,
            parent_version=new.parent_version,
            request=_request(settings, new, task_type),
            source=new.source | ({"dataset_id": parent.dataset_id} if parent else {}),
            status=ImportStatus.RECEIVING if uploaded else ImportStatus.QUEUED,
            size=new.size,
            sha256=new.sha256,
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        session.flush()
        folders.make(folders.folder_of(settings.data_dir, row.id))
    return row


def get(session: Session, import_id: int) -> Import:
    row = session.get(Import, import_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no import {import_id}")
    return row


def list_imports(
    session: Session, *, status: Collection[ImportStatus], cursor: int | None, limit: int
) -> tuple[list[Import], int | None]:
    """Newest first; `cursor` is the number that the page before ended with."""
    query = select(Import).order_by(Import.id.desc()).limit(limit + 1)
    if status:
        query = query.where(Import.status.in_(status))
    if cursor is not None:
        query = query.where(Import.id < cursor)
    found = list(session.scalars(query))
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def change(session: Session, import_id: int, was: Collection[ImportStatus], **values: Any) -> bool:
    """Set these columns if the import has one of these statuses. The one door to a status."""
    changed = update(Import).where(Import.id == import_id, Import.status.in_(was)).values(**values)
    return session.scalar(changed.returning(Import.id)) is not None


def note_received(database: Database, import_id: int, offset: int, received: int, now: datetime) -> bool:
    """Record that the bytes from `offset` on are on the disk. False if they are not wanted any more."""
    guard = Import.id == import_id, Import.status == ImportStatus.RECEIVING, Import.received == offset
    noted = update(Import).where(*guard).values(received=received, updated_at=now).returning(Import.id)
    with database.write_session() as session:
        return session.scalar(noted) is not None


def take(database: Database, import_id: int, folder: Path, now: datetime) -> Import | None:
    """Begin the import, by who holds its folder's lock; None if it is not to be run, or not any more."""
    ready = (ImportStatus.QUEUED, ImportStatus.RUNNING)
    with database.write_session() as session:
        row = session.get(Import, import_id)
        if row is None or row.status not in ready:
            folders.remove(folder)
            return None
        if row.takes >= MAX_TAKES and row.is_new is None:
            message = f"the backend ended {row.takes} times while this import ran; look at its memory and its log"
            change(session, import_id, ready, status=ImportStatus.RUNNING)
            end(session, import_id, ImportStatus.FAILED, now, error=error_of("IMPORT_FAILED", message))
            return None
        begun: dict[str, Any] = {"status": ImportStatus.RUNNING, "takes": row.takes + 1, "updated_at": now}
        change(session, import_id, ready, **begun, error=None)
    with database.read_session() as session:
        return get(session, import_id)


def waiting(database: Database) -> list[int]:
    """Those to run, in their order: what was cut short first, then by the time that all was there."""
    ready = Import.status.in_((ImportStatus.QUEUED, ImportStatus.RUNNING))
    cut_short = case((Import.status == ImportStatus.RUNNING, 0), else_=1)
    query = select(Import.id).where(ready).order_by(cut_short, Import.updated_at, Import.id)
    with database.read_session() as session:
        return list(session.scalars(query))


def note_progress(database: Database, import_id: int, progress: dict[str, Any], now: datetime) -> bool:
    """False if the import does not run any more: it was cancelled."""
    with database.write_session() as session:
        return change(session, import_id, (ImportStatus.RUNNING,), progress=progress, error=None, updated_at=now)


def note_waiting(database: Database, import_id: int, code: str, message: str, now: datetime) -> None:
    """What keeps a running import from going on, for people to see."""
    with database.write_session() as session:
        values = {"error": error_of(code, message), "updated_at": now}
        change(session, import_id, (ImportStatus.RUNNING,), **values)


def is_running(database: Database, import_id: int) -> bool:
    running = Import.id == import_id, Import.status == ImportStatus.RUNNING
    with database.read_session() as session:
        return session.scalar(select(Import.id).where(*running)) is not None


def queue(database: Database, import_id: int, received: int, now: datetime) -> None:
    """All its bytes are there. Conflict if it changed meanwhile."""
    anew = {"takes": 0, "dataset_id": None, "version": None, "report": None, "error": None, "progress": None}
    with database.write_session() as session:
        was = (ImportStatus.RECEIVING, ImportStatus.FAILED)
        values = anew | {"size": received, "updated_at": now, "ended_at": None}
        if not change(session, import_id, was, status=ImportStatus.QUEUED, **values):
            raise Conflict(f"import {import_id} changed meanwhile; read it again")


def put_back(database: Database, import_id: int, now: datetime) -> None:
    """The backend ends while the import runs: it begins anew after the next start, and this one does not count."""
    with database.write_session() as session:
        values: dict[str, Any] = {"status": ImportStatus.QUEUED, "takes": Import.takes - 1, "progress": None}
        change(session, import_id, (ImportStatus.RUNNING,), **values, updated_at=now)


def end(session: Session, import_id: int, status: ImportStatus, now: datetime, **values: Any) -> bool:
    """The end of a running import. False if it was cancelled meanwhile."""
    ending = {"status": status, "updated_at": now, "ended_at": now, "error": None}
    return change(session, import_id, (ImportStatus.RUNNING,), **ending | values)


def cancel(session: Session, row: Import, now: datetime, **values: Any) -> None:
    """Conflict if it is a version already, or changed meanwhile."""
    if row.is_new is not None:
        raise Conflict(f"import {row.id} is stored as version {row.version} already; delete that version instead")
    ending = {"status": ImportStatus.CANCELLED, "updated_at": now, "ended_at": now, "error": None} | values
    guard = Import.id == row.id, Import.status.in_(WAITING), Import.is_new.is_(None)
    changed = session.scalar(update(Import).where(*guard).values(**ending).returning(Import.id))
    if changed is None:
        raise Conflict(f"import {row.id} changed meanwhile; read it again")


def error_of(code: str, message: str, **details: Any) -> dict[str, Any]:
    """As an API's error looks, so that it can be raised again."""
    return {"code": code, "message": message, "details": details}


def _check_size(settings: Settings, size: int | None) -> None:
    if size is None:
        return
    if size > settings.max_dataset_bytes:
        raise TooLarge(f"{size} bytes are more than {settings.max_dataset_bytes} (MAX_DATASET_BYTES)")
    free = folders.free_bytes(settings.data_dir)
    if size > free:
        raise folders.disk_full(folders.uploads(settings.data_dir), f"it has {free} bytes, and {size} are to come")


def _parent(session: Session, name: str, number: int | None) -> DatasetVersion | None:
    if number is None:
        return None
    parent = versions.find_version(session, name, number)
    if parent.index_sha256 is None:
        fix = "it was registered before there was an index; send its files again, which makes a version that can"
        raise Conflict(f"version {number} of dataset {name!r} cannot be changed: {fix}")
    return parent


def _request(settings: Settings, new: NewImport, task_type: TaskType | None) -> dict[str, Any]:
    wish = new.wish.model_copy(update={"task_type": task_type})
    adds = new.parent_version is not None and new.edit is None
    limits = {"max_bytes": settings.max_dataset_bytes, "max_memory_bytes": settings.import_memory_bytes}
    return Request(wish=wish, edit=new.edit, adds=adds, **limits).model_dump(mode="json")
