"""Whose bucket this is: two installations in one would overwrite each other's jobs, which have the same numbers.

The first to come claims the bucket with a small object. Until that claim is seen to hold, nothing is launched,
registered, deleted or collected; it is tried again whenever one of these is wanted, and at most every few seconds.
"""

import json
import threading
import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import AppError, Conflict, NotFound, StorageUnavailable
from app.models import Dataset
from app.services import access, jobs
from app.storage import Storage

CLAIM = "installation.json"
PLATFORM_FOLDERS = ("checkpoints", "artifacts", "datasets")
PAUSE_SECONDS = 5.0


class BucketTaken(Conflict):
    """The bucket belongs to another installation."""

    code = "BUCKET_TAKEN"


class Ownership:
    """What is known about the claim. Any thread may ask."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database, self._storage = database, storage
        self._lock = threading.Lock()
        self._holds = False
        self._problem: AppError | None = None
        self._next_try = 0.0

    def problem(self) -> AppError | None:
        """None once the bucket is ours, else why that cannot be said: BucketTaken or StorageUnavailable."""
        if self._holds:
            return None
        with self._lock:
            if not self._holds and time.monotonic() >= self._next_try:
                self._try()
            return self._problem

    @property
    def known_problem(self) -> AppError | None:
        """What was seen last, without looking."""
        return self._problem

    def require(self) -> None:
        """Raises the problem if there is one."""
        if problem := self.problem():
            raise problem

    def verify(self) -> None:
        """As `require`, looking again: before objects are deleted because the database does not know them."""
        with self._lock:
            held = self._holds
            self._try()
            problem = self._problem
            if held and isinstance(problem, StorageUnavailable):
                self._holds, self._problem = True, None  # it is away, which does not make it another's
        if problem:
            raise problem

    def _try(self) -> None:
        with self._database.read_session() as session:
            ours, is_new = access.installation_id(session), _is_new(session)
        try:
            claim(self._storage.impatient(), ours, is_new=is_new)
            self._problem = None
        except (BucketTaken, StorageUnavailable) as problem:
            self._problem = problem
        self._holds = self._problem is None
        self._next_try = time.monotonic() + PAUSE_SECONDS


def claim(storage: Storage, installation_id: str, *, is_new: bool) -> None:
    """Make the bucket ours, or see that it is. BucketTaken if it is another's; a new database claims no used one."""
    owner = _owner(storage)
    if owner is None:
        if is_new:
            _refuse_used(storage, installation_id)
        storage.put_new(CLAIM, json.dumps({"installation_id": installation_id}).encode())
        owner = _owner(storage)
    if owner != installation_id:
        raise _taken(storage, f"belongs to installation {owner}", installation_id)


def _owner(storage: Storage) -> str | None:
    try:
        data = storage.get_bytes(CLAIM)
    except NotFound:
        return None
    try:
        return str(json.loads(data)["installation_id"])
    except (ValueError, TypeError, KeyError) as error:
        raise BucketTaken(f"{CLAIM} in {storage.where} is damaged: {data!r:.100}; restore or remove it") from error


def _refuse_used(storage: Storage, installation_id: str) -> None:
    for folder in PLATFORM_FOLDERS:
        for found in storage.list(folder):
            raise _taken(storage, f"holds {found.key}, which this new database does not know", installation_id)


def _taken(storage: Storage, why: str, installation_id: str) -> BucketTaken:
    fix = "set another STORAGE_BUCKET, or restore the database that its objects belong to"
    return BucketTaken(f"{storage.where} {why}, and this database is installation {installation_id}; {fix}")


def _is_new(session: Session) -> bool:
    return jobs.highest_number(session) == 0 and session.scalar(select(Dataset.id).limit(1)) is None
