"""What train.py refuses, all at once, with exit code 2 and before torch is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from catalogue import find_problems, load_catalogue, with_defaults
from conftest import CONTRACTS
from trainings import TRAINER, environment_for

GOOD = {"TASK_TYPE": "object_detection", "MODEL_NAME": "yolo11n", "HYPERPARAMETERS": "{}", "IMAGE_SIZE": "32"}


def start(folder: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, str(TRAINER / "train.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_every_problem_is_told_at_once_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    wrong = {
        "MODEL_NAME": "yolo99n",
        "EPOCHS": "0",
        "LEARNING_RATE": "NaN",
        "BATCH_SIZE": "",
        "IMAGE_SIZE": "16",
        "DEVICE": "0,1",
        "HYPERPARAMETERS": '{"mosaic": 2, "optimiser": "SGD"}',
    }
    ended = start(tmp_path, environment_for(tmp_path) | wrong, "-X", "importtime")
    assert ended.returncode == 2
    problems = [line for line in ended.stderr.splitlines() if line.startswith("- ")]
    for name in ("MODEL_NAME='yolo99n'", "EPOCHS='0'", "LEARNING_RATE='NaN'", "BATCH_SIZE", "IMAGE_SIZE='16'"):
        assert [line for line in problems if name in line], ended.stderr
    assert [line for line in problems if "DEVICE='0,1'" in line and "more than one GPU" in line]
    assert [line for line in problems if "mosaic" in line and "maximum" in line]
    assert [line for line in problems if "'optimiser' is unknown" in line]
    assert len(problems) == 8
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "import time:" in line}
    assert "utils" in imported
    assert not imported & {"torch", "ultralytics", "numpy", "cv2"}


def test_bare_environment_names_what_is_required(tmp_path: Path) -> None:
    ended = start(tmp_path, {"PATH": os.environ["PATH"]})
    assert ended.returncode == 2
    for name in ("JOB_ID", "TASK_TYPE", "MODEL_NAME", "DATASET_ID", "EPOCHS", "STORAGE_TYPE", "STORAGE_BUCKET"):
        assert f"- {name} is missing" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"MODEL_NAME": "yolo11n-seg"}, "MODEL_NAME='yolo11n-seg' is not offered"),
        ({"TASK_TYPE": "image_classification"}, "choose yolo26n-cls"),
        ({"MODEL_NAME": "/tmp/evil.yaml"}, "is not offered"),
        ({"MODEL_NAME": "yolo11n.yaml"}, "is not offered"),
        ({"HYPERPARAMETERS": '{"optimizer": "auto"}'}, "'auto' is not one of"),
        ({"HYPERPARAMETERS": '{"model": "evil.yaml"}'}, "'model' is unknown"),
        ({"HYPERPARAMETERS": '{"freeze": "all"}'}, "freeze: 'all' is not of type 'integer'"),
        ({"HYPERPARAMETERS": '{"degrees": 1e999}'}, "degrees"),
        ({"HYPERPARAMETERS": "not JSON"}, None),
        ({"DEVICE": "cpu"}, None),
        ({"DEVICE": "3"}, None),
        ({"DEVICE": "cuda:0"}, None),
        ({"DEVICE": "cuda:0,cuda:1"}, "more than one GPU"),
        ({"DEVICE": "-1"}, "is not cpu, mps or the number of a GPU"),
        ({"IMAGE_SIZE": "31"}, "IMAGE_SIZE='31' is not between 32 and 8192"),
        ({"LEARNING_RATE": "1.5"}, "LEARNING_RATE='1.5' is not between 0 and 1"),
        ({"LEARNING_RATE": "-1"}, None),
        ({"LEARNING_RATE": "many"}, None),
        ({"SEED": "4294967295"}, "SEED='4294967295' is not between 0"),
    ],
)
def test_problem_is_found_if_it_is_not_offered(changes: dict[str, str], words: str | None) -> None:
    problems = find_problems(GOOD | changes)
    assert len(problems) == (1 if words else 0)
    assert words is None or words in problems[0]


def test_catalogue_keeps_the_contract() -> None:
    schema = json.loads((CONTRACTS / "trainer.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(load_catalogue())
    jsonschema.Draft202012Validator.check_schema(load_catalogue()["hyperparameters"])


def test_every_hyperparameter_is_described_and_its_default_allowed() -> None:
    schema = load_catalogue()["hyperparameters"]
    assert schema["additionalProperties"] is False
    jsonschema.Draft202012Validator(schema).validate(with_defaults({}))
    for name, field in schema["properties"].items():
        assert {"title", "description", "default", "x-group"} <= set(field), name
        assert field["x-group"] in ("common", "advanced")


def test_given_hyperparameters_replace_defaults() -> None:
    assert with_defaults({"mosaic": 0.25})["mosaic"] == 0.25
    assert with_defaults({"mosaic": 0.25})["optimizer"] == "AdamW"


def test_whole_numbers_are_integers_however_they_are_written() -> None:
    freeze = with_defaults(json.loads('{"freeze": 2.0}'))["freeze"]
    assert (freeze, type(freeze)) == (2, int)
