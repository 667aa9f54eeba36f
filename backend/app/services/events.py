"""Takes in what trainers report: stores it once, in order, and lets it move the job.

A request is written in one savepoint with bulk inserts. If the database refuses them, each event is tried
in a savepoint of its own, so that only the refused one is rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from app.errors import NotFound, Superseded
from app.models import Attempt, Event, Job
from app.schemas.events import (
    Answer,
    CheckpointEvent,
    ProgressEvent,
    Rejection,
    RunEvent,
    StatusEvent,
    ValidationEvent,
)
from app.services import history, jobs, records
from app.services.reports import Report, highest, judge
from app.words import ACTIVE, JobStatus, Trigger

_JOBS = cast(Table, Job.__table__)
_ATTEMPTS = cast(Table, Attempt.__table__)
_EVENTS = cast(Table, Event.__table__)
_OWN_ATTEMPT = (_ATTEMPTS.c.job_id == bindparam("of_job")) & (_ATTEMPTS.c.number == bindparam("of_number"))
_LOCK = (
    select(
        _JOBS.c.status,
        _JOBS.c.attempt.label("job_attempt"),
        _JOBS.c.stop_intent,
        _JOBS.c.progress,
        _ATTEMPTS.c.instance,
        _ATTEMPTS.c.acknowledged,
        _ATTEMPTS.c.ended_at,
        _ATTEMPTS.c.resume,
    )
    .join(_ATTEMPTS, _ATTEMPTS.c.job_id == _JOBS.c.id)
    .where(_JOBS.c.id == bindparam("of_job"), _OWN_ATTEMPT)
    .with_for_update(key_share=True)  # both rows: a join that waited for one would see the other as it was
)
_CHANGE_ATTEMPT = update(_ATTEMPTS).where(_OWN_ATTEMPT)
_ADVANCING = frozenset({"status", "metrics", "validation", "checkpoint", "artifact"})


@dataclass(frozen=True)
class _Target:
    """The attempt that a request is about, with its job as they are now, locked."""

    job_id: int
    number: int
    row: Any  # the selected columns of `_lock`
    now: datetime

    @property
    def moves_job(self) -> bool:
        """Whether it is the newest attempt of a job that has not ended: an older one only adds history."""
        return self.number == self.row.job_attempt and self.row.status in ACTIVE


@dataclass
class _Changes:
    """What reports mean for the rows of the job and the attempt."""

    job: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)
    runs: bool = False


def ingest(
    session: Session, job_id: int, attempt: int, instance: str | None, events: Sequence[Any], now: datetime
) -> Answer:
    """Stores the events of one attempt and says what was taken; `instance=None` is the drain of an outbox.

    NotFound if there is no such attempt. Superseded if another process, a newer attempt or the
    attempt's end forbids it to report.
    """
    target = _lock(session, job_id, attempt, now)
    if instance is not None:
        _check_owner(target, instance)
    reports, rejected = judge(events)
    acknowledged = max(target.row.acknowledged, highest(reports, rejected))
    fresh = _unknown(session, target, reports)
    common: dict[str, Any] = {"acknowledged": acknowledged}
    if instance is not None:
        common |= {"instance": instance, "heartbeat_at": now}
    rejected += _store(session, target, fresh, common)
    session.expire_all()
    return Answer(acknowledged=acknowledged, rejected=rejected, should_stop=_should_stop(target))


def _lock(session: Session, job_id: int, attempt: int, now: datetime) -> _Target:
    session.flush()
    row = session.connection().execute(_LOCK, {"of_job": job_id, "of_number": attempt}).one_or_none()
    if row is None:
        raise NotFound(f"there is no attempt {attempt} of job {job_id}")
    return _Target(job_id, attempt, row, now)


def _check_owner(target: _Target, instance: str) -> None:
    name = f"attempt {target.number} of job {target.job_id}"
    if target.number != target.row.job_attempt:
        raise Superseded(f"{name} was superseded by attempt {target.row.job_attempt}: stop at once")
    if target.row.ended_at is not None:
        raise Superseded(f"{name} ended at {target.row.ended_at.isoformat()}: stop at once")
    if target.row.instance not in (None, instance):
        raise Superseded(f"{name} belongs to another process, {target.row.instance!r}: stop at once")


def _unknown(session: Session, target: _Target, reports: list[Report]) -> list[Report]:
    """Those that are not stored yet; above the acknowledged sequence none can be."""
    repeated = [report.event.sequence for report in reports if report.event.sequence <= target.row.acknowledged]
    if not repeated:
        return reports
    own = (_EVENTS.c.job_id == target.job_id) & (_EVENTS.c.attempt == target.number)
    known = set(session.scalars(select(_EVENTS.c.sequence).where(own, _EVENTS.c.sequence.in_(repeated))))
    return [report for report in reports if report.event.sequence not in known]


def _store(session: Session, target: _Target, reports: list[Report], common: dict[str, Any]) -> list[Rejection]:
    try:
        with session.begin_nested():
            _write(session, target, reports, common)
    except (IntegrityError, DataError, StatementError, OverflowError) as error:
        _reraise_unless_refusal(error)
    else:
        return []
    rejected = []
    with session.begin_nested():
        for report in reports:
            reason = _store_alone(session, target, report)
            if reason is not None:
                rejected.append(Rejection(sequence=report.event.sequence, reason=reason))
        _write(session, target, [], common)
    return rejected


def _store_alone(session: Session, target: _Target, report: Report) -> str | None:
    """The database's reason to refuse this event, if any."""
    try:
        with session.begin_nested():
            _write(session, target, [report], {})
    except (IntegrityError, DataError, StatementError, OverflowError) as error:
        _reraise_unless_refusal(error)
        return f"the database refused it: {getattr(error, 'orig', None) or error}"[:500]
    return None


def _reraise_unless_refusal(error: Exception) -> None:
    """A lost connection or a full disk says nothing about an event, so it is nobody's rejection."""
    if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
        raise error


def _write(session: Session, target: _Target, reports: list[Report], common: dict[str, Any]) -> None:
    changes = _consequences(target, reports)
    if reports:
        position = history.take_positions(session, target.job_id, len(reports), **changes.job)
        records.write(session, target.job_id, target.number, position, reports, target.now)
    if values := changes.attempt | common:
        own = {"of_job": target.job_id, "of_number": target.number}
        session.connection().execute(_CHANGE_ATTEMPT, values | own)
    if target.moves_job:
        _move_job(session, target, reports, changes)


def _consequences(target: _Target, reports: list[Report]) -> _Changes:
    changes = _Changes()
    for report in reports:
        match report.event:
            case StatusEvent(status="running"):
                changes.runs = True
            case StatusEvent(status=status):
                changes.attempt["reported"] = {"status": status, "failure": report.payload.get("failure")}
            case ProgressEvent() as event if "seconds" not in event.model_fields_set:
                known = changes.job.get("progress") or target.row.progress
                changes.job["progress"] = _epochs_of(event, known) | report.payload | {"time": event.time.isoformat()}
            case RunEvent(mlflow_run_id=str(run_id)):
                changes.job["mlflow_run_id"] = run_id
            case _:
                pass
    if _advances(target, reports, changes):
        changes.attempt["progress_at"] = target.now
    changes.job = changes.job | {"updated_at": target.now} if changes.job and target.moves_job else {}
    return changes


def _epochs_of(event: ProgressEvent, known: dict[str, Any] | None) -> dict[str, Any]:
    """Validating and uploading come after some epoch, whether or not the trainer says again after which."""
    if known is None or event.phase not in ("validate", "upload"):
        return {}
    return {name: known[name] for name in ("epoch", "epochs") if name in known}


def _advances(target: _Target, reports: list[Report], changes: _Changes) -> bool:
    """Whether the training moved: a repeated progress line does not count."""
    if any(report.event.type in _ADVANCING for report in reports):
        return True
    return _place(changes.job.get("progress")) not in (None, _place(target.row.progress))


def _place(progress: dict[str, Any] | None) -> tuple[Any, ...] | None:
    if progress is None:
        return None
    return progress.get("phase"), progress.get("epoch"), progress.get("step")


def _move_job(session: Session, target: _Target, reports: list[Report], changes: _Changes) -> None:
    if any(_concerns_best(report.event) for report in reports):
        best = records.best(session, target.job_id, target.number, target.row.resume)
        statement = update(_JOBS).where(_JOBS.c.id == target.job_id)
        session.execute(statement.values(best=best, updated_at=target.now))
    if changes.runs and target.row.status == JobStatus.STARTING:
        reason = "the trainer reported that it runs"
        jobs.transition(session, target.job_id, Trigger.RUN, now=target.now, reason=reason)


def _concerns_best(event: Any) -> bool:
    return isinstance(event, ValidationEvent) or (isinstance(event, CheckpointEvent) and event.kind == "best")


def _should_stop(target: _Target) -> bool:
    return target.row.stop_intent is not None or target.row.status not in (JobStatus.STARTING, JobStatus.RUNNING)
