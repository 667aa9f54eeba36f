"""One thread writes what all trainers report: many requests, one transaction, and no answer before its commit."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app import faults
from app.db import Database, trouble
from app.errors import AppError, Busy, DatabaseUnavailable
from app.schemas.events import Answer
from app.services import events

log = logging.getLogger(__name__)

MAX_WAITING = 1000
MAX_REQUESTS = 64


@dataclass(frozen=True)
class _Request:
    job_id: int
    attempt: int
    instance: str | None
    events: Sequence[Any]
    answer: Future[Answer] = field(default_factory=Future)


class Writer:
    """What is handed over is written once it was started; `stop` writes what still waits."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock
        self._waiting: queue.Queue[_Request | None] = queue.Queue(MAX_WAITING)
        self._open = True
        self._door = threading.Lock()  # so that nothing enters behind the last entry
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many requests nobody has begun to write."""
        return self._waiting.qsize()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._door:
            closing, self._open = self._open, False
        if closing and self.alive:
            self._waiting.put(None)
            self._thread.join()

    def submit(self, job_id: int, attempt: int, instance: str | None, events: Sequence[Any]) -> Answer:
        """Blocks until the reports are committed; raises what `services.events.ingest` raises."""
        return self.enqueue(job_id, attempt, instance, events).result()

    def enqueue(self, job_id: int, attempt: int, instance: str | None, events: Sequence[Any]) -> Future[Answer]:
        """As `submit`, without waiting. Busy if too many requests wait or the writer has stopped."""
        request = _Request(job_id, attempt, instance, events)
        with self._door:
            if not self._open:
                raise Busy("the platform is shutting down; report again later")
            try:
                self._waiting.put_nowait(request)
            except queue.Full:
                raise Busy(f"{MAX_WAITING} reports are waiting to be written; report again later") from None
        return request.answer

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            last = self._write([first, *self._ready()])
            if last:
                return

    def _ready(self) -> list[_Request | None]:
        """What waits already, without waiting for more."""
        found: list[_Request | None] = []
        while len(found) < MAX_REQUESTS - 1:
            try:
                found.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return found

    def _write(self, entries: list[_Request | None]) -> bool:
        """Writes the requests; whether the last entry, None, was among them."""
        wanted = [entry for entry in entries if entry is not None and entry.answer.set_running_or_notify_cancel()]
        wanted.sort(key=lambda request: request.job_id)  # every writer locks jobs in one order
        self._commit(wanted)
        return None in entries

    def _commit(self, requests: list[_Request]) -> None:
        try:
            with self._database.write_session() as session:
                outcomes = [self._outcome(session, request) for request in requests]
        except Exception as error:
            self._commit_singly(requests, error)
            return
        faults.reached("event-committed")
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, AppError):
                request.answer.set_exception(outcome)
            else:
                request.answer.set_result(outcome)

    def _commit_singly(self, requests: list[_Request], error: Exception) -> None:
        """The transaction failed and nothing is stored: only the request at fault may suffer.

        A database that is away, locked or full is nobody's fault, and trying each would wait for its timeout every
        time; trainers keep what they reported and send it again.
        """
        nobodys_fault = self._is_away(error)
        if len(requests) > 1 and not nobodys_fault:
            log.warning("a transaction of %d requests failed, writing each alone: %s", len(requests), error)
            for request in requests:
                self._commit([request])
            return
        if nobodys_fault:
            reason = getattr(error, "orig", error)
            log.warning("%d requests were not stored, and trainers will send them again: %s", len(requests), reason)
        for request in requests:
            if not nobodys_fault:
                log.error("reports of job %d were not stored", request.job_id, exc_info=error)
            request.answer.set_exception(error)

    def _is_away(self, error: Exception) -> bool:
        """A deadlock of PostgreSQL's is not: one request at a time gets through."""
        found = trouble(error)
        return isinstance(found, DatabaseUnavailable) or (found is not None and self._database.is_sqlite)

    def _outcome(self, session: Session, request: _Request) -> Answer | AppError:
        """The answer or the refusal; `ingest` refuses before it writes anything."""
        try:
            return events.ingest(
                session, request.job_id, request.attempt, request.instance, request.events, self._clock()
            )
        except AppError as refusal:
            return refusal
