"""Shared by the trainer's tests: a recording backend, finished trainings, the contract."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import utils
from jsonschema import Draft202012Validator, FormatChecker
from recorder import Recorder
from tinysets import store_dataset
from trainings import TRAINER, Training, environment_for, train_here

CONTRACTS = TRAINER.parent / "contracts"


@pytest.fixture(scope="session", autouse=True)
def locks_are_let_go() -> Iterator[None]:
    """Of datasets, which a trainer holds until its process ends."""
    yield
    while utils._in_use:
        utils._in_use.pop().close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    backend = Recorder()
    yield backend
    backend.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a dataset in its bucket."""
    store_dataset(tmp_path / "bucket")
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A completed job of three epochs. Not to be changed: see `finished_copy`."""
    folder = tmp_path_factory.mktemp("finished")
    store_dataset(folder / "bucket")
    training = train_here(folder, environment_for(folder, EPOCHS="3", SEED="5", SAVE_PERIOD="1"))
    assert training.exit_code == 0
    return training


@pytest.fixture
def finished_copy(finished: Training, tmp_path: Path) -> Path:
    """A folder with the bucket of a completed job."""
    shutil.copytree(finished.bucket, tmp_path / "bucket")
    return tmp_path


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
