"""Starting one attempt: its row and token are committed, then its trainer started, then its handle recorded.

A backend that is killed between any two of these ends with one trainer or none: what was started is found again by its
files, and what was not is barred before the next attempt.
"""

import logging
import os
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import faults
from app.context import Platform
from app.errors import StaleTransition
from app.launchers import environment
from app.launchers.base import Handle, LaunchError, LaunchSpec
from app.models import Attempt, DatasetVersion, Job
from app.services import attempts, jobs
from app.words import JobStatus, Trigger

log = logging.getLogger(__name__)


def launch(platform: Platform, job_id: int, slots: Sequence[str], now: datetime) -> None:
    """StaleTransition if the job does not wait any more. A trainer that cannot start is the next tick's verdict."""
    with platform.database.write_session() as session:
        attempt, token = _begin(session, job_id, slots, now)
        spec = _spec(session, attempt, token, platform)
    faults.reached("row-created")
    handle = {"error": spec} if isinstance(spec, str) else _start(platform, spec)
    faults.reached("spawned")
    started = "error" not in handle
    with platform.database.write_session() as session:
        own = (Attempt.id == attempt.id) & Attempt.handle.is_(None)
        session.execute(update(Attempt).where(own).values(handle=handle, launched_at=now if started else None))
    faults.reached("handle-recorded")


def _begin(session: Session, job_id: int, slots: Sequence[str], now: datetime) -> tuple[Attempt, str]:
    job = jobs.get(session, job_id)
    if job.status != JobStatus.PENDING:
        raise StaleTransition(f"job {job_id} is {job.status} and does not wait any more")
    attempt, token = attempts.create_attempt(session, job, slots, now)
    reason = f"attempt {attempt.number} starts on {', '.join(slots)}"
    jobs.transition(session, job_id, Trigger.LAUNCH, now=now, reason=reason, attempt=attempt.number)
    attempts.record(session, attempt, "launch", {"slots": list(slots), "resume": attempt.resume}, now)
    return attempt, token


def _spec(session: Session, attempt: Attempt, token: str, platform: Platform) -> LaunchSpec | str:
    """What to start, or why it cannot be."""
    settings, job = platform.settings, session.get_one(Job, attempt.job_id)
    trainer = platform.catalogue.trainers.get(job.framework)
    if trainer is None:
        return f"its framework {job.framework!r} is no longer in the catalogue"
    wanted = select(DatasetVersion).filter_by(dataset_id=job.dataset_id, version=job.dataset_version)
    version = session.scalar(wanted)
    if version is None:
        return f"version {job.dataset_version} of its dataset {job.dataset_id!r} is gone"
    told = attempts.trainer_environment(job, attempt, version, token, settings)
    return LaunchSpec(
        job_id=job.id,
        attempt=attempt.number,
        command=trainer.command("train"),
        folder=trainer.folder,
        environment=environment.allowed(os.environ, settings.trainer_environment.split(",")) | told,
        attempt_dir=attempts.attempt_dir(settings, job.id, attempt.number),
        grace_seconds=settings.grace_period_seconds,
    )


def _start(platform: Platform, spec: LaunchSpec) -> Handle:
    try:
        return platform.launcher.launch(spec)
    except LaunchError as error:
        log.warning("attempt %d of job %d could not be started: %s", spec.attempt, spec.job_id, error.message)
        return {"error": error.message}
