"""One job over attempts that resume one another: stopped by the platform, interrupted by a signal, completed."""

import json
import os
import socket
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from environment import prepare_ultralytics
from recorder import Recorder, status
from tinysets import store_dataset
from trainings import Event, Training, ask_to_stop, environment_for, interrupt, train
from utils import _file_sha256

EPOCHS, LEARNING_RATE = 8, 0.002
HYPERPARAMETERS = {"optimizer": "AdamW", "warmup_epochs": 0, "nbs": 2}  # a step of the optimizer every batch


def job(folder: Path, attempt: int, **changes: str) -> dict[str, str]:
    return environment_for(
        folder,
        ATTEMPT=str(attempt),
        EPOCHS=str(EPOCHS),
        BATCH_SIZE="2",
        LEARNING_RATE=str(LEARNING_RATE),
        SAVE_PERIOD="100",
        GRACE_PERIOD="20",
        HYPERPARAMETERS=json.dumps(HYPERPARAMETERS),
        **changes,
    )


def validated(count: int, events: list[Event]) -> bool:
    return len([event for event in events if event["type"] == "validation"]) >= count


def load(path: Path) -> dict[str, Any]:
    prepare_ultralytics(path.parent)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return content


def epochs_of(training: Training, *types: str) -> list[int]:
    return [event["epoch"] for event in training.of_type(*types) if "artifact" not in event]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopping")
    store_dataset(folder / "bucket", "object_detection")
    return folder


@pytest.fixture(scope="module")
def stopped(folder: Path) -> tuple[Training, dict[str, Any]]:
    """Asked by the platform in its third epoch. With the content of its `last`."""
    environment = job(folder, 1, MLFLOW_TRACKING_URI="http://127.0.0.1:9")  # where nobody answers
    training = train(folder, environment, lambda events: validated(2, events), ask_to_stop)
    return training, load(training.bucket / training.pointer("last")["key"])


@pytest.fixture(scope="module")
def interrupted(folder: Path, stopped: tuple[Training, Any]) -> tuple[Training, Event, dict[str, Any]]:
    """Resumes what the platform names, and gets SIGTERM. With its `last` and what is in it."""
    last = stopped[0].pointer("last")
    environment = job(folder, 2, RESUME=last["key"], RESUME_SHA256=last["sha256"])
    training = train(folder, environment, lambda events: validated(1, events), interrupt)
    return training, training.pointer("last"), load(training.bucket / training.pointer("last")["key"])


@pytest.fixture(scope="module")
def unbeatable(folder: Path, interrupted: tuple[Training, Any, Any]) -> Event:
    """A stored best, made so good that no later epoch can be better. Its pointer."""
    pointer, bucket = interrupted[0].pointer("best"), folder / "bucket"
    content = load(bucket / pointer["key"])
    content["train_metrics"]["fitness"] = 2.0
    pointer["key"] = "checkpoints/job-12/attempt-2/unbeatable.pt"
    torch.save(content, bucket / pointer["key"])
    pointer |= {"sha256": _file_sha256(bucket / pointer["key"]), "size": (bucket / pointer["key"]).stat().st_size}
    (bucket / "checkpoints/job-12/best.json").write_text(json.dumps(pointer))
    return pointer


@pytest.fixture(scope="module")
def completed(folder: Path, unbeatable: Event) -> Training:
    """Follows the `last` pointer by itself, as from a terminal."""
    return train(folder, job(folder, 3, RESUME="auto"))


@pytest.fixture(scope="module")
def completed_again(folder: Path, completed: Training) -> Training:
    """An attempt that resumes when every epoch is done: the one before was lost while it stored its results."""
    return train(folder, job(folder, 4, RESUME="auto"))


@pytest.fixture(params=["stopped", "interrupted"])
def ended_early(request: pytest.FixtureRequest) -> Training:
    training: Training = request.getfixturevalue(request.param)[0]
    return training


def test_stopped_is_reported_with_exit_code_3_in_time(ended_early: Training) -> None:
    assert ended_early.exit_code == 3, ended_early.output
    assert ended_early.statuses == ["running", "stopped"]
    assert ended_early.times["ended"] - ended_early.times["stopped"] < 15


def test_mlflow_that_refuses_costs_one_warning_and_no_time(stopped: tuple[Training, Any]) -> None:
    assert [event["code"] for event in stopped[0].of_type("warning")] == ["MLFLOW_UNAVAILABLE"]


def test_partial_epoch_is_neither_validated_nor_saved(ended_early: Training) -> None:
    completed = epochs_of(ended_early, "validation")
    assert completed[-1] < EPOCHS
    trained = {event["epoch"] for event in ended_early.of_type("metrics") if "lr" in event["values"]}
    assert trained - {completed[-1] + 1} == set(completed)  # it may have been stopped while it validated
    assert max(epochs_of(ended_early, "checkpoint")) == completed[-1]


def test_newest_completed_last_is_stored_when_stopping(stopped: tuple[Training, Any]) -> None:
    training, content = stopped
    [last] = [event["epoch"] for event in training.of_type("checkpoint") if event["kind"] == "last"]
    assert last == content["epoch"] + 1 == epochs_of(training, "validation")[-1]
    assert content["optimizer"] and content["ema"] and content["updates"]


def test_resumed_attempt_begins_with_the_interrupted_epoch(
    stopped: tuple[Training, Any], interrupted: tuple[Training, Any, Any], completed: Training
) -> None:
    for before, after in pairwise((stopped[0], interrupted[0], completed)):
        assert epochs_of(after, "validation")[0] == epochs_of(before, "validation")[-1] + 1
    assert epochs_of(completed, "validation")[-1] == EPOCHS


def test_learning_rate_goes_on_where_it_was(interrupted: tuple[Training, Any, Any], completed: Training) -> None:
    for training in (interrupted[0], completed):
        for event in training.of_type("metrics"):
            if "lr" in event["values"]:
                fraction = (event["epoch"] - 1) / EPOCHS
                assert event["values"]["lr"] == pytest.approx(LEARNING_RATE * (1 - fraction * (1 - 0.01)))


def test_optimizer_and_average_are_restored(
    stopped: tuple[Training, dict[str, Any]], interrupted: tuple[Training, Event, dict[str, Any]]
) -> None:
    def steps(content: dict[str, Any]) -> int:
        return int(max(state["step"] for state in content["optimizer"]["state"].values()))

    first, second = stopped[1], interrupted[2]
    epochs = second["epoch"] - first["epoch"]
    assert epochs >= 1
    assert steps(second) >= steps(first) + epochs
    assert steps(second) == second["updates"]


def test_best_of_earlier_attempts_stays_if_nothing_beats_it(completed: Training, unbeatable: Event) -> None:
    assert completed.exit_code == 0, completed.output
    assert {event["epoch"] for event in completed.of_type("checkpoint") if event["kind"] == "best"} == {
        unbeatable["epoch"]
    }
    assert completed.pointer("best")["epoch"] == completed.of_type("validation")[-1]["epoch"] == unbeatable["epoch"]


def test_results_of_all_attempts_are_in_the_plot(completed: Training) -> None:
    rows = (completed.work_dir / "train/results.csv").read_text().splitlines()[1:]
    assert [int(float(row.split(",")[0])) for row in rows] == list(range(1, EPOCHS + 1))


def test_last_of_the_final_epoch_can_be_resumed(completed: Training) -> None:
    content = load(completed.bucket / completed.pointer("last")["key"])
    assert content["epoch"] + 1 == EPOCHS
    assert content["optimizer"]


def test_results_are_finished_if_every_epoch_was_done(completed_again: Training, unbeatable: Event) -> None:
    assert completed_again.exit_code == 0, completed_again.output
    assert completed_again.statuses == ["running", "completed"]
    assert not [event for event in completed_again.of_type("metrics") if "lr" in event["values"]]
    [validation] = completed_again.of_type("validation")
    assert (validation["epoch"], "artifact" in validation) == (unbeatable["epoch"], True)
    assert (completed_again.bucket / "checkpoints/job-12/best.pt").exists()


def test_superseded_attempt_ends_with_4_and_touches_no_storage(tmp_path: Path) -> None:
    store_dataset(tmp_path / "bucket", "object_detection")
    backend = Recorder()
    backend.script.extend([status(409)] * 3)
    training = train(tmp_path, job(tmp_path, 1), recorder=backend)
    assert training.exit_code == 4, training.output
    assert training.events == []
    assert {path.name for path in (tmp_path / "bucket").iterdir()} == {"datasets"}


def test_stopped_within_the_grace_period_if_the_main_thread_is_stuck(tmp_path: Path) -> None:
    asked = threading.Event()

    def take(server: socket.socket) -> None:
        connection, _ = server.accept()
        asked.set()
        connection.recv(1)
        connection.makefile("rb").read()  # until the trainer has gone
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:  # a storage that takes a request and never answers
        thread = threading.Thread(target=take, args=(server,))
        thread.start()
        environment = job(tmp_path, 1) | {
            "STORAGE_TYPE": "minio",
            "MINIO_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}",
            "MINIO_ACCESS_KEY": "access",
            "MINIO_SECRET_KEY": "secret",
            "GRACE_PERIOD": "4",
            "PATH": os.environ["PATH"],
        }
        training = train(tmp_path, environment, lambda events: asked.is_set(), interrupt)
        thread.join()
    assert training.exit_code == 3, training.output
    assert training.statuses == ["running", "stopped"]
    assert training.times["ended"] - training.times["stopped"] < 4
