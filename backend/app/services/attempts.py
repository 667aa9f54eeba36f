"""Attempts: a row and a token of its own for each run of a trainer, and everything that the trainer is told."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import slots as slot_words
from app.errors import NotFound, StaleTransition
from app.launchers import records
from app.models import Attempt, Checkpoint, DatasetVersion, Job
from app.services import history, tokens
from app.settings import Settings
from app.words import ACTIVE, CheckpointKind, EventSource, StopIntent


def create_attempt(session: Session, job: Job, slots: Sequence[str], now: datetime) -> tuple[Attempt, str]:
    """The job's next attempt, and its token in plain: only the hash is stored.

    It continues from the newest `last` checkpoint that the database knows, if there is one.
    """
    plain, hashed = tokens.new_token()
    last = newest_checkpoint(session, job.id, CheckpointKind.LAST)
    resume = None if last is None else {"key": last.key, "sha256": last.sha256, "epoch": last.epoch}
    attempt = Attempt(
        job_id=job.id, number=job.attempt + 1, token_hash=hashed, slots=list(slots), resume=resume, created_at=now
    )
    session.add(attempt)
    session.flush()
    return attempt, plain


def newest_checkpoint(session: Session, job_id: int, kind: CheckpointKind) -> Checkpoint | None:
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.kind == kind)
    return session.scalar(query.order_by(Checkpoint.id.desc()).limit(1))


def get(session: Session, job_id: int, number: int | None = None) -> Attempt:
    """The attempt of this number, or the newest one. NotFound, with the reason, if there is none."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    if job.attempt == 0:
        raise NotFound(f"job {job_id} has not been started yet: it has no attempt")
    wanted = job.attempt if number is None else number
    attempt = session.scalar(select(Attempt).where(Attempt.job_id == job_id, Attempt.number == wanted))
    if attempt is None:
        raise NotFound(f"job {job_id} has no attempt {wanted}; its attempts are 1 to {job.attempt}")
    return attempt


def current(session: Session, job_id: int) -> tuple[Job, Attempt] | None:
    """An active job and its newest attempt; None once the job is not active."""
    both = select(Job, Attempt).join(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt))
    row = session.execute(both.where(Job.id == job_id, Job.status.in_(ACTIVE))).one_or_none()
    return None if row is None else (row[0], row[1])


def lock_unchanged(session: Session, seen: Job) -> Attempt:
    """The newest attempt of the job, its row locked. StaleTransition if the job is not as it was when it was seen."""
    locked = select(Job).where(Job.id == seen.id).with_for_update(key_share=True)
    job = session.scalar(locked.execution_options(populate_existing=True))
    if job is None or _essence(job) != _essence(seen):
        raise StaleTransition(f"job {seen.id} changed since it was looked at")
    return session.scalars(select(Attempt).where(Attempt.job_id == job.id, Attempt.number == job.attempt)).one()


def _essence(job: Job) -> tuple[object, ...]:
    return job.status, job.stop_intent, job.attempt


def request_stop(session: Session, job_id: int, intent: StopIntent, now: datetime) -> bool:
    """Ask the trainer of an active job to stop, unless it was asked already; False if there is nothing to ask."""
    open_ = (Job.id == job_id) & Job.status.in_(ACTIVE) & Job.stop_intent.is_(None)
    asked = update(Job).where(open_).values(stop_intent=intent, stop_requested_at=now, updated_at=now)
    return session.scalar(asked.returning(Job.id)) is not None


def record(session: Session, attempt: Attempt, type: str, payload: dict[str, Any], now: datetime) -> None:
    """A line of the timeline about something that the platform did with this attempt."""
    source, number = EventSource.PLATFORM, attempt.number
    history.append(
        session, attempt.job_id, source=source, type=type, attempt=number, time=now, received_at=now, payload=payload
    )


def attempt_dir(settings: Settings, job_id: int, number: int) -> Path:
    return records.attempt_folder(settings.data_dir, job_id, number)


def cache_dir(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "cache"


def trainer_environment(
    job: Job, attempt: Attempt, version: DatasetVersion, token: str, settings: Settings
) -> dict[str, str]:
    """Every variable of docs/trainer-contract.md for this attempt; what is not set is left out."""
    work_dir = attempt_dir(settings, job.id, attempt.number) / records.WORK_FOLDER
    resume = attempt.resume or {}
    values: Mapping[str, object] = {
        **_what(job, version),
        "ATTEMPT": attempt.number,
        "RESUME": resume.get("key"),
        "RESUME_SHA256": resume.get("sha256"),
        "GRACE_PERIOD": settings.grace_period_seconds,
        "CALLBACK_URL": f"{(settings.backend_internal_url or settings.url).rstrip('/')}/internal/training/{job.id}",
        "INTERNAL_AUTH_TOKEN": token,
        **_mlflow(job, version, settings),
        **work_environment(settings, work_dir),
        **slot_words.environment(attempt.slots),
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def work_environment(settings: Settings, work_dir: Path) -> dict[str, str]:
    """Where a trainer finds objects and may write; the same for training and prediction."""
    places = {"WORK_DIR": str(work_dir), "HOME": str(work_dir), "CACHE_DIR": str(cache_dir(settings))}
    places["CACHE_LIMIT_BYTES"] = str(settings.cache_limit_bytes)
    return places | {"PYTHONUNBUFFERED": "1"} | settings.storage_environment()


def _what(job: Job, version: DatasetVersion) -> dict[str, object]:
    config = job.config
    return {
        "JOB_ID": job.id,
        "TASK_TYPE": job.task_type,
        "MODEL_NAME": job.model_name,
        "DATASET_ID": job.dataset_id,
        "DATASET_VERSION": version.version,
        "DATASET_SHA256": version.archive_sha256,
        "EPOCHS": config["epochs"],
        "BATCH_SIZE": config["batch_size"],
        "LEARNING_RATE": config["learning_rate"],
        "IMAGE_SIZE": config.get("image_size"),
        "WORKERS": config.get("workers"),
        "SEED": config.get("seed"),
        "WEIGHTS": config.get("weights"),
        "SAVE_PERIOD": config.get("save_period"),
        "HYPERPARAMETERS": json.dumps(config.get("hyperparameters") or {}),
    }


def _mlflow(job: Job, version: DatasetVersion, settings: Settings) -> dict[str, object]:
    """One experiment per dataset, one run per job: runs that can be compared stand together."""
    if not settings.mlflow_tracking_uri:
        return {}
    return {
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": f"vision/{version.dataset.name}",
        "MLFLOW_RUN_ID": job.mlflow_run_id,
    }
