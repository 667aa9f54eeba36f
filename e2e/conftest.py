"""Stacks to train on. Each is started once for the tests that share it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.api import Api
from e2e.backend import running_backend
from e2e.sample import Sample, make_sample
from e2e.stores import Witness, local_witness, minio_settings, postgresql, s3_server, s3_witness

NO_MLFLOW = "http://127.0.0.1:9"  # nothing listens on the discard port: connections are refused


@dataclass(frozen=True)
class Stack:
    """A running platform and an independent witness of what is in its bucket."""

    name: str
    api: Api
    data_dir: Path
    witness: Witness


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="session")
def detection(sample_folder: Path) -> Sample:
    return make_sample(sample_folder, "object_detection")


@contextmanager
def local_stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """The embedded defaults: SQLite and a local folder."""
    with running_backend(folder, **settings) as api:
        yield Stack("local", api, folder, local_witness(folder))


@contextmanager
def minio_stack(folder: Path) -> Iterator[Stack]:
    """PostgreSQL and an S3 server, with an MLflow that refuses connections."""
    with ExitStack() as stack:
        credentials = stack.enter_context(s3_server("us-east-1"))
        settings = minio_settings(credentials) | {"DATABASE_URL": stack.enter_context(postgresql(folder / "pg"))}
        api = stack.enter_context(running_backend(folder, **settings, MLFLOW_TRACKING_URI=NO_MLFLOW))
        yield Stack("minio", api, folder, s3_witness(credentials))
