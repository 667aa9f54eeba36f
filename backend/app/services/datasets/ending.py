"""The end of imports that do not run: cancelled by a person, or left behind."""

from datetime import datetime, timedelta

from sqlalchemy import select

from app.db import Database
from app.models import Import
from app.services.datasets import folders, imports, publish
from app.settings import Settings
from app.storage import Storage
from app.words import IMPORT_ENDED, ImportStatus

ABANDONED_AFTER = timedelta(days=1)


def cancel(database: Database, storage: Storage, settings: Settings, import_id: int, now: datetime) -> None:
    """End an import that has not ended, and remove its files; of one that has ended, remove the record.

    Whoever works on it at this moment, a part being received or the process that reads it, finds out within seconds.
    Raises NotFound, and Conflict if it is a version already.
    """
    with database.write_session() as session:
        row = imports.get(session, import_id)
        if row.status in IMPORT_ENDED:
            session.delete(row)
        else:
            imports.cancel(session, row, now)
    _clear(database, storage, settings, import_id)


def abandoned(database: Database, now: datetime) -> list[Import]:
    """Uploads that got no byte for a day."""
    left = Import.status == ImportStatus.RECEIVING, Import.updated_at < now - ABANDONED_AFTER
    with database.read_session() as session:
        return list(session.scalars(select(Import).where(*left).order_by(Import.id)))


def abandon(database: Database, storage: Storage, settings: Settings, import_id: int, now: datetime) -> bool:
    """Cancel it unless it goes on after all."""
    message = "no byte came for a day, so the upload was removed; send it again"
    with database.write_session() as session:
        row = session.get(Import, import_id)
        if row is None or row.status != ImportStatus.RECEIVING or row.updated_at >= now - ABANDONED_AFTER:
            return False
        imports.cancel(session, row, now, error=imports.error_of("ABANDONED", message))
    _clear(database, storage, settings, import_id)
    return True


def _clear(database: Database, storage: Storage, settings: Settings, import_id: int) -> None:
    """Whoever holds the folder clears it instead."""
    folder = folders.folder_of(settings.data_dir, import_id)
    with folders.locked(folder) as ours:
        if ours:
            publish.release(database, storage, import_id)
            folders.remove(folder)
