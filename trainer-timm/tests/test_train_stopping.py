"""Asked to stop, a trainer leaves at the batch boundary with the newest completed epoch stored. Real processes."""

import json
from pathlib import Path

import pytest
import torch
from trainings import Event, ask_to_stop, environment_for, interrupt, train

LONG = {"EPOCHS": "100000", "SAVE_PERIOD": "1000", "GRACE_PERIOD": "8", "HYPERPARAMETERS": '{"patience": 0}'}


def after_epochs(count: int, events: list[Event]) -> bool:
    return sum(1 for event in events if event["type"] == "validation") >= count


def test_stopped_with_the_newest_epoch_if_terminated(folder: Path) -> None:
    ended = train(
        folder, environment_for(folder, WORKERS="1", **LONG), lambda events: after_epochs(3, events), interrupt
    )
    assert (ended.exit_code, ended.statuses) == (3, ["running", "stopped"]), ended.output
    assert ended.times["ended"] - ended.times["stopped"] < 8
    completed = max(event["epoch"] for event in ended.of_type("validation"))
    assert ended.pointer("last")["epoch"] in (completed - 1, completed)
    assert torch.load(ended.bucket / ended.pointer("last")["key"], weights_only=True)["epoch"] >= 3


@pytest.mark.slow
def test_stopped_if_the_platform_asks(folder: Path) -> None:
    ended = train(folder, environment_for(folder, **LONG), lambda events: after_epochs(1, events), ask_to_stop)
    assert (ended.exit_code, ended.statuses) == (3, ["running", "stopped"]), ended.output
    assert json.loads((ended.bucket / "checkpoints/job-12/last.json").read_text())["epoch"] >= 1


@pytest.mark.slow
def test_stopped_if_terminated_while_preparing(folder: Path) -> None:
    ended = train(folder, environment_for(folder, **LONG), lambda events: bool(events), interrupt)
    assert (ended.exit_code, ended.statuses) == (3, ["running", "stopped"]), ended.output


def test_refused_at_once_if_variables_are_wrong(folder: Path) -> None:
    wrong = {"MODEL_NAME": "resnet81", "DEVICE": "0,1", "HYPERPARAMETERS": '{"nope": 1, "mixup": -1}', "EPOCHS": "x"}
    ended = train(folder, environment_for(folder, WEIGHTS="a.pkl", **wrong))
    assert ended.exit_code == 2 and ended.events == []
    words = ("resnet18", "more than one GPU", "'nope' is unknown", "mixup: -1", "EPOCHS='x'", "WEIGHTS='a.pkl'")
    assert all(word in ended.output for word in words), ended.output
