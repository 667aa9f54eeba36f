"""What is continued, and what is refused because Ultralytics would quietly start anew or train something else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import framework
import pytest
import torch
from tinysets import CLASSES, store_dataset
from trainings import ONE_EPOCH, Event, Training, environment_for, load_content, train_here
from utils import _file_sha256

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

Content = dict[str, Any]


def resume(folder: Path, kind: str = "last", task_type: str = "object_detection", **changes: str) -> Training:
    """A second attempt that continues what `kind` names."""
    key = json.loads((folder / f"bucket/checkpoints/job-12/{kind}.json").read_text())["key"]
    environment = environment_for(folder, task_type, **ONE_EPOCH | {"ATTEMPT": "2", "RESUME": key} | changes)
    return train_here(folder, environment)


def refusal(folder: Path, kind: str = "last", task_type: str = "object_detection", **changes: str) -> str:
    """Why an attempt does not continue; nothing of it was trained or stored."""
    ended = resume(folder, kind, task_type, **changes)
    assert ended.failure["code"] == "RESUME_INVALID"
    assert not ended.of_type("metrics", "checkpoint")
    return str(ended.failure["message"])


def change_checkpoint(folder: Path, kind: str, change: Callable[[Content], None]) -> Event:
    """Store another content for a pointer; returns what the pointer says then."""
    pointer_path = folder / f"bucket/checkpoints/job-12/{kind}.json"
    pointer: Event = json.loads(pointer_path.read_text())
    path = folder / "bucket" / pointer["key"]
    content = load_content(path)
    change(content)
    torch.save(content, path)
    pointer |= {"sha256": _file_sha256(path), "size": path.stat().st_size, "epoch": content["epoch"] + 1}
    pointer_path.write_text(json.dumps(pointer))
    return pointer


def test_refused_if_the_checkpoint_is_stripped(finished_copy: Path) -> None:
    assert "holds weights alone, without optimizer" in refusal(finished_copy, "best")


def test_refused_if_the_checkpoint_has_no_epoch(finished_copy: Path) -> None:
    change_checkpoint(finished_copy, "last", lambda content: content.update(epoch=-1))
    assert "holds weights alone, without its epoch" in refusal(finished_copy)


def test_refused_if_the_checkpoint_is_damaged(finished_copy: Path) -> None:
    key = json.loads((finished_copy / "bucket/checkpoints/job-12/last.json").read_text())["key"]
    path = finished_copy / "bucket" / key
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cannot be loaded" in refusal(finished_copy)


def test_refused_if_other_parameters_are_asked_for(finished_copy: Path) -> None:
    message = refusal(finished_copy, EPOCHS="3", LEARNING_RATE="0.5")
    assert "epochs was 1 and is 3, lr0 was 0.002 and is 0.5" in message


def test_refused_if_fewer_epochs_are_asked_for_than_were_trained(finished_copy: Path) -> None:
    def trained_for_three(content: Content) -> None:
        content["epoch"] = 2
        content["train_args"]["epochs"] = 3

    change_checkpoint(finished_copy, "last", trained_for_three)
    assert "epochs was 3 and is 1" in refusal(finished_copy)


@pytest.mark.parametrize("model", ["yolo11s", "yolov8n"])
def test_refused_if_it_is_another_model(finished_copy: Path, model: str) -> None:
    assert f"MODEL_NAME was 'yolo11n' and is '{model}'" in refusal(finished_copy, MODEL_NAME=model)


def test_refused_if_it_is_another_task(finished_copy: Path) -> None:
    message = refusal(finished_copy, task_type="instance_segmentation", MODEL_NAME="yolo11n-seg")
    assert "task was 'detect' and is 'segment'" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([*CLASSES, "green"], "2 classes, and the dataset has 3: red, blue against red, blue, green"),
        (["red", "green"], "2 classes, and the dataset has 2: red, blue against red, green"),
    ],
)
def test_refused_if_the_dataset_has_other_classes(finished_copy: Path, names: list[str], words: str) -> None:
    store_dataset(finished_copy / "bucket", "object_detection", names=names)
    assert words in refusal(finished_copy)


@pytest.fixture(scope="module")
def finished_again(finished: Training, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Event]:
    """Resumes when every epoch was done: the attempt before was lost while it stored its results.

    Of `best` only an older and worse one was stored in time. With what `last` said before.
    """
    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(finished.bucket, folder / "bucket")
    (folder / "bucket/checkpoints/job-12/best.pt").unlink()
    change_checkpoint(folder, "best", lambda content: content["train_metrics"].update(fitness=-1.0))
    last = change_checkpoint(folder, "last", lambda content: content["train_metrics"].update(fitness=0.5))
    return resume(folder), last


def test_results_are_finished_if_every_epoch_was_done(
    finished_again: tuple[Training, Event], finished: Training
) -> None:
    ended, before = finished_again[0], finished.of_type("validation")[-1]
    assert (ended.exit_code, ended.statuses, ended.losses) == (0, ["running", "completed"], [])
    [validation] = ended.of_type("validation")
    assert (validation["epoch"], validation["metrics"]) == (1, before["metrics"])
    assert validation["artifact"]
    assert (ended.bucket / "checkpoints/job-12/best.pt").exists()


def test_last_becomes_best_if_the_better_one_was_not_stored_in_time(finished_again: tuple[Training, Event]) -> None:
    ended, last = finished_again
    first = next(event for event in ended.of_type("checkpoint") if event["kind"] == "best")
    assert (first["epoch"], first["sha256"]) == (1, last["sha256"])


def test_images_come_in_an_order_of_their_own_if_training_is_resumed(finished: Training) -> None:
    """Else each attempt would show the first epoch's order and augmentations again."""
    from ultralytics.data.build import build_dataloader

    def order(start_epoch: int) -> list[int]:
        loader = build_dataloader(range(50), batch=5, workers=0, shuffle=True)
        arguments = SimpleNamespace(seed=5, deterministic=True)
        framework.reseed(SimpleNamespace(args=arguments, start_epoch=start_epoch, train_loader=loader))
        return [int(number) for batch in loader for number in batch]

    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == list(range(50))
