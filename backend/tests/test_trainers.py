"""The catalogue reads good trainer folders and names what is wrong with the others."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import REPOSITORY
from app.trainers import load_catalogue
from app.words import TaskType


def make_trainer_yaml(**changes: Any) -> dict[str, Any]:
    defaults = {"epochs": 10, "batch_size": 8, "learning_rate": 0.001, "image_size": 640}
    task = {"primary_metric": "mAP50-95", "defaults": defaults, "models": [{"name": "tiny"}, {"name": "small"}]}
    momentum = {"type": "number", "minimum": 0, "maximum": 1, "default": 0.9}
    return {
        "name": "example",
        "title": "Example",
        "version": "1.0",
        "contract": 1,
        "license": "Apache-2.0",
        "commands": {"train": ["python", "train.py"], "predict": ["python", "predict.py"]},
        "tasks": {"object_detection": task},
        "hyperparameters": {"type": "object", "properties": {"momentum": momentum}},
    } | changes


def write_trainer(root: Path, folder: str = "trainer-example", text: str | None = None, **changes: Any) -> Path:
    path = root / folder
    path.mkdir()
    (path / "trainer.yaml").write_text(yaml.safe_dump(make_trainer_yaml(**changes)) if text is None else text)
    return path


def test_trainer_is_read_with_its_tasks_and_models(tmp_path: Path) -> None:
    folder = write_trainer(tmp_path)
    catalogue = load_catalogue(tmp_path)
    trainer = catalogue.trainers["example"]
    assert catalogue.problems == []
    assert (trainer.folder, trainer.max_gpus) == (folder, 1)
    assert trainer.tasks["object_detection"].model_names == ["tiny", "small"]


def test_python_is_the_backends_own_if_the_folder_has_no_environment(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    trainer = load_catalogue(tmp_path).trainers["example"]
    assert trainer.command("train") == [sys.executable, "train.py"]


def test_python_is_the_folders_own_if_it_has_an_environment(tmp_path: Path) -> None:
    python = write_trainer(tmp_path) / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    trainer = load_catalogue(tmp_path).trainers["example"]
    assert trainer.command("predict") == [str(python), "predict.py"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contract": 2}, "contract: 1 was expected"),
        ({"name": "Not A Name"}, "name: 'Not A Name' does not match"),
        ({"tasks": {}}, "tasks: "),
        ({"tasks": {"juggling": {}}}, "juggling"),
        ({"commands": {"train": ["python"]}}, "commands: 'predict' is a required property"),
        ({"extra": 1}, "'extra' was unexpected"),
        ({"hyperparameters": {"type": "number-ish"}}, "hyperparameters is not a JSON Schema"),
        ({"hyperparameters": {"properties": {"a": {"type": "number", "default": "x"}}}}, "hyperparameters.a.default"),
        ({"hyperparameters": {"properties": {"a": {"$ref": "http://127.0.0.1:1/a"}}}}, "http://127.0.0.1:1/a"),
    ],
)
def test_folder_becomes_a_problem_if_its_file_breaks_the_contract(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_trainer(tmp_path, "trainer-broken", **changes)
    write_trainer(tmp_path)
    catalogue = load_catalogue(tmp_path)
    assert list(catalogue.trainers) == ["example"]
    assert [problem.folder for problem in catalogue.problems] == ["trainer-broken"]
    assert reason in catalogue.problems[0].reason


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.getcwd []", "\x00", "", "[" * 5000, "a: .nan"])
def test_folder_becomes_a_problem_if_its_file_is_not_plain_yaml(text: str, tmp_path: Path) -> None:
    write_trainer(tmp_path, "trainer-broken", text=text)
    catalogue = load_catalogue(tmp_path)
    assert catalogue.trainers == {}
    assert len(catalogue.problems) == 1


def test_second_folder_becomes_a_problem_if_the_name_is_taken(tmp_path: Path) -> None:
    first = write_trainer(tmp_path, "trainer-a")
    write_trainer(tmp_path, "trainer-b")
    catalogue = load_catalogue(tmp_path)
    assert catalogue.trainers["example"].folder == first
    assert [problem.folder for problem in catalogue.problems] == ["trainer-b"]
    assert "trainer-a" in catalogue.problems[0].reason


def test_every_trainer_of_this_repository_is_in_the_catalogue() -> None:
    catalogue = load_catalogue(REPOSITORY)
    assert catalogue.problems == []
    assert "ultralytics" in catalogue.trainers
    for trainer in catalogue.trainers.values():
        assert set(trainer.tasks) <= set(TaskType)


MORE: dict[str, Any] = {
    "tiny": {"parameters_millions": 1.5, "pretrained": {"a": "mit"}},
    "big": {"parameters_millions": 99.0, "pretrained": {"a": None, "b": "cc-by-nc-4.0"}, "non_commercial": ["b"]},
}


def write_trainer_with_more(root: Path, text: str) -> None:
    task = make_trainer_yaml()["tasks"]["object_detection"]
    folder = write_trainer(root, tasks={"object_detection": {**task, "more_models": "models.json"}})
    (folder / "models.json").write_text(text)


def test_more_models_may_be_chosen_than_are_recommended(tmp_path: Path) -> None:
    write_trainer_with_more(tmp_path, json.dumps({"models": MORE}))
    task = load_catalogue(tmp_path).trainers["example"].tasks["object_detection"]
    assert task.model_names == ["tiny", "small", "big"] and task.model_count == 3
    assert [task.offers(name) for name in ("small", "big", "big.b", "big.c", "small.a", "huge", "big.")] == [
        *(True, True, True),
        *(False, False, False, False),
    ]
    assert [model["name"] for model in task.find_models()] == ["tiny", "small", "big"]
    assert task.find_models("BI G") == [{"name": "big", "recommended": False, **MORE["big"]}]
    assert task.find_models("tiny")[0]["recommended"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "models.json is not readable JSON"),
        ('{"models": {"a": {"colour": 1}}}', "models.a: "),
        ('{"models": {"../a": {}}}', "'../a' does not match"),
        ("[]", "models.json: "),
    ],
)
def test_folder_becomes_a_problem_if_its_further_models_break_the_contract(
    text: str, reason: str, tmp_path: Path
) -> None:
    write_trainer_with_more(tmp_path, text)
    [problem] = load_catalogue(tmp_path).problems
    assert problem.folder == "trainer-example" and reason in problem.reason
