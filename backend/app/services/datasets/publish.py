"""From what an import made to a version of a dataset: objects first, then the row, then `latest`.

A number is reserved in the import's row before anything is stored under it, so that no two backends ever write the same
objects; an import that is taken up again finds its number there. `is_new` says that the version stands: from then on
the import can only be finished.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.datasets.work import Packed, Report
from app.db import Database
from app.errors import Conflict, StorageUnavailable
from app.models import Dataset, DatasetVersion, Import
from app.services.datasets import imports, latest
from app.services.datasets.watching import Cancelled
from app.storage import Storage
from app.words import ImportStatus, Origin

MAX_TRIES = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """What the import's process made: data.zip and index.sqlite in `folder`."""

    folder: Path
    packed: Packed
    report: Report


def publish(
    database: Database, storage: Storage, import_id: int, made: Made, now: datetime, stored: Callable[[int], None]
) -> None:
    """Make a version of it, unless this content is one. Raises Cancelled, Conflict, StorageUnavailable.

    `stored` is told how many bytes are in storage. Doing it again goes on where it was cut short.
    """
    for _ in range(MAX_TRIES):
        place = _reserve(database, import_id, made, now)
        if place is None:
            return
        _store(storage, place, made, stored)
        try:
            _insert(database, import_id, place, made, now)
            return
        except (IntegrityError, _Changed):
            release(database, storage, import_id)  # somebody has this name or this content by now: look again
    raise Conflict("the dataset changes faster than this import can be stored; start it again")


def point_latest(database: Database, storage: Storage, import_id: int) -> None:
    """For the dataset that a published import went to."""
    with database.read_session() as session:
        dataset_id = imports.get(session, import_id).dataset_id
    if dataset_id is not None:
        latest.point(database, storage, dataset_id)


def release(database: Database, storage: Storage, import_id: int) -> None:
    """Give up the reserved number and remove what was stored under it, unless it is a version.

    Where the storage is away the number stays taken, and collection finds the objects.
    """
    with database.read_session() as session:
        row = session.get(Import, import_id)
        if row is None or row.dataset_id is None or row.version is None or row.is_new is not None:
            return
        folder = f"datasets/{row.dataset_id}/{row.version}"
    try:
        storage.delete_prefix(folder)
    except StorageUnavailable as error:
        log.warning("%s stays in storage: %s", folder, error.message)
        return
    with database.write_session() as session:
        unused = Import.id == import_id, Import.is_new.is_(None)
        session.execute(update(Import).where(*unused).values(dataset_id=None, version=None))


class _Changed(Exception):
    """The dataset was deleted meanwhile."""


@dataclass(frozen=True)
class _Place:
    """Where the version goes; without `exists` its dataset is made with it."""

    dataset_id: str
    version: int
    exists: bool


def _reserve(database: Database, import_id: int, made: Made, now: datetime) -> _Place | None:
    """Where it goes, recorded in the import; None if this content is a version, which is recorded as the result."""
    with database.write_session() as session:
        row = _running(session, import_id)
        dataset = _find(session, row)
        if dataset is None:
            kept = row.dataset_id if row.version == 1 else None
            place = _Place(kept or f"ds-{secrets.token_hex(4)}", 1, exists=False)
        elif dataset.task_type != made.packed.task_type:
            message = f"dataset {dataset.name!r} is for {dataset.task_type}, not {made.packed.task_type}"
            raise Conflict(f"{message}; choose another name")
        elif known := _known(session, dataset.id, made.packed.sha256):
            known.deleted_at = None
            _record(row, made, dataset.id, known.version, is_new=False, now=now)
            return None
        else:
            kept_number = row.version if row.dataset_id == dataset.id else None
            place = _Place(dataset.id, kept_number or _next_number(session, dataset), exists=True)
        row.dataset_id, row.version = place.dataset_id, place.version
        return place


def _store(storage: Storage, place: _Place, made: Made, stored: Callable[[int], None]) -> None:
    folder = f"datasets/{place.dataset_id}/{place.version}"
    storage.put_file(f"{folder}/index.sqlite", made.folder / "index.sqlite")
    stored(0)
    storage.put_file(f"{folder}/data.zip", made.folder / "data.zip")
    stored(made.packed.archive_size)


def _insert(database: Database, import_id: int, place: _Place, made: Made, now: datetime) -> None:
    with database.write_session() as session:
        row, packed = _running(session, import_id), made.packed
        if not place.exists:
            new = Dataset(id=place.dataset_id, name=row.dataset_name, task_type=packed.task_type, created_at=now)
            session.add(new)
            session.flush()
        dataset = _find(session, row)
        if dataset is None or dataset.id != place.dataset_id:
            raise _Changed
        dataset.highest_version = max(dataset.highest_version, place.version)
        session.add(_version(row, place, made, now))
        _record(row, made, place.dataset_id, place.version, is_new=True, now=now)


def _version(row: Import, place: _Place, made: Made, now: datetime) -> DatasetVersion:
    packed = made.packed
    return DatasetVersion(
        dataset_id=place.dataset_id,
        version=place.version,
        parent_version=row.parent_version,
        origin=_origin(row),
        format=packed.format,
        sha256=packed.sha256,
        archive_sha256=packed.archive_sha256,
        archive_size=packed.archive_size,
        index_sha256=packed.index_sha256,
        classes=packed.classes,
        counts=packed.counts,
        report=made.report.model_dump(mode="json"),
        statistics=packed.statistics,
        created_at=now,
    )


def _origin(row: Import) -> Origin:
    if row.source["kind"] == "edit":
        return "edit"
    return "import" if row.parent_version is None else "addition"


def _record(row: Import, made: Made, dataset_id: str, version: int, *, is_new: bool, now: datetime) -> None:
    row.dataset_id, row.version, row.is_new = dataset_id, version, is_new
    row.report, row.updated_at = made.report.model_dump(mode="json"), now


def _running(session: Session, import_id: int) -> Import:
    """The import's row, locked: nobody can cancel it before the transaction ends."""
    row = session.scalar(select(Import).where(Import.id == import_id).with_for_update())
    if row is None or row.status != ImportStatus.RUNNING:
        raise Cancelled
    return row


def _find(session: Session, row: Import) -> Dataset | None:
    """The dataset that it goes to, locked: numbers of its versions are given to one at a time."""
    query = select(Dataset).where(Dataset.name == row.dataset_name, Dataset.deleted_at.is_(None))
    dataset = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    parent_dataset = row.source.get("dataset_id")
    if parent_dataset is not None and (dataset is None or dataset.id != parent_dataset):
        raise Conflict(f"dataset {row.dataset_name!r}, whose version {row.parent_version} is changed, was deleted")
    return dataset


def _known(session: Session, dataset_id: str, sha256: str) -> DatasetVersion | None:
    """Also a deleted one: its objects are there until it is purged."""
    same = DatasetVersion.dataset_id == dataset_id, DatasetVersion.sha256 == sha256
    return session.scalar(select(DatasetVersion).where(*same))


def _next_number(session: Session, dataset: Dataset) -> int:
    """One that was never given, and that no import has reserved."""
    given = session.scalar(select(func.max(DatasetVersion.version)).where(DatasetVersion.dataset_id == dataset.id))
    reserved = session.scalar(select(func.max(Import.version)).where(Import.dataset_id == dataset.id))
    return max(dataset.highest_version, given or 0, reserved or 0) + 1
