"""A request becomes a job that can run, or one refusal that names every field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import Invalid
from app.schemas.jobs import JobCreate
from app.services.submission import resolve
from app.trainers import Catalogue, load_catalogue
from tests import factories
from tests.test_trainers import make_trainer_yaml, write_trainer


@pytest.fixture
def session(sqlite_url: str) -> Iterator[Session]:
    database = Database(sqlite_url)
    with database.write_session() as session:
        factories.dataset(session, id="ds-00000001", name="digits")
        factories.dataset(session, id="ds-00000002", name="poses", task_type="pose_estimation")
        yield session
    database.dispose()


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    momentum = {"type": "number", "minimum": 0, "maximum": 1}
    optimizer = {"type": "string", "enum": ["SGD", "AdamW"]}
    schema = {"type": "object", "properties": {"momentum": momentum, "optimizer": optimizer}}
    task = make_trainer_yaml()["tasks"]["object_detection"]
    write_trainer(tmp_path, hyperparameters=schema, tasks={"object_detection": task, "pose_estimation": task})
    return load_catalogue(tmp_path)


def make_request(**changes: Any) -> JobCreate:
    values = {"framework": "example", "task_type": "object_detection", "model_name": "tiny", "dataset_id": "digits"}
    return JobCreate(**values | changes)


def _refusals(session: Session, catalogue: Catalogue, gpu_slots: int = 0, **changes: Any) -> dict[str, dict[str, Any]]:
    with pytest.raises(Invalid) as caught:
        resolve(session, make_request(**changes), catalogue, gpu_slots)
    fields: list[dict[str, Any]] = caught.value.details["fields"]
    assert all(f"{field['field']}={field['value']!r}" in caught.value.message for field in fields)
    return {field["field"]: field for field in fields}


def test_defaults_of_the_task_fill_what_is_left_out(session: Session, catalogue: Catalogue) -> None:
    job = resolve(session, make_request(), catalogue, gpu_slots=0)
    assert (job.dataset_id, job.dataset_version, job.name) == ("ds-00000001", 1, "digits tiny")
    assert job.config == {
        **{"epochs": 10, "batch_size": 8, "learning_rate": 0.001, "image_size": 640, "seed": None, "workers": None},
        **{"weights": "pretrained", "save_period": None, "hyperparameters": {}},
    }


def test_values_of_the_request_win(session: Session, catalogue: Catalogue) -> None:
    asked = {"epochs": 2, "learning_rate": 0.5, "seed": 0, "weights": "scratch", "hyperparameters": {"momentum": 0.5}}
    job = resolve(session, make_request(name="mine", **asked), catalogue, gpu_slots=0)
    assert job.name == "mine"
    assert {name: job.config[name] for name in asked} == asked


def test_dataset_is_found_by_its_id_too(session: Session, catalogue: Catalogue) -> None:
    assert resolve(session, make_request(dataset_id="ds-00000001"), catalogue, 0).dataset_id == "ds-00000001"


def test_newest_version_is_taken_if_none_is_named(session: Session, catalogue: Catalogue) -> None:
    factories.dataset_version(session, dataset_id="ds-00000001", version=2, sha256="cd" * 32)
    session.expire_all()
    assert resolve(session, make_request(), catalogue, 0).dataset_version == 2
    assert resolve(session, make_request(dataset_version=1), catalogue, 0).dataset_version == 1


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"framework": "yolo"}, "framework", "example"),
        ({"model_name": "tinny"}, "model_name", "choose tiny"),
        ({"dataset_id": "nothing"}, "dataset_id", "neither the id nor the name"),
        ({"dataset_id": "poses"}, "dataset_id", "is a dataset for pose_estimation"),
        ({"dataset_version": 7}, "dataset_version", "choose 1"),
        ({"image_size": 100}, "image_size", "choose 96, 128"),
        ({"weights": "best.pt"}, "weights", "neither 'pretrained' nor 'scratch'"),
        ({"weights": "weights/../../etc/passwd"}, "weights", "'..' segment"),
        ({"weights": "/etc/passwd"}, "weights", "not relative"),
        ({"hyperparameters": {"momemtum": 1}}, "hyperparameters.momemtum", "choose momentum"),
        ({"hyperparameters": {"momentum": 2}}, "hyperparameters.momentum", "2 is greater than the maximum of 1"),
        ({"hyperparameters": {"optimizer": "auto"}}, "hyperparameters.optimizer", "'AdamW'"),
        ({"hyperparameters": {"optimizer": "x" * 70_000}}, "hyperparameters", "65536 bytes"),
        ({"gpus": 1}, "gpus", "more than this machine has (0)"),
    ],
)
def test_value_is_refused_by_name_with_what_is_allowed(
    session: Session, catalogue: Catalogue, changes: dict[str, Any], field: str, words: str
) -> None:
    refusals = _refusals(session, catalogue, **changes)
    assert list(refusals) == [field]
    assert words in refusals[field]["message"]


def test_task_is_refused_if_the_trainer_does_not_offer_it(session: Session, catalogue: Catalogue) -> None:
    refusals = _refusals(session, catalogue, task_type="image_classification")
    assert refusals["task_type"]["allowed"] == ["object_detection", "pose_estimation"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_in_hyperparameters_is_refused_if_not_finite(
    session: Session, catalogue: Catalogue, value: float
) -> None:
    request = make_request().model_copy(update={"hyperparameters": {"momentum": [value]}})
    with pytest.raises(Invalid, match=r"hyperparameters\.momentum\.0='-?(nan|inf)' is not a finite number"):
        resolve(session, request, catalogue, 0)


def test_nesting_without_end_is_refused(session: Session, catalogue: Catalogue) -> None:
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    request = make_request().model_copy(update={"hyperparameters": {"momentum": deep}})
    with pytest.raises(Invalid, match="nested too deeply"):
        resolve(session, request, catalogue, 0)


def test_every_problem_is_named_at_once(session: Session, catalogue: Catalogue) -> None:
    wrong: dict[str, Any] = {
        "model_name": "x",
        "dataset_id": "y",
        "image_size": 33,
        "weights": "z",
        "hyperparameters": {"a": 1},
    }
    assert set(_refusals(session, catalogue, gpus=3, **wrong)) == {
        *("model_name", "dataset_id", "image_size", "weights", "hyperparameters.a", "gpus")
    }


def test_one_gpu_is_chosen_if_the_machine_has_one(session: Session, catalogue: Catalogue) -> None:
    assert resolve(session, make_request(), catalogue, gpu_slots=4).gpus == 1
    assert resolve(session, make_request(gpus=0), catalogue, gpu_slots=4).gpus == 0


def test_gpus_are_refused_if_the_trainer_cannot_use_so_many(session: Session, catalogue: Catalogue) -> None:
    assert "can use (1)" in _refusals(session, catalogue, gpu_slots=4, gpus=2)["gpus"]["message"]


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"epochs": 1.5}, {"epochs": "3"}, {"batch_size": 0}, {"learning_rate": 0}]
    + [{"learning_rate": value} for value in (float("nan"), float("inf"), -0.1)],
)
def test_number_is_refused_before_anything_is_looked_up(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        make_request(**changes)
