"""One job over attempts that resume one another: interrupted by a signal, completed.

test_train_interrupted.py compares such a job with one that nothing interrupted.
"""

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import Recorder, status
from tinysets import store_dataset
from trainings import Event, Training, environment_for, interrupt, load_content, train, train_here
from utils import _file_sha256

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

EPOCHS, LEARNING_RATE = 6, 0.002
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


def epochs_of(training: Training, *types: str) -> list[int]:
    return [event["epoch"] for event in training.of_type(*types) if "artifact" not in event]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopping")
    store_dataset(folder / "bucket", "object_detection")
    return folder


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> tuple[Training, dict[str, Any]]:
    """Gets SIGTERM in its third epoch, or a little later. With the content of its `last`."""
    environment = job(folder, 1, MLFLOW_TRACKING_URI="http://127.0.0.1:9")  # where nobody answers
    training = train(folder, environment, lambda events: validated(2, events), interrupt)
    return training, load_content(training.bucket / training.pointer("last")["key"])


@pytest.fixture(scope="module")
def unbeatable(folder: Path, interrupted: tuple[Training, Any]) -> Event:
    """A stored best, made so good that no later epoch can be better. Its pointer."""
    pointer, bucket = interrupted[0].pointer("best"), folder / "bucket"
    content = load_content(bucket / pointer["key"])
    content["train_metrics"]["fitness"] = 2.0
    pointer["key"] = "checkpoints/job-12/attempt-1/unbeatable.pt"
    torch.save(content, bucket / pointer["key"])
    pointer |= {"sha256": _file_sha256(bucket / pointer["key"]), "size": (bucket / pointer["key"]).stat().st_size}
    (bucket / "checkpoints/job-12/best.json").write_text(json.dumps(pointer))
    return pointer


@pytest.fixture(scope="module")
def completed(folder: Path, unbeatable: Event) -> Training:
    """Follows the `last` pointer by itself, as from a terminal."""
    return train_here(folder, job(folder, 2, RESUME="auto"))


def test_stopped_is_reported_with_exit_code_3_in_time(interrupted: tuple[Training, Any]) -> None:
    ended = interrupted[0]
    assert ended.exit_code == 3, ended.output
    assert ended.statuses == ["running", "stopped"]
    assert ended.times["ended"] - ended.times["stopped"] < 15


def test_mlflow_that_refuses_costs_one_warning_and_no_time(interrupted: tuple[Training, Any]) -> None:
    assert [event["code"] for event in interrupted[0].of_type("warning")] == ["MLFLOW_UNAVAILABLE"]


def test_partial_epoch_is_neither_validated_nor_saved(interrupted: tuple[Training, Any]) -> None:
    ended = interrupted[0]
    completed = epochs_of(ended, "validation")
    assert completed[-1] < EPOCHS
    trained = {event["epoch"] for event in ended.of_type("metrics") if "lr" in event["values"]}
    assert trained - {completed[-1] + 1} == set(completed)  # it may have been stopped while it validated
    assert max(epochs_of(ended, "checkpoint")) == completed[-1]


def test_newest_completed_last_is_stored_when_stopping(interrupted: tuple[Training, Any]) -> None:
    training, content = interrupted
    [last] = [event["epoch"] for event in training.of_type("checkpoint") if event["kind"] == "last"]
    assert last == content["epoch"] + 1 == epochs_of(training, "validation")[-1]
    assert content["optimizer"] and content["ema"] and content["updates"]


def test_resumed_attempt_begins_with_the_interrupted_epoch(
    interrupted: tuple[Training, Any], completed: Training
) -> None:
    assert completed.exit_code == 0
    joined = epochs_of(interrupted[0], "validation") + epochs_of(completed, "validation")
    assert joined == list(range(1, EPOCHS + 1))


def test_learning_rate_goes_on_where_it_was(completed: Training) -> None:
    for event in completed.of_type("metrics"):
        if "lr" in event["values"]:
            fraction = (event["epoch"] - 1) / EPOCHS
            assert event["values"]["lr"] == pytest.approx(LEARNING_RATE * (1 - fraction * (1 - 0.01)))


def test_optimizer_and_average_are_restored(interrupted: tuple[Training, dict[str, Any]], completed: Training) -> None:
    def steps(content: dict[str, Any]) -> int:
        return int(max(state["step"] for state in content["optimizer"]["state"].values()))

    first, second = interrupted[1], load_content(completed.bucket / completed.pointer("last")["key"])
    epochs = second["epoch"] - first["epoch"]
    assert epochs >= 1
    assert steps(second) >= steps(first) + epochs
    assert steps(second) == second["updates"]


def test_best_of_earlier_attempts_stays_if_nothing_beats_it(completed: Training, unbeatable: Event) -> None:
    assert {event["epoch"] for event in completed.of_type("checkpoint") if event["kind"] == "best"} == {
        unbeatable["epoch"]
    }
    assert completed.pointer("best")["epoch"] == completed.of_type("validation")[-1]["epoch"] == unbeatable["epoch"]


def test_results_of_all_attempts_are_in_the_plot(completed: Training) -> None:
    rows = (completed.work_dir / "train/results.csv").read_text().splitlines()[1:]
    assert [int(float(row.split(",")[0])) for row in rows] == list(range(1, EPOCHS + 1))


def test_last_of_the_final_epoch_can_be_resumed(completed: Training) -> None:
    content = load_content(completed.bucket / completed.pointer("last")["key"])
    assert content["epoch"] + 1 == EPOCHS
    assert content["optimizer"]


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
