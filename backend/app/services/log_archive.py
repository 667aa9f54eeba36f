"""The logs of ended attempts on their way to storage, where they outlive the work folders."""

from collections.abc import Sequence

from sqlalchemy import select, update

from app.db import Database
from app.errors import StorageUnavailable
from app.models import Attempt
from app.services import attempts, logs
from app.settings import Settings
from app.storage import Storage

AT_ONCE = 50


def waiting(database: Database) -> Sequence[Attempt]:
    """Ended attempts whose log is not in storage yet, the first that ended first; some of them where there are many."""
    unsaved = Attempt.ended_at.is_not(None), Attempt.log_size.is_(None)
    with database.read_session() as session:
        return session.scalars(select(Attempt).where(*unsaved).order_by(Attempt.ended_at).limit(AT_ONCE)).all()


def store(database: Database, storage: Storage, settings: Settings, attempt: Attempt) -> None:
    """Write the log as one object, then note in the database that it is there. StorageUnavailable: try again later."""
    folder = attempts.attempt_dir(settings, attempt.job_id, attempt.number)
    key = logs.stored_key(attempt.job_id, attempt.number)
    start, end = logs.bounds(folder) or (None, 0)
    size = end - (start or 0)
    if start is not None and size:
        storage.put_stream(key, logs.chunks(folder, start, end))
        if storage.size(key) != size:
            raise StorageUnavailable(f"{key} as stored has {storage.size(key)} bytes, not {size}")
    own = update(Attempt).where(Attempt.id == attempt.id, Attempt.log_size.is_(None))
    with database.write_session() as session:
        known = session.scalar(own.values(log_start=start, log_size=size).returning(Attempt.id))
    if known is None and size:
        _forget_if_deleted(database, storage, attempt, key)


def _forget_if_deleted(database: Database, storage: Storage, attempt: Attempt, key: str) -> None:
    """The job was deleted meanwhile, or another backend was first."""
    with database.read_session() as session:
        if session.get(Attempt, attempt.id) is None:
            storage.delete(key)
