"""Rows and reports for tests, every field defaulted."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from app.datasets.work import Packed, Request
from app.models import Attempt, Dataset, DatasetVersion, Import, Job
from app.services.tokens import hash_token
from app.words import ImportStatus, JobStatus

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SHA256 = "ab" * 32
INSTANCE = "instance-1"
_numbers = count(1)


def dataset(session: Session, **fields: Any) -> Dataset:
    """A dataset with version 1."""
    number = next(_numbers)
    values = {"id": f"digits-{number}", "name": f"digits {number}", "task_type": "object_detection", "created_at": NOW}
    row = Dataset(**values | fields)
    session.add(row)
    session.flush()
    dataset_version(session, dataset_id=row.id)
    return row


def dataset_version(session: Session, **fields: Any) -> DatasetVersion:
    if "dataset_id" not in fields:
        return dataset(session).versions[0]
    values = {
        "version": 1,
        "sha256": SHA256,
        "archive_sha256": SHA256,
        "archive_size": 1000,
        "classes": ["zero", "one"],
        "counts": {"images": {"train": 8, "val": 4}, "instances": {"train": 16, "val": 8}, "classes": {"zero": 24}},
        "created_at": NOW,
    }
    row = DatasetVersion(**values | fields)
    session.add(row)
    session.flush()
    return row


def dataset_import(session: Session, **fields: Any) -> Import:
    """One that waits for its bytes."""
    values = {
        "dataset_name": "digits",
        "request": Request(max_bytes=2**30).model_dump(mode="json"),
        "source": {"kind": "upload"},
        "status": ImportStatus.RECEIVING,
        "created_at": NOW,
        "updated_at": NOW,
    }
    row = Import(**values | fields)
    session.add(row)
    session.flush()
    return row


def packed(**fields: Any) -> Packed:
    """What an import's process says of what it made."""
    values: dict[str, Any] = {
        "sha256": SHA256,
        "archive_sha256": SHA256,
        "archive_size": 10,
        "index_sha256": SHA256,
        "task_type": "object_detection",
        "format": "yolo",
        "classes": ["zero", "one"],
        "counts": {"images": {"train": 1}, "instances": {"train": 2}, "classes": {"zero": 2}},
        "statistics": {"images": {"train": 1}},
    }
    return Packed(**values | fields)


def job_config(**fields: Any) -> dict[str, Any]:
    values = {"epochs": 3, "batch_size": 8, "learning_rate": 0.003, "image_size": 64, "seed": 0, "workers": 0}
    return values | {"weights": "scratch", "save_period": 1, "hyperparameters": {}} | fields


def job(session: Session, **fields: Any) -> Job:
    """A pending job on a new dataset."""
    if "dataset_id" not in fields:
        fields["dataset_id"] = dataset(session).id
    values = {
        "name": "digits yolo11n",
        "framework": "ultralytics",
        "task_type": "object_detection",
        "model_name": "yolo11n",
        "dataset_version": 1,
        "config": job_config(),
        "status": JobStatus.PENDING,
        "created_at": NOW,
        "updated_at": NOW,
    }
    row = Job(**values | fields)
    session.add(row)
    session.flush()
    return row


def attempt(session: Session, **fields: Any) -> Attempt:
    """An attempt with the token `token(job_id, number)`; without `job_id`, of a new starting job.

    The job's newest attempt becomes this one where it was older.
    """
    if "job_id" not in fields:
        fields["job_id"] = job(session, status=JobStatus.STARTING).id
    number = fields.setdefault("number", 1)
    values = {
        "token_hash": hash_token(token(fields["job_id"], number)),
        "slots": ["cpu:0"],
        "created_at": NOW,
        "launched_at": NOW,
    }
    row = Attempt(**values | fields)
    session.add(row)
    owner = session.get_one(Job, row.job_id)
    owner.attempt = max(owner.attempt, number)
    session.flush()
    return row


def token(job_id: int, number: int = 1) -> str:
    return f"token-of-job-{job_id}-attempt-{number}"


def event(sequence: int = 1, type: str = "metrics", **fields: Any) -> dict[str, Any]:
    """A valid report of the type, as a trainer sends it."""
    common = {"sequence": sequence, "time": "2026-11-23T10:00:00Z", "type": type}
    return common | EVENT_FIELDS[type] | fields


EVENT_FIELDS: dict[str, dict[str, Any]] = {
    "status": {"status": "running"},
    "progress": {"phase": "train", "epoch": 1, "epochs": 3, "step": 2, "steps": 10, "eta_seconds": 12.5},
    "metrics": {"epoch": 1, "values": {"train/box_loss": 1.5}},
    "system": {"cpu_percent": 50.0, "memory_bytes": 1000},
    "validation": {"epoch": 1, "primary": {"name": "mAP50-95", "value": 0.5}, "metrics": {"mAP50": 0.75}},
    "checkpoint": {
        "kind": "last",
        "key": "checkpoints/job-1/attempt-1/1-ab.pt",
        "sha256": SHA256,
        "size": 9,
        "epoch": 1,
    },
    "artifact": {"kind": "plot", "name": "PR curve", "key": "artifacts/job-1/pr.png", "sha256": SHA256, "size": 9},
    "run": {"mlflow_run_id": "f" * 32},
    "warning": {"code": "MLFLOW_UNAVAILABLE", "message": "MLflow did not answer"},
}
