"""Shared by the trainer's tests: a recording backend, a configuration with every field defaulted, the contract."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from recorder import Recorder
from s3 import REPOSITORY, S3Server, s3_server
from tinysets import store_dataset
from trainings import ONE_EPOCH, Training, environment_for, train_here
from utils import TrainConfig

BUCKETS = ["vision", "other", "kills"]
CONTRACTS = REPOSITORY / "contracts"
TOKEN = "attempt-token-that-nobody-else-may-see"

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    backend = Recorder()
    yield backend
    backend.close()


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """A TrainConfig with folders under tmp_path; give what matters to the test."""

    def make(**changes: Any) -> TrainConfig:
        fields: dict[str, Any] = {
            "job_id": 12,
            "task_type": "object_detection",
            "model_name": "yolo11n",
            "dataset_id": "digits",
            "dataset_version": None,
            "dataset_sha256": None,
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 0.01,
            "image_size": 64,
            "device": None,
            "workers": None,
            "seed": None,
            "weights": "scratch",
            "hyperparameters": {},
            "attempt": 1,
            "resume": None,
            "resume_sha256": None,
            "save_period": None,
            "grace_period": 30,
            "callback_url": None,
            "token": TOKEN,
            "work_dir": tmp_path / "work",
            "cache_dir": tmp_path / "cache",
            "cache_limit_bytes": 50 * 2**30,
            "mlflow_tracking_uri": None,
            "mlflow_experiment_name": None,
            "mlflow_run_id": None,
        }
        config = TrainConfig(**{**fields, **changes})
        config.work_dir.mkdir(parents=True, exist_ok=True)
        return config

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A completed job of one epoch. Not to be changed: see `finished_copy`."""
    folder = tmp_path_factory.mktemp("finished")
    store_dataset(folder / "bucket", "object_detection")
    training = train_here(folder, environment_for(folder, **ONE_EPOCH))
    assert training.exit_code == 0
    return training


@pytest.fixture
def finished_copy(finished: Training, tmp_path: Path) -> Path:
    """A folder with the bucket of a completed job."""
    shutil.copytree(finished.bucket, tmp_path / "bucket")
    return tmp_path


@pytest.fixture(scope="session")
def minio_server() -> Iterator[S3Server]:
    with s3_server("us-east-1", BUCKETS) as server:
        yield server


@pytest.fixture(scope="session")
def r2_server() -> Iterator[S3Server]:
    with s3_server("auto", BUCKETS) as server:
        yield server


def contract_validator(name: str, definition: str | None = None) -> Draft202012Validator:
    """Of contracts/{name}.schema.json, or of one of its definitions; formats are checked."""
    schema = json.loads((CONTRACTS / f"{name}.schema.json").read_text())
    if definition:
        schema = {"$defs": schema["$defs"], "$ref": f"#/$defs/{definition}"}
    return Draft202012Validator(schema, format_checker=FORMATS)


FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", ValueError)
def _is_rfc3339(value: object) -> bool:
    """With its zone; jsonschema itself checks times only with another package at hand."""
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)
