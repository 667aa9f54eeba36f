"""Deleting, restoring and purging datasets and versions.

Deleting only hides: rows and objects stay, and restoring is as quick. Purging takes the row first and then the objects:
when it is cut short nothing is listed that does not load, and the collection finds objects that no row names. A
version's number is never given again, so no late purge can hit a newer version's objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import Conflict, NotFound, StorageUnavailable
from app.models import Dataset, DatasetVersion, Job
from app.services.datasets import latest, shelf, versions
from app.storage import Storage

JOBS_NAMED = 10


@dataclass(frozen=True)
class Room:
    """Where datasets are: rows, objects, and copies on this machine."""

    database: Database
    storage: Storage
    data_dir: Path


def delete(session: Session, reference: str, now: datetime) -> None:
    """Hide a dataset. `Conflict` names the jobs that use it; deleting it again changes nothing."""
    dataset = versions.find_to_change(session, reference)
    _refuse_while_used(session, dataset)
    dataset.deleted_at = dataset.deleted_at or now


def restore(session: Session, reference: str) -> Dataset:
    """Show a deleted dataset again. `Conflict` if another has taken its name."""
    dataset = versions.find_to_change(session, reference)
    name, dataset.deleted_at = dataset.name, None
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"another dataset has the name {name!r} by now; delete that one first") from error
    return dataset


def purge(room: Room, reference: str) -> None:
    """Remove a deleted dataset and free its storage. `Conflict` if it is not deleted."""
    with room.database.write_session() as session:
        dataset = versions.find_to_change(session, reference)
        if dataset.deleted_at is None:
            raise Conflict(f"dataset {dataset.name!r} is not deleted; delete it before purging it")
        _refuse_while_used(session, dataset)
        indexes = [version.index_sha256 for version in dataset.all_versions]
        session.delete(dataset)
    _free(room, f"datasets/{dataset.id}", indexes)


def delete_version(room: Room, reference: str, number: int, now: datetime) -> None:
    """Hide a version. `Conflict` names the jobs that use it, and if it is the only one; again changes nothing."""

    def hide(session: Session, version: DatasetVersion) -> None:
        _refuse_while_used(session, version.dataset, number)
        if version.dataset.versions == [version]:
            raise Conflict(f"version {number} is the only one of {version.dataset.name!r}; delete the dataset instead")
        version.deleted_at = version.deleted_at or now

    _change_version(room, reference, number, hide)


def restore_version(room: Room, reference: str, number: int) -> None:
    """Show a deleted version again."""

    def show(_session: Session, version: DatasetVersion) -> None:
        version.deleted_at = None

    _change_version(room, reference, number, show)


def purge_version(room: Room, reference: str, number: int) -> None:
    """Remove a deleted version and free its storage. `Conflict` if it is not deleted."""
    found: list[str | None] = []

    def remove(session: Session, version: DatasetVersion) -> None:
        if version.deleted_at is None:
            raise Conflict(f"version {number} of {version.dataset.name!r} is not deleted; delete it before purging it")
        _refuse_while_used(session, version.dataset, number)
        found.append(version.index_sha256)
        version.dataset.all_versions.remove(version)

    dataset_id = _change_version(room, reference, number, remove)
    _free(room, f"datasets/{dataset_id}/{number}", found)


def _change_version(room: Room, reference: str, number: int, change: Callable[[Session, DatasetVersion], None]) -> str:
    """The dataset's id. The pointer is put right each time, so that asking again mends what was cut short."""
    with room.database.write_session() as session:
        dataset = versions.find_to_change(session, reference)
        version = next((version for version in dataset.all_versions if version.version == number), None)
        if version is None or dataset.deleted_at is not None:
            raise NotFound(f"dataset {reference!r} has no version {number}, nor a deleted one")
        change(session, version)
    latest.point(room.database, room.storage, dataset.id)
    return dataset.id


def _refuse_while_used(session: Session, dataset: Dataset, number: int | None = None) -> None:
    query = select(Job.id).where(Job.dataset_id == dataset.id).order_by(Job.id)
    if number is not None:
        query = query.where(Job.dataset_version == number)
    jobs = list(session.scalars(query))
    if jobs:
        what = f"dataset {dataset.name!r}" if number is None else f"version {number} of {dataset.name!r}"
        named = ", ".join(str(job) for job in jobs[:JOBS_NAMED]) + (", …" if len(jobs) > JOBS_NAMED else "")
        raise Conflict(f"{what} is used by jobs {named}; delete them first", jobs=jobs)


def _free(room: Room, folder: str, indexes: list[str | None]) -> None:
    for each in shelf.shelves(room.data_dir):
        for index_sha256 in filter(None, indexes):
            each.remove(index_sha256)
    try:
        room.storage.delete_prefix(folder)
    except StorageUnavailable as error:
        later = "the collection removes them when they are old enough (RETENTION_ORPHAN_DAYS)"
        raise StorageUnavailable(f"{folder} is purged, its objects are not yet: {error.message}; {later}") from error
