"""A deleted job leaves no row, no object and no folder; others keep theirs."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.errors import Conflict, NotFound
from app.models import Attempt, Base, Checkpoint, Job
from app.services.deletion import delete_job
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import ENDED, JobStatus
from tests import factories


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path}
    return open_storage(Settings(**values))


def _job(database: Database, storage: Storage, data_dir: Path, **fields: Any) -> int:
    """A job with an attempt, a checkpoint, an artifact and a work folder."""
    with database.write_session() as session:
        job_id = factories.job(session, **fields).id
        factories.attempt(session, job_id=job_id)
        row = {"attempt": 1, "sha256": factories.SHA256, "size": 1, "epoch": 1, "time": factories.NOW}
        key = f"checkpoints/job-{job_id}/attempt-1/1-ab.pt"
        session.add(Checkpoint(job_id=job_id, kind="best", key=key, metrics={}, **row))
    for name in (key, f"checkpoints/job-{job_id}/best.json", f"artifacts/job-{job_id}/plot.png"):
        storage.put_bytes(name, b"x")
    (data_dir / "work" / f"job-{job_id}" / "attempt-1").mkdir(parents=True)
    return job_id


def _count(database: Database, table: type[Base]) -> int:
    with database.read_session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize("status", ENDED)
def test_ended_job_leaves_nothing_and_its_neighbour_everything(
    status: JobStatus, database: Database, storage: Storage, tmp_path: Path
) -> None:
    job_id = _job(database, storage, tmp_path, status=status)
    for _ in range(9):
        neighbour = _job(database, storage, tmp_path, status=JobStatus.COMPLETED)  # the last is job 10 beside job 1
    delete_job(database, storage, tmp_path, job_id)
    assert (_count(database, Job), _count(database, Attempt), _count(database, Checkpoint)) == (9, 9, 9)
    for folder in ("checkpoints", "artifacts"):
        assert list(storage.list(f"{folder}/job-{job_id}")) == []
        assert list(storage.list(f"{folder}/job-{neighbour}"))
    assert not (tmp_path / "work" / f"job-{job_id}").exists()
    assert (tmp_path / "work" / f"job-{neighbour}").exists()


@pytest.mark.parametrize("status", set(JobStatus) - ENDED)
def test_job_is_kept_until_it_has_ended(
    status: JobStatus, database: Database, storage: Storage, tmp_path: Path
) -> None:
    job_id = _job(database, storage, tmp_path, status=status)
    with pytest.raises(Conflict, match=f"job {job_id} is {status}; cancel it"):
        delete_job(database, storage, tmp_path, job_id)
    assert _count(database, Job) == 1
    assert storage.size(f"checkpoints/job-{job_id}/best.json") == 1


def test_job_is_kept_while_another_starts_from_its_weights(
    database: Database, storage: Storage, tmp_path: Path
) -> None:
    job_id = _job(database, storage, tmp_path, status=JobStatus.COMPLETED)
    config = factories.job_config(weights=f"checkpoints/job-{job_id}/best.pt")
    user = _job(database, storage, tmp_path, status=JobStatus.PENDING, config=config)
    with pytest.raises(Conflict, match=f"jobs {user} start from"):
        delete_job(database, storage, tmp_path, job_id)


def test_unknown_job_is_not_found(database: Database, storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no job 7"):
        delete_job(database, storage, tmp_path, 7)
