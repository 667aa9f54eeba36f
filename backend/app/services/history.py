"""A job's history in one order. Each row takes the job's next position under the job's row lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Event, Job
from app.words import EventSource

_JOBS = cast(Table, Job.__table__)
_EVENTS = cast(Table, Event.__table__)

_TAKE = (
    update(_JOBS)
    .where(_JOBS.c.id == bindparam("of_job"))
    .values(next_position=_JOBS.c.next_position + bindparam("count"))
    .returning(_JOBS.c.next_position)
)

TIMELINE_TYPES = ("status", "launch", "stop", "outcome", "run", "warning")


def append(
    session: Session,
    job_id: int,
    *,
    source: EventSource,
    type: str,
    attempt: int,
    time: datetime,
    payload: dict[str, Any],
    received_at: datetime,
    sequence: int | None = None,
) -> int:
    """Adds one row and returns its position. NotFound if there is no such job."""
    position = take_positions(session, job_id, 1)
    row = {"job_id": job_id, "position": position, "source": source, "type": type, "attempt": attempt}
    row |= {"sequence": sequence, "time": time, "received_at": received_at, "payload": payload}
    session.execute(insert(_EVENTS), row)
    return position


def take_positions(session: Session, job_id: int, count: int, **changes: Any) -> int:
    """Reserves `count` consecutive positions and returns the first; the job's row stays locked until the commit.

    `changes` are further columns of the job, set by the same statement.
    """
    session.flush()
    after = session.connection().execute(_TAKE, {"of_job": job_id, "count": count} | changes).scalar()
    if after is None:
        raise NotFound(f"there is no job {job_id}")
    return int(after) - count


def after(session: Session, job_id: int, position: int, limit: int) -> Sequence[Event]:
    """The rows that follow a position, oldest first."""
    query = select(Event).where(Event.job_id == job_id, Event.position > position)
    return session.scalars(query.order_by(Event.position).limit(limit)).all()


def timeline(session: Session, job_id: int) -> Sequence[Event]:
    """What a person wants to know of a job's life: statuses, launches, stops, outcomes, runs, warnings."""
    query = select(Event).where(Event.job_id == job_id, Event.type.in_(TIMELINE_TYPES))
    return session.scalars(query.order_by(Event.position)).all()
