"""Datasets and their versions in the database, with their objects in storage.

A version's archive is in storage before its row is committed; `latest` moves after it.
"""

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from app.db import Database
from app.errors import Conflict
from app.models import Dataset, DatasetVersion
from app.services.datasets import latest
from app.services.datasets.archive import open_archive
from app.services.datasets.names import check_request
from app.services.datasets.pack import Packed, pack
from app.storage import Storage
from app.words import TaskType

_publishing = threading.Lock()  # two uploads of one name must not take the same version number


@dataclass(frozen=True)
class Registered:
    dataset_id: str
    version: int
    is_new: bool


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
        latest.point(database, storage, dataset_id)
    return Registered(dataset_id, version, is_new=not known)


@dataclass(frozen=True)
class _New:
    dataset_id: str
    name: str
    task_type: TaskType
    version: int
    now: datetime


def _place(session: Session, name: str, sha256: str) -> tuple[str, int, bool]:
    """Which dataset and version this content is, and whether it is there already."""
    dataset = session.scalar(
        select(Dataset)
        .where(Dataset.name == name, Dataset.deleted_at.is_(None))
        .options(selectinload(Dataset.all_versions))
    )
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


def _folder(dataset_id: str) -> str:
    return f"datasets/{dataset_id}"
