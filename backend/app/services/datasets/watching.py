"""A running import's ear: whether it is still wanted, and how far it is, told to the database once a second at most."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

from sqlalchemy.exc import SQLAlchemyError

from app.datasets.work import Phase
from app.db import Database, trouble
from app.errors import DiskFull, StorageUnavailable
from app.services.datasets import imports
from app.words import ImportStatus

TELL_SECONDS, LOOK_SECONDS = 1.0, 0.5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class Cancelled(Exception):
    """A person does not want the import any more."""


class Ending(Exception):
    """The backend ends: the import goes on after its next start."""


class Stalled(Exception):
    """Nothing happens in the import's process."""


class Watch:
    """Of one import. `ending` says whether the backend ends, and waits for that up to so many seconds."""

    def __init__(self, database: Database, import_id: int, ending: Callable[[float], bool]) -> None:
        self._database, self._import_id, self._ending = database, import_id, ending
        self._looked = self._told = -TELL_SECONDS
        self._known: dict[str, Any] | None = None
        self.progress: dict[str, Any] | None = None

    def tell(self, phase: str, done: int, total: int | None) -> None:
        """How far it is. Raises as `check` does."""
        self.progress = {"phase": phase, "done": done, "total": total}
        self.check()

    def check(self) -> None:
        """Return if it is to go on; raise Cancelled or Ending. Where the database is away it goes on."""
        if self._ending(0):
            raise Ending
        now = time.monotonic()
        try:
            if self.progress != self._known and now - self._told >= TELL_SECONDS:
                self._told = self._looked = now
                wanted = imports.note_progress(self._database, self._import_id, self.progress or {}, datetime.now(UTC))
                self._known = self.progress
            elif now - self._looked >= LOOK_SECONDS:
                self._looked = now
                wanted = imports.is_running(self._database, self._import_id)
            else:
                return
        except SQLAlchemyError as error:
            if trouble(error) is None:
                raise
            return
        if not wanted:
            raise Cancelled

    def end(self, status: ImportStatus, **values: Any) -> None:
        """The import's verdict, once the database takes it. Raises Cancelled if a person was quicker."""
        self.patiently(partial(self._end, status, {"progress": self.progress} | values))

    def patiently(self, step: Callable[[], None]) -> None:
        """Take the step, again and again while the storage or the database is away; people see what it waits for."""
        pause = FIRST_PAUSE
        while True:
            try:
                return step()
            except DiskFull:
                raise
            except (StorageUnavailable, SQLAlchemyError) as error:
                explained = error if isinstance(error, StorageUnavailable) else trouble(error)
                if explained is None:
                    raise
                self._note(explained.code, explained.message)
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _end(self, status: ImportStatus, values: dict[str, Any]) -> None:
        with self._database.write_session() as session:
            if not imports.end(session, self._import_id, status, datetime.now(UTC), **values):
                raise Cancelled

    def _note(self, code: str, message: str) -> None:
        try:
            imports.note_waiting(self._database, self._import_id, code, message, datetime.now(UTC))
        except SQLAlchemyError as error:
            if trouble(error) is None:
                raise

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._ending(min(left, LOOK_SECONDS))
            self.check()


class ProcessWatch:
    """What the launcher asks while the import's process runs: whether to stop it, and `reason` says why."""

    def __init__(self, watch: Watch, progress_file: Path, stall_seconds: float) -> None:
        self._watch, self._file, self._stall_seconds = watch, progress_file, stall_seconds
        self._said, self._said_at = b"", time.monotonic()
        self.reason: Exception | None = None

    def __call__(self) -> bool:
        try:
            self._look()
        except (Cancelled, Ending, Stalled) as reason:
            self.reason = reason
        return self.reason is not None

    def _look(self) -> None:
        said = self._read()
        if said != self._said:
            self._said, self._said_at = said, time.monotonic()
            self._watch.progress = _parsed(said) or self._watch.progress
        if time.monotonic() - self._said_at > self._stall_seconds:
            raise Stalled
        self._watch.check()

    def _read(self) -> bytes:
        try:
            with self._file.open("rb") as file:
                return file.read(1000)
        except FileNotFoundError:
            return b""


def _parsed(said: bytes) -> dict[str, Any] | None:
    """None for what is not what we asked for: it comes from a process that reads what strangers sent."""
    try:
        found = json.loads(said)
        phase, done, total = found["phase"], int(found["done"]), int(found["total"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return {"phase": phase, "done": done, "total": total} if phase in get_args(Phase) else None
