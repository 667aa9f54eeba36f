"""Compares what the database wants with what the launcher observes, and acts: `decide` is pure, `tick` applies it.

Each step loads, works without a session, and applies to what it locked and found unchanged; a job that changed
meanwhile is left to the next tick.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app import launching
from app.context import Platform
from app.db import trouble
from app.errors import StaleTransition
from app.launchers.base import Handle, Observation
from app.launchers.records import WORK_FOLDER
from app.models import Attempt, Job
from app.scheduling import Plan, plan, withheld
from app.services import attempts, jobs, logs, outbox, queue
from app.slots import slots_of_machine
from app.verdicts import COMPLETED, Adopt, Decision, End, Policy, Signal, StopStalled, Unreachable, decide
from app.words import ACTIVE, StopIntent

__all__ = ["Reconciler", "decide"]

LOG_TAIL_LINES = 50
ABSENCE = timedelta(seconds=60)
LIVELY_SECONDS = 120.0
log = logging.getLogger(__name__)


class Reconciler:
    """One thread, one tick after the other. Several backends may run one each: every change is guarded."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._slots = slots_of_machine(platform.settings.slots)
        self._told: set[tuple[object, ...]] = set()
        self._started_at = self._watching_since = self._ticked_at = datetime.now(UTC)
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._beat = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether it still looks; the slowest honest tick takes far less than the limit."""
        return self._thread.is_alive() and time.monotonic() - self._beat < LIVELY_SECONDS

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns once the tick in progress is over. Trainers run on."""
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look now instead of at the next tick."""
        self._woken.set()

    def tick(self, now: datetime) -> None:
        """Look at every active attempt, then start what can start. One job's trouble is not another's."""
        if now - self._ticked_at > ABSENCE:
            self._watching_since = now  # machine asleep or database away: what was not heard meanwhile means nothing
        with self._platform.database.read_session() as session:
            active = list(session.scalars(select(Job.id).where(Job.status.in_(ACTIVE)).order_by(Job.id)))
        for job_id in active:
            _guarded(partial(self._reconcile, job_id, now), job_id)
        for job_id, slots in self._plan(now).launches:
            _guarded(partial(launching.launch, self._platform, job_id, slots, now), job_id)
        self._ticked_at = now

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            _guarded(lambda: self.tick(datetime.now(UTC)))
            self._beat = time.monotonic()
            self._woken.wait(self._platform.settings.tick_seconds)

    def _reconcile(self, job_id: int, now: datetime) -> None:
        loaded = self._load(job_id)
        if loaded is None:
            return
        observed = self._platform.launcher.observe(job_id, loaded[1].number, loaded[1].handle)
        if observed.alive:
            self._note_adoption(loaded[1], observed)
            observed = replace(observed, wrote=outbox.is_begun(self._outbox(loaded[1])))
        else:
            self._drain(loaded[1], now)
            loaded = self._load(job_id) or loaded
            loaded[1].log_tail = logs.last_lines(self._folder(loaded[1]), LOG_TAIL_LINES)  # not stored; for the verdict
        job, attempt = loaded
        decision = decide(job, attempt, observed, now, Policy.of(self._platform.settings, self._watching_since))
        if decision is not None:
            self._apply(decision, job, attempt, observed, now)

    def _note_adoption(self, attempt: Attempt, observed: Observation) -> None:
        """Once for each trainer that this process did not start itself."""
        key = (attempt.id, "adopted")
        if attempt.created_at < self._started_at and key not in self._told:
            process = (observed.handle or attempt.handle or {}).get("pid")
            log.info("adopted attempt %d of job %d: process %s lives", attempt.number, attempt.job_id, process)
            self._told.add(key)

    def _load(self, job_id: int) -> tuple[Job, Attempt] | None:
        with self._platform.database.read_session() as session:
            return attempts.current(session, job_id)

    def _drain(self, attempt: Attempt, now: datetime) -> None:
        """What the trainer could not deliver any more belongs to the verdict and to the history."""
        key = attempt.job_id, attempt.number
        drained = outbox.drain(self._platform.database, *key, self._outbox(attempt), attempt.acknowledged, now)
        if drained.damaged:
            message = f"{drained.damaged} records of the trainer's outbox were damaged and are lost"
            self._tell(attempt, "warning", {"code": "OUTBOX_DAMAGED", "message": message}, now)

    def _apply(self, decision: Decision, job: Job, attempt: Attempt, observed: Observation, now: datetime) -> None:
        launcher, key = self._platform.launcher, (job.id, attempt.number, attempt.handle)
        match decision:
            case Adopt(handle):
                self._adopt(job, handle, now)
            case Signal(kill):
                launcher.stop(*key, kill=kill)
                self._tell(attempt, "stop", {"signal": "SIGKILL" if kill else "SIGTERM"}, now)
            case StopStalled(reason):
                self._stop_stalled(job, reason, now)
            case Unreachable(message):
                self._tell(attempt, "warning", {"code": "UNREACHABLE", "message": message}, now, attempt.heartbeat_at)
            case End():
                if not observed.found:
                    launcher.stop(*key, kill=True)  # whoever was asked to start it and comes late must find it over
                    if launcher.observe(*key).alive:
                        return
                self._end(decision, job, attempt.log_tail, observed, now)

    def _adopt(self, job: Job, handle: Handle, now: datetime) -> None:
        with self._platform.database.write_session() as session:
            attempt = attempts.lock_unchanged(session, job)
            attempt.handle, attempt.launched_at = handle, attempt.launched_at or now

    def _stop_stalled(self, job: Job, reason: str, now: datetime) -> None:
        with self._platform.database.write_session() as session:
            attempt = attempts.lock_unchanged(session, job)
            if attempts.request_stop(session, job.id, StopIntent.STALL, now):
                attempts.record(session, attempt, "stop", {"intent": StopIntent.STALL, "reason": reason}, now)

    def _end(self, end: End, job: Job, log_tail: list[str] | None, observed: Observation, now: datetime) -> None:
        """The attempt's end, the timeline row and what follows for the job, in one transaction."""
        with self._platform.database.write_session() as session:
            attempt = attempts.lock_unchanged(session, job)
            attempt.ended_at = observed.ended_at or now
            attempt.exit_code, attempt.exit_signal = observed.exit_code, observed.signal
            attempt.outcome, attempt.failure = end.outcome, end.failure
            attempt.log_tail = None if end.outcome == COMPLETED else log_tail
            code = end.failure and end.failure["code"]
            outcome = {"outcome": end.outcome, "exit_code": observed.exit_code, "signal": observed.signal, "code": code}
            attempts.record(session, attempt, "outcome", outcome, now)
            jobs.transition(session, job.id, end.trigger, now=now, reason=end.reason, **end.changes)
        self._told = {key for key in self._told if key[0] != attempt.id}

    def _tell(
        self, attempt: Attempt, type: str, payload: dict[str, Any], now: datetime, occasion: object = None
    ) -> None:
        """A line of the timeline, once an occasion and not once a tick."""
        key = (attempt.id, type, payload.get("signal"), payload.get("code"), occasion)
        if key not in self._told:
            with self._platform.database.write_session() as session:
                attempts.record(session, attempt, type, payload, now)
            self._told.add(key)

    def _plan(self, now: datetime) -> Plan:
        """Who starts, and a reason on the row of each job that waits."""
        with self._platform.database.read_session() as session:
            waiting, told = queue.waiting(session)
            planned = plan(waiting, self._slots, queue.slots_in_use(session), now)
        if planned.launches and (problem := self._platform.ownership.problem()):
            planned = withheld(planned, f"waiting for the storage: {problem.message}")
        news = {job_id: reason for job_id, reason in planned.reasons.items() if told[job_id] != reason}
        if news:
            with self._platform.database.write_session() as session:
                queue.write_reasons(session, news)
        return planned

    def _outbox(self, attempt: Attempt) -> Path:
        return self._folder(attempt) / WORK_FOLDER / outbox.FILE_NAME

    def _folder(self, attempt: Attempt) -> Path:
        return attempts.attempt_dir(self._platform.settings, attempt.job_id, attempt.number)


def _guarded(step: Callable[[], None], job_id: int | None = None) -> None:
    """The edge where nothing may escape: the next tick tries again."""
    try:
        step()
    except StaleTransition as stale:
        log.info("left to the next tick: %s", stale.message)
    except Exception as error:
        if trouble(error):
            log.warning("the reconciler (job %s) tries again: %s", job_id, getattr(error, "orig", error))
        else:
            log.exception("a step of the reconciler (job %s) failed and will be tried again", job_id)
