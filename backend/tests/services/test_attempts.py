import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Database
from app.errors import NotFound, StaleTransition
from app.models import Attempt, Checkpoint, Dataset, DatasetVersion, Event, Job
from app.services import attempts
from app.services.tokens import hash_token
from app.settings import Settings
from app.words import JobStatus, StopIntent
from tests import factories

KEY = "checkpoints/job-1/attempt-1/4-abc.pt"


def checkpoint(job_id: int, epoch: int, kind: str = "last") -> Checkpoint:
    key = f"checkpoints/job-{job_id}/attempt-1/{epoch}-abc.pt"
    size = {"size": 9, "metrics": {}, "time": factories.NOW}
    return Checkpoint(job_id=job_id, attempt=1, kind=kind, key=key, sha256=factories.SHA256, epoch=epoch, **size)


def test_first_attempt_starts_anew(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        attempt, token = attempts.create_attempt(session, factories.job(session), ["cpu:0"], now)
        assert (attempt.number, attempt.resume, attempt.slots) == (1, None, ["cpu:0"])
        assert attempt.token_hash == hash_token(token)


def test_next_attempt_continues_from_the_newest_last(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        job = factories.job(session, attempt=1)
        for row in (checkpoint(job.id, 3), checkpoint(job.id, 4), checkpoint(job.id, 5, "best")):
            session.add(row)
            session.flush()
        attempt, _ = attempts.create_attempt(session, job, ["cpu:0"], now)
        key = f"checkpoints/job-{job.id}/attempt-1/4-abc.pt"
        assert attempt.number == 2
        assert attempt.resume == {"key": key, "sha256": factories.SHA256, "epoch": 4}


def test_each_attempt_has_its_own_token(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        tokens = [attempts.create_attempt(session, factories.job(session), ["cpu:0"], now)[1] for _ in range(3)]
        assert len(set(tokens)) == 3


def test_not_found_says_what_there_is(database: Database) -> None:
    with database.write_session() as session:
        waiting = factories.job(session).id
        started = factories.attempt(session).job_id
        assert attempts.get(session, started).number == attempts.get(session, started, 1).number == 1
        with pytest.raises(NotFound, match="there is no job 4711"):
            attempts.get(session, 4711)
        with pytest.raises(NotFound, match="has not been started yet"):
            attempts.get(session, waiting)
        with pytest.raises(NotFound, match="has no attempt 2; its attempts are 1 to 1"):
            attempts.get(session, started, 2)


def test_stop_is_asked_once(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        job_id = factories.attempt(session).job_id
        assert attempts.request_stop(session, job_id, StopIntent.STALL, now)
        assert not attempts.request_stop(session, job_id, StopIntent.PREEMPT, now)
        waiting = factories.job(session).id
        assert not attempts.request_stop(session, waiting, StopIntent.PREEMPT, now)
        assert session.get_one(Job, job_id, populate_existing=True).stop_intent == StopIntent.STALL


@pytest.mark.parametrize("change", [{"status": JobStatus.STOPPING}, {"stop_intent": "cancel"}, {"attempt": 2}])
def test_stale_if_job_changed_since_it_was_seen(database: Database, change: dict[str, Any]) -> None:
    with database.write_session() as session:
        job_id = factories.attempt(session).job_id
    with database.read_session() as session:
        seen = session.get_one(Job, job_id)
    with database.write_session() as session:
        assert attempts.lock_unchanged(session, seen).number == 1
        for name, value in change.items():
            setattr(session.get_one(Job, job_id), name, value)
    with database.write_session() as session, pytest.raises(StaleTransition):
        attempts.lock_unchanged(session, seen)


def test_timeline_tells_what_the_platform_did(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        attempts.record(session, factories.attempt(session), "stop", {"signal": "SIGTERM"}, now)
    with database.read_session() as session:
        row = session.scalars(select(Event)).one()
        assert (row.source, row.type, row.attempt, row.payload) == ("platform", "stop", 1, {"signal": "SIGTERM"})


def told(tmp_path: Path, *, job: dict[str, Any] | None = None, **settings: Any) -> dict[str, str]:
    config = factories.job_config(hyperparameters={"mosaic": 0.5})
    values = {"id": 12, "task_type": "object_detection", "model_name": "yolo11n", "dataset_id": "digits"}
    version = DatasetVersion(version=3, archive_sha256="cd" * 32)
    version.dataset = Dataset(id="digits", name="my digits")
    resume = {"key": KEY, "sha256": factories.SHA256, "epoch": 4}
    attempt = Attempt(job_id=12, number=2, slots=["gpu:1"], resume=resume)
    chosen = Settings(data_dir=tmp_path, **settings)
    return attempts.trainer_environment(Job(**values | {"config": config} | (job or {})), attempt, version, "t", chosen)


def test_trainer_is_told_everything(tmp_path: Path) -> None:
    work = str(tmp_path / "work" / "job-12" / "attempt-2" / "work")
    assert told(tmp_path, storage_path=tmp_path / "objects", mlflow_tracking_uri="http://127.0.0.1:5000") == {
        "JOB_ID": "12",
        "TASK_TYPE": "object_detection",
        "MODEL_NAME": "yolo11n",
        "DATASET_ID": "digits",
        "DATASET_VERSION": "3",
        "DATASET_SHA256": "cd" * 32,
        "EPOCHS": "3",
        "BATCH_SIZE": "8",
        "LEARNING_RATE": "0.003",
        "IMAGE_SIZE": "64",
        "DEVICE": "0",
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "WORKERS": "0",
        "SEED": "0",
        "WEIGHTS": "scratch",
        "HYPERPARAMETERS": '{"mosaic": 0.5}',
        "ATTEMPT": "2",
        "RESUME": KEY,
        "RESUME_SHA256": factories.SHA256,
        "SAVE_PERIOD": "1",
        "GRACE_PERIOD": "8",
        "CALLBACK_URL": "http://127.0.0.1:8000/internal/training/12",
        "INTERNAL_AUTH_TOKEN": "t",
        "STORAGE_TYPE": "local",
        "STORAGE_BUCKET": "vision",
        "STORAGE_PATH": str(tmp_path / "objects"),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "MLFLOW_EXPERIMENT_NAME": "vision/my digits",
        "WORK_DIR": work,
        "HOME": work,
        "CACHE_DIR": str(tmp_path / "cache"),
        "CACHE_LIMIT_BYTES": str(50 * 2**30),
        "PYTHONUNBUFFERED": "1",
    }


def test_optional_variables_are_left_out_if_nothing_was_chosen(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 1,
        "learning_rate": 1e-05,
        "image_size": None,
        "hyperparameters": {},
    }
    names = told(tmp_path, job={"config": config})
    assert not {"IMAGE_SIZE", "SEED", "WORKERS", "SAVE_PERIOD", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"} & names.keys()
    assert json.loads(names["HYPERPARAMETERS"]) == {} and float(names["LEARNING_RATE"]) == 1e-05


def test_mlflow_run_is_continued_if_the_job_has_one(tmp_path: Path) -> None:
    assert told(tmp_path, job={"mlflow_run_id": "f" * 32}, mlflow_tracking_uri="http://m")["MLFLOW_RUN_ID"] == "f" * 32


def test_reports_go_where_trainers_reach_the_backend(tmp_path: Path) -> None:
    names = told(tmp_path, backend_internal_url="http://backend.internal:9000/")
    assert names["CALLBACK_URL"] == "http://backend.internal:9000/internal/training/12"


def test_storage_keys_reach_the_trainer_if_storage_is_a_bucket(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"minio_endpoint": "http://s3", "minio_access_key": "ak", "minio_secret_key": "sk"}
    names = told(tmp_path, storage_type="minio", **keys)
    assert (names["STORAGE_TYPE"], names["MINIO_ENDPOINT"]) == ("minio", "http://s3")
    assert (names["MINIO_ACCESS_KEY"], names["MINIO_SECRET_KEY"]) == ("ak", "sk")
    assert "STORAGE_PATH" not in names
