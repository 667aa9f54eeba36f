"""Who waits, which slots are taken, and why each one waits, as the database knows it."""

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.models import Attempt, Job
from app.scheduling import Waiting
from app.words import ACTIVE, JobStatus

MAX_REASON = 500


def waiting(session: Session) -> tuple[list[Waiting], dict[int, str | None]]:
    """The pending jobs, and the reason that each one's row gives now."""
    newest = (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt)
    query = select(Job, Attempt.failure).outerjoin(Attempt, newest).where(Job.status == JobStatus.PENDING)
    found, told = [], {}
    for job, failure in session.execute(query):
        code = failure["code"] if failure else None
        found.append(Waiting(job.id, job.gpus, job.priority, job.not_before, code))
        told[job.id] = job.pending_reason
    return found, told


def slots_in_use(session: Session) -> dict[str, int]:
    """Which job holds each slot that is taken."""
    newest = (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt)
    query = select(Job.id, Attempt.slots).join(Attempt, newest)
    taken = session.execute(query.where(Job.status.in_(ACTIVE), Attempt.ended_at.is_(None)))
    return {slot: job_id for job_id, slots in taken for slot in slots}


def write_reasons(session: Session, reasons: Mapping[int, str]) -> None:
    """Only onto jobs that still wait."""
    for job_id, reason in reasons.items():
        pending = (Job.id == job_id) & (Job.status == JobStatus.PENDING)
        session.execute(update(Job).where(pending).values(pending_reason=reason[:MAX_REASON]))
