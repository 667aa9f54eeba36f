"""Each of the other tasks, trained for real: its own layout, losses, metrics and checkpoint."""

import json

import pytest
import yaml
from catalogue import load_catalogue
from checkpoint import load_model
from conftest import contract_validator
from tinysets import CLASSES, POSE, SPLITS, store_dataset
from trainings import Training, environment_for, load_content, train_here

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

BOXES = {"precision", "recall", "mAP50", "mAP50-95"}
METRICS = {
    "instance_segmentation": {f"{part}/{name}" for part in ("box", "mask") for name in BOXES},
    "pose_estimation": {f"{part}/{name}" for part in ("box", "pose") for name in BOXES},
    "oriented_object_detection": BOXES,
    "image_classification": {"top1", "top5"},
}
LOSSES = {
    "instance_segmentation": "train/seg_loss",
    "pose_estimation": "train/pose_loss",
    "oriented_object_detection": "train/angle_loss",
    "image_classification": "train/loss",
}
TRUE_OBJECTS = SPLITS["val"] // len(CLASSES)


@pytest.fixture(scope="module", params=sorted(METRICS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Training]:
    folder = tmp_path_factory.mktemp(request.param)
    store_dataset(folder / "bucket", request.param)
    return request.param, train_here(folder, environment_for(folder, request.param, EPOCHS="1"))


def test_completed_within_the_contract(trained: tuple[str, Training]) -> None:
    _, training = trained
    assert training.exit_code == 0, training.output
    assert training.statuses == ["running", "completed"]
    validator = contract_validator("events", "event")
    assert [error.message for event in training.events for error in validator.iter_errors(event)] == []


def test_metrics_have_the_names_of_the_task(trained: tuple[str, Training]) -> None:
    task_type, training = trained
    primary = load_catalogue()["tasks"][task_type]["primary_metric"]
    assert LOSSES[task_type] in {name for event in training.of_type("metrics") for name in event["values"]}
    for event in training.of_type("validation"):
        assert set(event["metrics"]) == METRICS[task_type]
        assert event["primary"] == {"name": primary, "value": event["metrics"][primary]}


def test_best_is_chosen_by_the_primary_metric(trained: tuple[str, Training]) -> None:
    """The fitness in a checkpoint is what the next attempt compares with."""
    training = trained[1]
    [validation] = [event for event in training.of_type("validation") if "artifact" not in event]
    content = load_content(training.bucket / training.pointer("last")["key"])
    assert content["best_fitness"] == content["train_metrics"]["fitness"] == validation["primary"]["value"]


def test_each_class_has_a_row(trained: tuple[str, Training]) -> None:
    for event in trained[1].of_type("validation"):
        assert [(row["class_name"], row["instances"]) for row in event["per_class"]] == [
            (name, TRUE_OBJECTS) for name in sorted(CLASSES, key=lambda name: _position(name, trained[0]))
        ]


def test_curves_hold_the_confusion_matrix(trained: tuple[str, Training]) -> None:
    task_type, training = trained
    content = json.loads((training.bucket / training.of_type("validation")[-1]["artifact"]).read_text())
    matrix = content["confusion_matrix"]
    background = [] if task_type == "image_classification" else ["background"]
    assert matrix["labels"] == [*content["names"], *background]
    columns = [sum(column) for column in zip(*matrix["matrix"], strict=True)]
    assert columns[: len(CLASSES)] == [TRUE_OBJECTS] * len(CLASSES)
    parts = {curve["name"].partition("/")[0] for curve in content["curves"] if "/" in curve["name"]}
    assert parts == {name.partition("/")[0] for name in METRICS[task_type] if "/" in name}


def test_best_is_a_model_of_its_task(trained: tuple[str, Training]) -> None:
    task_type, training = trained
    model = load_model(training.bucket / "checkpoints/job-12/best.pt", task_type, training.work_dir)
    assert sorted(model.names.values()) == sorted(CLASSES)


def test_keypoints_are_all_that_is_taken_beside_names(trained: tuple[str, Training]) -> None:
    task_type, training = trained
    described = training.work_dir / "data.yaml"
    if task_type == "image_classification":
        assert not described.exists()
    else:
        content = yaml.safe_load(described.read_text())
        keypoints = POSE if task_type == "pose_estimation" else {}
        assert {name: value for name, value in content.items() if name not in ("path", "train", "val", "names")} == (
            keypoints
        )


def _position(name: str, task_type: str) -> int:
    """Classification orders classes by the names of their folders."""
    return (sorted(CLASSES) if task_type == "image_classification" else list(CLASSES)).index(name)
