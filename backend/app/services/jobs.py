"""Jobs: create, list, cancel, retry, and the one function that changes a status."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound, StaleTransition
from app.models import Job
from app.services import history
from app.words import ENDED, EventSource, JobStatus, StopIntent, TaskType, Trigger

if TYPE_CHECKING:
    from app.services.submission import ResolvedJob

TRANSITIONS: dict[tuple[JobStatus, Trigger], JobStatus] = {
    (JobStatus.PENDING, Trigger.LAUNCH): JobStatus.STARTING,
    (JobStatus.PENDING, Trigger.CANCEL): JobStatus.CANCELLED,
    (JobStatus.PENDING, Trigger.FAIL): JobStatus.FAILED,
    (JobStatus.STARTING, Trigger.RUN): JobStatus.RUNNING,
    (JobStatus.STARTING, Trigger.COMPLETE): JobStatus.COMPLETED,
    (JobStatus.STARTING, Trigger.FAIL): JobStatus.FAILED,
    (JobStatus.STARTING, Trigger.REQUEUE): JobStatus.PENDING,
    (JobStatus.STARTING, Trigger.CANCEL): JobStatus.STOPPING,
    (JobStatus.RUNNING, Trigger.COMPLETE): JobStatus.COMPLETED,
    (JobStatus.RUNNING, Trigger.FAIL): JobStatus.FAILED,
    (JobStatus.RUNNING, Trigger.REQUEUE): JobStatus.PENDING,
    (JobStatus.RUNNING, Trigger.CANCEL): JobStatus.STOPPING,
    (JobStatus.STOPPING, Trigger.STOPPED): JobStatus.CANCELLED,
    (JobStatus.STOPPING, Trigger.COMPLETE): JobStatus.COMPLETED,
    (JobStatus.STOPPING, Trigger.FAIL): JobStatus.FAILED,
    (JobStatus.STOPPING, Trigger.REQUEUE): JobStatus.PENDING,
    (JobStatus.FAILED, Trigger.RETRY): JobStatus.PENDING,
    (JobStatus.CANCELLED, Trigger.RETRY): JobStatus.PENDING,
}

_NO_STOP: dict[str, Any] = {"stop_intent": None, "stop_requested_at": None}


def transition(
    session: Session, job_id: int, trigger: Trigger, *, now: datetime, reason: str, **changes: Any
) -> JobStatus:
    """Applies a trigger to a job and writes the timeline row; the only place that changes a status.

    `changes` are further columns of the job, set in the same UPDATE. StaleTransition if the job's
    status does not allow the trigger, or changed meanwhile; NotFound if there is no such job.
    """
    job = _locked(session, job_id)
    before = JobStatus(job.status)
    target = TRANSITIONS.get((before, trigger))
    if target is None:
        raise StaleTransition(f"job {job_id} is {before}; {trigger!s} needs {_allowed(trigger)}")
    values = _consequences(job, target, trigger, now) | changes | {"status": target, "updated_at": now}
    guarded = update(Job).where(Job.id == job_id, Job.status == before).values(**values)
    result = session.execute(guarded)
    if not isinstance(result, CursorResult) or result.rowcount != 1:
        raise StaleTransition(f"job {job_id} was {before} and changed meanwhile; read it again")
    payload = {"from": before, "to": target, "trigger": trigger, "reason": reason}
    _record(session, job_id, values.get("attempt", job.attempt), now, payload)
    return target


def create(session: Session, resolved: "ResolvedJob", now: datetime) -> Job:
    """Stores a checked request as a pending job."""
    job = Job(
        name=resolved.name,
        framework=resolved.framework,
        task_type=resolved.task_type,
        model_name=resolved.model_name,
        dataset_id=resolved.dataset_id,
        dataset_version=resolved.dataset_version,
        config=resolved.config,
        gpus=resolved.gpus,
        priority=resolved.priority,
        max_retries=resolved.max_retries,
        status=JobStatus.PENDING,
        created_at=now,
        updated_at=now,
    )
    session.add(job)
    session.flush()
    payload = {"from": None, "to": JobStatus.PENDING, "trigger": "create", "reason": "submitted"}
    _record(session, job.id, 0, now, payload)
    return job


def get(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def list_jobs(
    session: Session,
    *,
    statuses: Sequence[JobStatus] = (),
    framework: str | None = None,
    task_type: TaskType | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Job], str | None]:
    """Newest first, and the cursor of the next page or None at the end."""
    query = select(Job).order_by(Job.id.desc()).limit(limit + 1)
    if statuses:
        query = query.where(Job.status.in_(statuses))
    if framework is not None:
        query = query.where(Job.framework == framework)
    if task_type is not None:
        query = query.where(Job.task_type == task_type)
    if cursor is not None:
        query = query.where(Job.id < _parse_cursor(cursor))
    jobs = list(session.scalars(query))
    return jobs[:limit], str(jobs[limit - 1].id) if len(jobs) > limit else None


def cancel(session: Session, job_id: int, now: datetime) -> Job:
    """Asks for the end of a job; asking again changes nothing. Conflict if it completed or failed."""
    job = _locked(session, job_id)
    if job.status in (JobStatus.STOPPING, JobStatus.CANCELLED):
        return job
    if job.status in ENDED:
        raise Conflict(f"job {job_id} is {job.status}; only a job that has not ended can be cancelled")
    transition(session, job_id, Trigger.CANCEL, now=now, reason="cancelled by a person")
    return _locked(session, job_id)


def retry(session: Session, job_id: int, now: datetime) -> Job:
    """Puts a failed or cancelled job back into the queue with a fresh count of retries."""
    job = _locked(session, job_id)
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise Conflict(f"job {job_id} is {job.status}; only a failed or cancelled job can be retried")
    transition(session, job_id, Trigger.RETRY, now=now, reason="retried by a person")
    return _locked(session, job_id)


def highest_number(session: Session) -> int:
    """The highest number that any job ever had here, deleted ones included; 0 before the first."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    issued = (
        "seq FROM sqlite_sequence WHERE name = 'jobs'" if is_sqlite else "last_value FROM jobs_id_seq WHERE is_called"
    )
    return session.scalar(text(f"SELECT {issued}")) or 0


def _locked(session: Session, job_id: int) -> Job:
    """The job as it is now, its row locked where the database locks rows."""
    lock = select(Job).where(Job.id == job_id).with_for_update(key_share=True)
    job = session.scalar(lock.execution_options(populate_existing=True))
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def _consequences(job: Job, target: JobStatus, trigger: Trigger, now: datetime) -> dict[str, Any]:
    """What else a change of status means for the job's row."""
    match trigger:
        case Trigger.LAUNCH:
            return {"pending_reason": None, "not_before": None, "progress": None, "failure": None}
        case Trigger.RUN:
            return {"started_at": job.started_at or now}
        case Trigger.CANCEL if target is JobStatus.STOPPING:
            return {"stop_intent": StopIntent.CANCEL, "stop_requested_at": job.stop_requested_at or now}
        case Trigger.REQUEUE:
            return dict(_NO_STOP)
        case Trigger.RETRY:
            return _NO_STOP | {"retries": 0, "failure": None, "not_before": None, "ended_at": None}
        case _:
            return _NO_STOP | {"ended_at": now, "pending_reason": None, "not_before": None}


def _record(session: Session, job_id: int, attempt: int, now: datetime, payload: dict[str, Any]) -> None:
    platform = EventSource.PLATFORM
    history.append(
        session, job_id, source=platform, type="status", attempt=attempt, time=now, payload=payload, received_at=now
    )


def _allowed(trigger: Trigger) -> str:
    return " or ".join(status for status, wanted in TRANSITIONS if wanted is trigger)


def _parse_cursor(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 18:
        problem = {"field": "cursor", "value": cursor, "message": "must be the next_cursor of an earlier answer"}
        raise Invalid(f"cursor {cursor!r} is not one that this list gave", fields=[problem])
    return int(cursor)
