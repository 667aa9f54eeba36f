"""`datasets/{id}/latest` in storage: which version trainers take that were told none."""

import json

from sqlalchemy import select

from app.db import Database
from app.models import DatasetVersion
from app.storage import Storage


def point(database: Database, storage: Storage, dataset_id: str) -> None:
    """Have it name the newest version that is not deleted; where none is, it stays.

    Looks again after writing: of several who write at once, the last one to write has seen what is the newest.
    """
    newest = _newest(database, dataset_id)
    while newest is not None:
        pointer = {"version": newest.version, "archive_sha256": newest.archive_sha256}
        storage.put_bytes(f"datasets/{dataset_id}/latest", json.dumps(pointer).encode())
        again = _newest(database, dataset_id)
        if again is None or again.version == newest.version:
            return
        newest = again


def _newest(database: Database, dataset_id: str) -> DatasetVersion | None:
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.deleted_at.is_(None))
    with database.read_session() as session:
        return session.scalars(query.order_by(DatasetVersion.version.desc()).limit(1)).first()
