"""A training from start to end: what it reports, what it stores, and that it learned."""

import json
from pathlib import Path

import pytest
import torch
from checkpoint import load_checkpoint
from conftest import contract_validator
from images import read_image
from safetensors import safe_open
from trainings import Training, environment_for, train_here

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process


def test_every_report_keeps_the_contract(finished: Training) -> None:
    validator = contract_validator("events", "event")
    assert [error.message for event in finished.events for error in validator.iter_errors(event)] == []
    assert finished.statuses == ["running", "completed"]


def test_every_epoch_reports_its_progress_numbers_and_classes(finished: Training) -> None:
    values = {k: v for event in finished.of_type("metrics") if event["epoch"] == 2 for k, v in event["values"].items()}
    assert set(values) == {"train/loss", "lr", "val/loss"}
    [second] = [event for event in finished.of_type("validation") if event["epoch"] == 2 and "artifact" not in event]
    assert set(second["metrics"]) == {"top1", "top5", "macro_f1"}
    assert [row["class_name"] for row in second["per_class"]] == ["blue", "red"]
    assert {"precision", "recall", "f1", "support"} <= set(second["per_class"][0])
    steps = [e for e in finished.of_type("progress") if e["phase"] == "train" and "step" in e]
    assert {step["epoch"] for step in steps} == {1, 2, 3}
    assert steps[0]["steps"] == 2 and steps[0]["epochs"] == 3 and "eta_seconds" in steps[0]


def test_two_colours_are_learned(finished: Training) -> None:
    assert finished.pointer("best")["metrics"]["top1"] == 1.0


def test_the_best_model_has_its_confusion_matrix_and_samples_as_artifacts(finished: Training) -> None:
    kinds = {(event["kind"], event["name"]) for event in finished.of_type("artifact")}
    assert {("curves", "curves.json"), ("plot", "confusion_matrix.png"), ("sample_predictions", "right.jpg")} <= kinds
    last = finished.of_type("validation")[-1]
    matrix = json.loads((finished.bucket / last["artifact"]).read_text())["confusion_matrix"]
    assert matrix["labels"] == ["blue", "red"] and sum(map(sum, matrix["matrix"])) == 4
    stored = {event["name"]: finished.bucket / event["key"] for event in finished.of_type("artifact")}
    assert all(read_image(path).width > 100 for name, path in stored.items() if not name.endswith(".json"))
    [first, *_] = json.loads(stored["samples.json"].read_text())["right"]
    assert first["true"] == first["predicted"] in ("blue", "red") and first["image"].startswith(f"val/{first['true']}/")


def test_best_says_how_to_use_itself(finished: Training) -> None:
    path = finished.bucket / finished.pointer("best")["key"]
    assert path.suffix == ".safetensors"
    assert (finished.bucket / "checkpoints/job-12/best.safetensors").read_bytes() == path.read_bytes()
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["vision-platform"])
    assert described["architecture"] == "test_convnext" and described["class_names"] == ["blue", "red"]
    assert described["input_size"] == [3, 32, 32] and len(described["mean"]) == len(described["std"]) == 3
    assert described["metrics"] == finished.pointer("best")["metrics"]


def test_last_holds_everything_and_needs_no_pickle(finished: Training) -> None:
    pointer = finished.pointer("last")
    state = torch.load(finished.bucket / pointer["key"], weights_only=True)
    assert state["epoch"] == pointer["epoch"] == 3
    assert {"model", "ema", "optimizer", "scaler", "random", "arguments", "description"} <= set(state)
    assert isinstance(state["random"]["python"][1], list) and isinstance(state["random"]["torch"], list)
    assert load_checkpoint(finished.bucket / pointer["key"]).class_names == ("blue", "red")


def test_superseded_checkpoints_are_gone(finished: Training) -> None:
    kept = {finished.pointer(kind)["key"] for kind in ("best", "last")}
    stored = (finished.bucket / "checkpoints/job-12/attempt-1").iterdir()
    assert {str(path.relative_to(finished.bucket)) for path in stored} == kept


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step", "constant"])
def test_learning_rate_is_obeyed(folder: Path, schedule: str) -> None:
    chosen = json.dumps({"schedule": schedule, "warmup_epochs": 0})
    ended = train_here(folder, environment_for(folder, EPOCHS="1", LEARNING_RATE="0.0625", HYPERPARAMETERS=chosen))
    [first] = [event["values"]["lr"] for event in ended.of_type("metrics") if "lr" in event["values"]]
    assert ended.exit_code == 0
    assert first == 0.0625 if schedule == "constant" else 0 < first <= 0.0625


def test_best_follows_the_metric_that_was_chosen(folder: Path) -> None:
    ended = train_here(folder, environment_for(folder, EPOCHS="1", HYPERPARAMETERS='{"primary_metric": "macro_f1"}'))
    assert {event["primary"]["name"] for event in ended.of_type("validation")} == {"macro_f1"}


def test_every_part_of_the_recipe_works_together(folder: Path) -> None:
    recipe = {"ema_decay": 0.9, "mixup": 0.2, "cutmix": 1.0, "layer_decay": 0.8, "clip_grad": 1.0, "accumulate": 2}
    more = {"freeze_epochs": 1, "class_balance": 1.0, "channels_last": True, "random_erasing": 0.3, "optimizer": "sgd"}
    augment = {"auto_augment": "rand-m9-mstd0.5-inc1", "drop_rate": 0.1, "drop_path_rate": 0.1, "vflip": 0.5}
    chosen = json.dumps({**recipe, **more, **augment})
    environment = environment_for(folder, BATCH_SIZE="3", WORKERS="2", SEED="1", HYPERPARAMETERS=chosen)
    ended = train_here(folder, environment)
    assert ended.exit_code == 0 and len(ended.losses) == 2
    state = torch.load(ended.bucket / ended.pointer("last")["key"], weights_only=True)
    assert state["ema"] and not torch.equal(state["ema"]["head.fc.weight"], state["model"]["head.fc.weight"])


def test_training_ends_early_if_nothing_gets_better(folder: Path) -> None:
    """With a learning rate of next to nothing."""
    chosen = json.dumps({"patience": 2, "warmup_epochs": 0})
    ended = train_here(folder, environment_for(folder, EPOCHS="50", LEARNING_RATE="1e-12", HYPERPARAMETERS=chosen))
    assert ended.exit_code == 0 and ended.statuses[-1] == "completed"
    assert len(ended.losses) == 3 and ended.pointer("best")["epoch"] == 1 and ended.pointer("last")["epoch"] == 3
