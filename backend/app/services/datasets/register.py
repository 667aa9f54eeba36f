"""Datasets and their versions in the database, with their objects in storage.

A version's archive is in storage before its row is committed; `latest` moves after it.
"""

import json
import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from app.db import Database
from app.errors import Conflict, Invalid, NotFound
from app.models import Dataset, DatasetVersion, Job
from app.services.datasets.archive import open_archive
from app.services.datasets.pack import Packed, pack
from app.storage import Storage
from app.words import TaskType

NAME = re.compile(r"\w[\w.-]{0,99}")
ID = re.compile(r"ds-[0-9a-f]{8}")
JOBS_NAMED = 10

_publishing = threading.Lock()  # two uploads of one name must not take the same version number


@dataclass(frozen=True)
class Registered:
    dataset_id: str
    version: int
    is_new: bool


def check_request(session: Session, name: str, task_type: TaskType) -> str:
    """The name to register under, before any byte is taken. `Invalid` or `Conflict` if it cannot be used."""
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or ID.fullmatch(name):
        message = "use 1 to 100 letters, digits, '_', '-' and '.', and not the form of an id (ds-1234abcd)"
        raise Invalid(f"name={name!r}: {message}", fields=[{"field": "name", "value": name, "message": message}])
    known = session.scalar(select(Dataset).where(Dataset.name == name))
    if known is not None and known.task_type != task_type:
        raise Conflict(f"dataset {name!r} is for {known.task_type}, not {task_type}; choose another name")
    return name


def register(
    database: Database, storage: Storage, upload: Path, *, name: str, task_type: TaskType, max_bytes: int, now: datetime
) -> Registered:
    """Make the zip at `upload` a version of the dataset `name`; the same content again is the version it was.

    Writes data.zip beside `upload`, which needs as much space again. Raises `Invalid` with every problem found.
    """
    packed_file = upload.with_name("data.zip")
    with open_archive(upload, max_bytes) as archive:
        packed = pack(archive, task_type, packed_file)
    with _publishing:
        with database.read_session() as session:
            check_request(session, name, task_type)
            dataset_id, version, known = _place(session, name, packed.sha256)
        if not known:
            _publish(database, storage, packed_file, packed, _New(dataset_id, name, task_type, version, now))
        _point_latest(database, storage, dataset_id)
    return Registered(dataset_id, version, is_new=not known)


def find(session: Session, reference: str) -> Dataset:
    """The dataset with this id or name. `NotFound` if there is none."""
    named = or_(Dataset.id == reference, Dataset.name == unicodedata.normalize("NFC", reference))
    dataset = session.scalar(select(Dataset).where(named).options(selectinload(Dataset.all_versions)))
    if dataset is None:
        raise NotFound(f"there is no dataset {reference!r}")
    return dataset


def list_datasets(session: Session, *, cursor: str | None, limit: int) -> tuple[list[Dataset], str | None]:
    """By name; `cursor` is the name that the page before ended with."""
    query = select(Dataset).order_by(Dataset.name).limit(limit + 1).options(selectinload(Dataset.all_versions))
    if cursor is not None:
        query = query.where(Dataset.name > cursor)
    found = list(session.scalars(query))
    return found[:limit], found[limit - 1].name if len(found) > limit else None


def delete(database: Database, storage: Storage, reference: str) -> None:
    """Remove a dataset, its versions and their objects. `Conflict` names the jobs that use it."""
    with _publishing:
        with database.write_session() as session:
            dataset = find(session, reference)
            _refuse_while_used(session, dataset)
            session.delete(dataset)
        storage.delete_prefix(_folder(dataset.id))


@dataclass(frozen=True)
class _New:
    dataset_id: str
    name: str
    task_type: TaskType
    version: int
    now: datetime


def _place(session: Session, name: str, sha256: str) -> tuple[str, int, bool]:
    """Which dataset and version this content is, and whether it is there already."""
    dataset = session.scalar(select(Dataset).where(Dataset.name == name).options(selectinload(Dataset.all_versions)))
    if dataset is None:
        return f"ds-{secrets.token_hex(4)}", 1, False
    for version in dataset.versions:
        if version.sha256 == sha256:
            return dataset.id, version.version, True
    return dataset.id, max((version.version for version in dataset.versions), default=0) + 1, False


def _publish(database: Database, storage: Storage, file: Path, packed: Packed, new: _New) -> None:
    folder = f"{_folder(new.dataset_id)}/{new.version}"
    storage.put_file(f"{folder}/data.zip", file)
    try:
        with database.write_session() as session:
            _insert(session, packed, new)
    except IntegrityError as error:
        if new.version == 1:  # this id is ours alone; a later version may by now be another replica's
            storage.delete_prefix(folder)
        raise Conflict(f"dataset {new.name!r} changed during the upload; send it again") from error


def _insert(session: Session, packed: Packed, new: _New) -> None:
    if session.get(Dataset, new.dataset_id) is None:
        session.add(Dataset(id=new.dataset_id, name=new.name, task_type=new.task_type, created_at=new.now))
        session.flush()
    session.add(
        DatasetVersion(
            dataset_id=new.dataset_id,
            version=new.version,
            sha256=packed.sha256,
            archive_sha256=packed.archive_sha256,
            archive_size=packed.archive_size,
            classes=packed.classes,
            counts=packed.counts,
            created_at=new.now,
        )
    )


def _point_latest(database: Database, storage: Storage, dataset_id: str) -> None:
    newest_first = DatasetVersion.version.desc()
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id).order_by(newest_first).limit(1)
    with database.read_session() as session:
        newest = session.scalars(query).one()
    pointer = {"version": newest.version, "archive_sha256": newest.archive_sha256}
    storage.put_bytes(f"{_folder(dataset_id)}/latest", json.dumps(pointer).encode())


def _refuse_while_used(session: Session, dataset: Dataset) -> None:
    jobs = list(session.scalars(select(Job.id).where(Job.dataset_id == dataset.id).order_by(Job.id)))
    if jobs:
        named = ", ".join(str(job) for job in jobs[:JOBS_NAMED]) + (", …" if len(jobs) > JOBS_NAMED else "")
        raise Conflict(f"dataset {dataset.name!r} is used by jobs {named}; delete them first", jobs=jobs)


def _folder(dataset_id: str) -> str:
    return f"datasets/{dataset_id}"
