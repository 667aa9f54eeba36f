"""How attempts fail: each with its own code, the traceback of its cause, and a trainer that ends in order.

These attempts run in this process, one after another: importing torch for each would take most of the time.
"""

import errno
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import contract_validator
from failures import failure_of
from tinysets import store_dataset, store_files
from train import Attempt, read_config
from trainings import ADAM, ONE_EPOCH, Training, environment_for, train_here
from utils import TrainerFailure

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

Event = dict[str, Any]


def attempt(folder: Path, **changes: str) -> Training:
    """One epoch of a tiny training in this process; the bucket and the work folder are in `folder`."""
    return train_here(folder, environment_for(folder, **ONE_EPOCH | changes))


def failure_in(folder: Path, **changes: str) -> Event:
    """How an attempt fails that does."""
    ended = attempt(folder, **changes)
    assert contract_validator("events", "event").is_valid(ended.of_type("status")[-1])
    return ended.failure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a dataset in its bucket."""
    store_dataset(tmp_path / "bucket", "object_detection")
    return tmp_path


def checkpoint_key(folder: Path, kind: str) -> str:
    return str(json.loads((folder / f"bucket/checkpoints/job-12/{kind}.json").read_text())["key"])


@pytest.mark.slow
def test_same_seed_gives_the_same_losses(finished: Training, folder: Path) -> None:
    assert attempt(folder).losses == finished.losses


@pytest.mark.slow
def test_another_seed_gives_other_losses(finished: Training, folder: Path) -> None:
    assert attempt(folder, SEED="6").losses != finished.losses


def test_pretrained_weights_come_from_storage(finished_copy: Path) -> None:
    """With all but the head frozen, what was stored is what comes out."""
    stored = finished_copy / "bucket/weights/ultralytics/yolo11n.pt"
    stored.parent.mkdir(parents=True)
    (finished_copy / "bucket/checkpoints/job-12/best.pt").rename(stored)
    hyperparameters = json.dumps({**ADAM, "freeze": 23})
    ended = attempt(finished_copy, JOB_ID="13", WEIGHTS="pretrained", HYPERPARAMETERS=hyperparameters, SEED="6")
    assert ended.exit_code == 0
    before, after = (
        torch.load(path, weights_only=False)["model"].state_dict()
        for path in (stored, finished_copy / "bucket/checkpoints/job-13/best.pt")
    )
    frozen = [name for name in before if not name.startswith("model.23.")]
    assert len(frozen) > 100
    assert all(torch.equal(before[name], after[name]) for name in frozen)


def test_weights_missing_if_neither_storage_nor_hub_has_them(folder: Path) -> None:
    failure = failure_in(folder, WEIGHTS="pretrained")
    assert failure["code"] == "WEIGHTS_MISSING"
    assert "weights/ultralytics/yolo11n.pt" in failure["hint"]


def test_weights_missing_if_the_hub_cannot_be_reached(folder: Path) -> None:
    failure = failure_in(folder, WEIGHTS="pretrained", YOLO_OFFLINE="", HTTPS_PROXY="http://127.0.0.1:9")
    assert failure["code"] == "WEIGHTS_MISSING"
    assert "hub does not answer" in failure["message"] and "github.com" in failure["message"]


@pytest.mark.parametrize(
    ("key", "data", "words"),
    [
        ("weights/mine.pt", None, "weights/mine.pt is not in the storage"),
        ("weights/mine.pt", b"no weights", "cannot be loaded"),
        ("weights/mine.yaml", b"activation: __import__('os').mkdir('evil')", "does not end in .pt"),
    ],
)
def test_weights_missing_if_they_are_no_weights(folder: Path, key: str, data: bytes | None, words: str) -> None:
    (folder / "bucket/weights").mkdir()
    if data:
        (folder / "bucket" / key).write_bytes(data)
    failure = failure_in(folder, WEIGHTS=key)
    assert failure["code"] == "WEIGHTS_MISSING"
    assert words in failure["message"]
    assert not Path("evil").exists()


def test_checkpoint_missing_if_it_is_not_there(folder: Path) -> None:
    assert failure_in(folder, RESUME="checkpoints/job-12/attempt-1/no.pt")["code"] == "CHECKPOINT_MISSING"


def test_dataset_missing_if_it_is_not_there(folder: Path) -> None:
    assert failure_in(folder, DATASET_ID="nowhere")["code"] == "DATASET_MISSING"


def test_dataset_digest_mismatch_if_it_is_another(folder: Path) -> None:
    failure = failure_in(folder, DATASET_VERSION="1", DATASET_SHA256="0" * 64)
    assert failure["code"] == "DATASET_DIGEST_MISMATCH"


def test_dataset_invalid_if_images_cannot_be_read(folder: Path) -> None:
    broken = {f"images/{split}/{n}.png": b"no picture" for split in ("train", "val") for n in range(3)}
    store_files(folder / "bucket", {"data.yaml": b"names: [a]", **broken})
    failure = failure_in(folder)
    assert failure["code"] == "DATASET_INVALID"
    assert "No valid images" in failure["message"]
    assert "Traceback" in failure["traceback"]


def test_nan_loss_if_training_diverges(finished_copy: Path) -> None:
    bucket, before = finished_copy / "bucket", checkpoint_key(finished_copy, "last")
    content = torch.load(bucket / "checkpoints/job-12/best.pt", weights_only=False)
    for weights in content["model"].parameters():
        weights.data.fill_(torch.nan)
    torch.save(content, bucket / "nan.pt")
    failure = failure_in(finished_copy, WEIGHTS="nan.pt")
    assert failure["code"] == "NAN_LOSS"
    assert "LEARNING_RATE" in failure["hint"]
    assert checkpoint_key(finished_copy, "last") == before  # nothing of it was stored


def test_disk_full_if_a_checkpoint_cannot_be_written(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # no file may be larger than a checkpoint is
    try:
        failure = failure_in(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failure["code"] == "DISK_FULL"
    assert "File too large" in failure["message"]


def test_framework_crash_if_something_unforeseen_happens(folder: Path) -> None:
    (folder / "work-1").mkdir()
    (folder / "work-1/train").touch()  # where a folder should be
    failure = failure_in(folder)
    assert failure["code"] == "FRAMEWORK_CRASH"
    assert "Traceback" in failure["traceback"] and "ultralytics" in failure["traceback"]


def test_stopped_if_something_breaks_while_stopping(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_for(folder, GRACE_PERIOD="3600").items():
            patch.setenv(name, value)
        ended = Attempt(read_config())
        ended.reporter.request_stop()
        patch.delenv("STORAGE_PATH")
        assert ended.run() == 3
    lines = (folder / "work-1/outbox.jsonl").read_text().splitlines()
    assert json.loads(lines[-1].partition(" ")[2])["status"] == "stopped"


def _torch_out_of_memory() -> None:
    torch.empty(2**60)


def _numpy_out_of_memory() -> None:
    np.empty(2**50)


def _disk_full() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def _wrapped_disk_full() -> None:
    try:
        _disk_full()
    except OSError as error:
        raise RuntimeError("could not save") from error


def _quota() -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def _known() -> None:
    raise TrainerFailure("STALLED", "as it is")


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (_torch_out_of_memory, "OUT_OF_MEMORY"),
        (_numpy_out_of_memory, "OUT_OF_MEMORY"),
        (_disk_full, "DISK_FULL"),
        (_wrapped_disk_full, "DISK_FULL"),
        (_quota, "DISK_FULL"),
        (_known, "STALLED"),
        (lambda: 1 / 0, "FRAMEWORK_CRASH"),
    ],
)
def test_exception_has_its_code(fail: Callable[[], object], code: str) -> None:
    with pytest.raises(Exception) as caught:
        fail()
    failure = failure_of(caught.value)
    assert failure.code == code
    assert failure is caught.value or failure.__cause__ is caught.value


def test_gpu_out_of_memory_has_its_code() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert failure_of(error).code == "OUT_OF_MEMORY"


def test_nothing_is_downloaded_but_weights(finished: Training) -> None:
    from ultralytics.utils import downloads

    with pytest.raises(ConnectionError, match="this trainer is offline"):
        downloads.attempt_download_asset("yolo11n.pt")
