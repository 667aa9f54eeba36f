"""The end of a job's traces: its rows, its objects and its work folder."""

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import Conflict, StaleTransition
from app.models import Job
from app.services import jobs
from app.storage import Storage
from app.words import ENDED


def delete_job(database: Database, storage: Storage, data_dir: Path, job_id: int) -> None:
    """Delete an ended job: first its rows, so that nothing can start from it, then what they named.

    `Conflict` while it has not ended or an unfinished job starts from its checkpoints.
    """
    with database.write_session() as session:
        _refuse_unless_ended(session, job_id)
        _refuse_while_needed(session, job_id)
        gone = session.scalar(delete(Job).where(Job.id == job_id, Job.status.in_(ENDED)).returning(Job.id))
        if gone is None:
            raise StaleTransition(f"job {job_id} changed meanwhile; read it again")
    for folder in ("checkpoints", "artifacts"):
        storage.delete_prefix(f"{folder}/job-{job_id}")
    shutil.rmtree(data_dir / "work" / f"job-{job_id}", ignore_errors=True)


def _refuse_unless_ended(session: Session, job_id: int) -> None:
    job = jobs.get(session, job_id)
    if job.status not in ENDED:
        raise Conflict(f"job {job_id} is {job.status}; cancel it and wait for its end before deleting it")


def _refuse_while_needed(session: Session, job_id: int) -> None:
    folder = f"checkpoints/job-{job_id}/"
    unfinished = session.execute(select(Job.id, Job.config).where(Job.status.not_in(ENDED)).order_by(Job.id))
    users = [row.id for row in unfinished if _weights(row.config).startswith(folder)]
    if users:
        named = ", ".join(str(user) for user in users)
        raise Conflict(f"job {job_id} holds the weights that jobs {named} start from; wait for their end", jobs=users)


def _weights(config: dict[str, Any]) -> str:
    return str(config.get("weights", ""))
