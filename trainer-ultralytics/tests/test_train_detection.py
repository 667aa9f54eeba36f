"""One real detection training, with a hostile dataset and no way out, looked at from every side."""

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import contract_validator
from tinysets import CLASSES, SPLITS, store_dataset
from trainings import TRAINER, Training, environment_for, train
from utils import _file_sha256

EPOCHS, LEARNING_RATE, LRF = 3, 0.002, 0.5
HYPERPARAMETERS = {"optimizer": "SGD", "warmup_epochs": 0, "lrf": LRF, "mosaic": 0}


class Trap:
    """A proxy that lets nobody through and counts who tried."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.connections += 1
            connection.close()


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def hostile_label_cache(marker: Path) -> bytes:
    data = io.BytesIO()
    np.save(data, np.array(Touch(marker), dtype=object), allow_pickle=True)
    return data.getvalue()


@pytest.fixture(scope="module")
def trap() -> Trap:
    return Trap()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, trap: Trap) -> Iterator[Training]:
    folder = tmp_path_factory.mktemp("detection")
    cache = hostile_label_cache(folder / "unpickled")
    download = f"import os; os.mkdir({str(folder / 'downloaded')!r})"
    extra = {"labels/train.cache": cache, "labels/val.cache": cache}
    store_dataset(folder / "bucket", "object_detection", extra, download=download, path="/nowhere", channels=1)
    yield train(
        folder,
        environment_for(
            folder,
            EPOCHS=str(EPOCHS),
            LEARNING_RATE=str(LEARNING_RATE),
            SAVE_PERIOD="2",
            SEED="7",
            WORKERS="2",
            IMAGE_SIZE="50",
            HYPERPARAMETERS=json.dumps(HYPERPARAMETERS),
            HTTP_PROXY=trap.url,
            HTTPS_PROXY=trap.url,
            NO_PROXY="127.0.0.1",
            ULTRALYTICS_API_KEY="ul_" + "0" * 40,
        ),
    )


def test_completed(training: Training) -> None:
    assert training.exit_code == 0, training.output
    assert training.statuses == ["running", "completed"]


def test_every_event_keeps_the_contract(training: Training) -> None:
    validator = contract_validator("events", "event")
    assert [error.message for event in training.events for error in validator.iter_errors(event)] == []
    assert [event["sequence"] for event in training.events] == list(range(1, len(training.events) + 1))


def test_every_epoch_is_told_once_and_no_other(training: Training) -> None:
    losses = [event["epoch"] for event in training.of_type("metrics") if "train/box_loss" in event["values"]]
    validations = [event["epoch"] for event in training.of_type("validation") if "artifact" not in event]
    assert losses == validations == [1, 2, 3]
    assert max(event.get("epoch") or 0 for event in training.events) == EPOCHS


def test_losses_and_validation_losses_have_their_names(training: Training) -> None:
    names = {name for event in training.of_type("metrics") for name in event["values"]}
    kinds = ("box_loss", "cls_loss", "dfl_loss")
    assert names == {"lr", *(f"{split}/{kind}" for split in ("train", "val") for kind in kinds)}


def test_learning_rate_is_obeyed(training: Training) -> None:
    rates = [event["values"]["lr"] for event in training.of_type("metrics") if "lr" in event["values"]]
    assert rates == pytest.approx([LEARNING_RATE * (1 - epoch / EPOCHS * (1 - LRF)) for epoch in range(EPOCHS)])


def test_progress_is_told_at_most_once_a_second(training: Training) -> None:
    ticks: dict[Any, list[datetime]] = {}
    for event in training.of_type("progress"):
        if "step" in event:
            key = event["phase"], event.get("epoch")
            ticks.setdefault(key, []).append(datetime.fromisoformat(event["time"]))
    assert {(phase, epoch) for phase in ("train", "validate") for epoch in (1, 2, 3)} <= set(ticks)
    gaps = [(later - earlier).total_seconds() for times in ticks.values() for earlier, later in pairwise(times)]
    assert all(gap >= 0.99 for gap in gaps)


def test_progress_counts_steps_and_epochs(training: Training) -> None:
    [first] = [e for e in training.of_type("progress") if e["phase"] == "train" and e.get("epoch") == 1]
    assert {name: first[name] for name in ("epoch", "epochs", "step", "steps")} == {
        "epoch": 1,
        "epochs": EPOCHS,
        "step": 1,
        "steps": SPLITS["train"] // 4,
    }
    assert first["eta_seconds"] > 0


def test_each_phase_tells_its_seconds_once(training: Training) -> None:
    ended = [event["phase"] for event in training.of_type("progress") if "seconds" in event]
    assert sorted(ended) == ["download", "prepare", "train", "upload", "validate"]


def test_dataset_is_fetched_while_the_framework_is_imported(training: Training) -> None:
    def first(phase: str, ended: bool) -> int:
        matches = [e for e in training.of_type("progress") if e["phase"] == phase and ("seconds" in e) is ended]
        return int(matches[0]["sequence"])

    assert first("prepare", False) < first("download", False) < first("download", True) < first("prepare", True)
    [prepared] = [e["seconds"] for e in training.of_type("progress") if e["phase"] == "prepare" and "seconds" in e]
    [fetched] = [e["seconds"] for e in training.of_type("progress") if e["phase"] == "download" and "seconds" in e]
    assert fetched < prepared


def test_each_class_has_a_row(training: Training) -> None:
    for event in training.of_type("validation"):
        assert [(row["class_id"], row["class_name"]) for row in event["per_class"]] == list(enumerate(CLASSES))
        assert [(row["images"], row["instances"]) for row in event["per_class"]] == [(2, 2), (2, 2)]
        assert set(event["metrics"]) == {"precision", "recall", "mAP50", "mAP50-95"}
        assert event["primary"] == {"name": "mAP50-95", "value": event["metrics"]["mAP50-95"]}
        assert set(event["metrics"]) < set(event["per_class"][0])


def test_last_is_stored_every_save_period_and_at_the_end(training: Training) -> None:
    assert [event["epoch"] for event in training.of_type("checkpoint") if event["kind"] == "last"] == [2, 3]


def test_only_the_current_checkpoints_stay_and_are_whole(training: Training) -> None:
    folder = training.bucket / "checkpoints" / "job-12"
    pointers = {kind: training.pointer(kind) for kind in ("best", "last")}
    stored = {str(path.relative_to(training.bucket)) for path in (folder / "attempt-1").iterdir()}
    assert stored == {pointer["key"] for pointer in pointers.values()}
    for pointer in pointers.values():
        assert _file_sha256(training.bucket / pointer["key"]) == pointer["sha256"]
    assert _file_sha256(folder / "best.pt") == pointers["best"]["sha256"]
    assert pointers["best"]["size"] * 1.5 < pointers["last"]["size"]  # without the optimizer


@pytest.mark.slow
def test_best_is_loaded_by_ultralytics_as_a_stranger_would(training: Training) -> None:
    image = next((training.work_dir / "train").glob("val_batch0_labels.jpg"))
    command = [sys.executable, str(TRAINER / "tests/load_checkpoint.py"), "best.pt", str(image)]
    folder = training.bucket / "checkpoints/job-12"
    environment = {"PATH": os.environ["PATH"], "HOME": str(training.work_dir), "YOLO_OFFLINE": "true"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert (found["task"], found["names"], found["scale"]) == ("detect", list(CLASSES), "n")


def test_curves_come_once_for_the_best_model(training: Training) -> None:
    [artifact] = [event for event in training.of_type("artifact") if event["kind"] == "curves"]
    last_validation = training.of_type("validation")[-1]
    assert last_validation["artifact"] == artifact["key"]
    assert last_validation["epoch"] == artifact["epoch"] == training.pointer("best")["epoch"]
    content = json.loads((training.bucket / artifact["key"]).read_text())
    assert content["names"] == list(CLASSES)
    assert {curve["name"] for curve in content["curves"]} >= {"Precision-Recall", "F1-Confidence"}
    for curve in content["curves"]:
        assert [line["class_name"] for line in curve["classes"]] == list(CLASSES)
        assert all(len(line["y"]) == len(curve["x"]) for line in curve["classes"])


def test_confusion_matrix_holds_every_object_of_the_split(training: Training) -> None:
    [artifact] = [event for event in training.of_type("artifact") if event["kind"] == "curves"]
    matrix = json.loads((training.bucket / artifact["key"]).read_text())["confusion_matrix"]
    assert matrix["labels"] == [*CLASSES, "background"]
    assert [sum(column) for column in zip(*matrix["matrix"], strict=True)][:2] == [2, 2]


def test_plots_and_sample_predictions_are_stored(training: Training) -> None:
    stored = {(event["kind"], event["name"]) for event in training.of_type("artifact")}
    plots = ("results.png", "labels.jpg", "confusion_matrix.png")
    assert {("plot", name) for name in plots} | {("sample_predictions", "val_batch0_pred.jpg")} <= stored
    for event in training.of_type("artifact"):
        assert _file_sha256(training.bucket / event["key"]) == event["sha256"]


def test_run_tells_versions_and_hardware(training: Training) -> None:
    [run] = [event for event in training.of_type("run") if "versions" in event]
    assert run["versions"]["ultralytics"] == "8.4.190"
    assert run["hardware"]["device"] == "cpu"
    assert run["hardware"]["workers"] == 0


def test_what_is_not_obeyed_is_said(training: Training) -> None:
    warnings = {event["code"]: event["message"] for event in training.of_type("warning")}
    assert set(warnings) == {"WORKERS_IGNORED", "IMAGE_SIZE_ROUNDED"}
    assert "WORKERS=2" in warnings["WORKERS_IGNORED"]
    assert "IMAGE_SIZE=50" in warnings["IMAGE_SIZE_ROUNDED"]


def test_nothing_of_the_dataset_is_executed(training: Training) -> None:
    folder = training.work_dir.parent
    assert not (folder / "unpickled").exists()
    assert not (folder / "downloaded").exists()
    described = yaml.safe_load((training.work_dir / "data.yaml").read_text())
    assert set(described) == {"path", "train", "val", "names"}


def test_the_hostile_label_cache_would_have_worked(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        pickle.loads(pickle.dumps(Touch(tmp_path)))


def test_the_cached_dataset_is_not_written_to(training: Training) -> None:
    [dataset] = [path for path in (training.work_dir.parent / "cache/datasets").iterdir() if path.is_dir()]
    caches = [path.read_bytes() for path in dataset.rglob("*.cache")]
    assert caches == [hostile_label_cache(training.work_dir.parent / "unpickled")] * 2


def test_arguments_are_explicit(training: Training) -> None:
    arguments = yaml.safe_load((training.work_dir / "train/args.yaml").read_text())
    expected = {"optimizer": "SGD", "lr0": LEARNING_RATE, "pretrained": False, "seed": 7, "mosaic": 0, "project": None}
    assert {name: arguments[name] for name in expected} == expected
    for name in ("model", "data", "save_dir"):
        assert Path(arguments[name]).is_absolute() and Path(arguments[name]).exists()


def test_nobody_is_called_but_the_platform(training: Training, trap: Trap) -> None:
    assert trap.connections == 0


def test_ultralytics_keeps_its_configuration_in_the_work_folder(training: Training) -> None:
    assert (training.work_dir / "ultralytics/Ultralytics/settings.json").is_file()
    assert not list(training.work_dir.parent.glob(".config/**/settings.json"))
