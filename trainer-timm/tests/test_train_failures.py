"""How attempts fail: each with its own code, the traceback of its cause, and a trainer that ends in order."""

import errno
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint import load_checkpoint, save_weights
from conftest import contract_validator
from failures import failure_of
from tinysets import CLASSES, picture, store_files
from trainings import ONE_EPOCH, Event, Training, environment_for, train_here
from utils import TrainerFailure

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process


def attempt(folder: Path, **changes: str) -> Training:
    return train_here(folder, environment_for(folder, **{**ONE_EPOCH, **changes}))


def failure_in(folder: Path, **changes: str) -> Event:
    """How an attempt fails that does."""
    ended = attempt(folder, **changes)
    assert contract_validator("events", "event").is_valid(ended.of_type("status")[-1])
    return ended.failure


def test_same_seed_gives_the_same_losses(finished: Training, folder: Path) -> None:
    assert attempt(folder, EPOCHS="3", SEED="5").losses == finished.losses
    assert attempt(folder, ATTEMPT="2", EPOCHS="3", SEED="6").losses != finished.losses


def test_dataset_missing_if_it_is_not_there(folder: Path) -> None:
    assert failure_in(folder, DATASET_ID="nowhere")["code"] == "DATASET_MISSING"


def test_dataset_digest_mismatch_if_it_is_another(folder: Path) -> None:
    failure = failure_in(folder, DATASET_VERSION="1", DATASET_SHA256="0" * 64)
    assert failure["code"] == "DATASET_DIGEST_MISMATCH"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_dataset_invalid_if_an_image_cannot_be_read(folder: Path, workers: str) -> None:
    good = {f"{split}/{name}/1.png": picture(CLASSES["red"]) for split in ("train", "val") for name in "ab"}
    store_files(folder / "bucket", {**good, "train/b/2.png": b"no picture"})
    failure = failure_in(folder, WORKERS=workers)
    assert failure["code"] == "DATASET_INVALID"
    assert failure["message"].startswith("train/b/2.png: 2.png is not an image")
    assert "Traceback" in failure["traceback"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train/a/1.png", "train/b/1.png"], "no folder val"),
        (["train/a/1.png", "val/a/1.png"], "nothing to tell apart"),
        (["train/a/1.png", "train/b/1.png", "val/c/1.png"], "val has classes that train has not: c"),
        (["train/a/1.png", "train/b/1.txt", "val/a/1.png"], "no image in train/b"),
        (["train/a/1.png", "train/b/1.png", "val/a/1.txt"], "no image in val"),
    ],
)
def test_dataset_invalid_if_its_folders_are_not_as_they_should_be(folder: Path, names: list[str], words: str) -> None:
    store_files(folder / "bucket", {name: picture(CLASSES["red"]) for name in names})
    failure = failure_in(folder)
    assert failure["code"] == "DATASET_INVALID" and words in failure["message"]


def test_nan_loss_if_training_diverges(finished: Training, finished_copy: Path) -> None:
    best = load_checkpoint(finished.bucket / finished.pointer("best")["key"])
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in best.weights.items()}
    save_weights(finished_copy / "bucket/nan.safetensors", broken, best.description)
    failure = failure_in(finished_copy, WEIGHTS="nan.safetensors", JOB_ID="13")
    assert failure["code"] == "NAN_LOSS" and "LEARNING_RATE" in failure["hint"]
    assert not (finished_copy / "bucket/checkpoints/job-13").exists()  # nothing of it was stored


def test_bad_configuration_if_the_model_cannot_have_that_size(folder: Path) -> None:
    failure = failure_in(folder, MODEL_NAME="test_vit", IMAGE_SIZE="40")
    assert failure["code"] == "BAD_CONFIGURATION" and "IMAGE_SIZE" in failure["hint"]


def test_bad_configuration_if_there_is_no_such_gpu(folder: Path) -> None:
    failure = failure_in(folder, DEVICE="99")
    assert failure["code"] == "BAD_CONFIGURATION" and "cuda:99" in failure["message"]


def test_disk_full_if_a_checkpoint_cannot_be_written(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # no file may be larger than a state is
    try:
        failure = failure_in(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failure["code"] == "DISK_FULL", failure


def test_framework_crash_if_something_unforeseen_happens(folder: Path) -> None:
    (folder / "work-1").mkdir()
    (folder / "work-1/train").touch()  # where a folder should be
    failure = failure_in(folder)
    assert failure["code"] == "FRAMEWORK_CRASH" and "Traceback" in failure["traceback"]


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


def _gpu_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _known() -> None:
    raise TrainerFailure("STALLED", "as it is")


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (_torch_out_of_memory, "OUT_OF_MEMORY"),
        (_numpy_out_of_memory, "OUT_OF_MEMORY"),
        (_gpu_out_of_memory, "OUT_OF_MEMORY"),
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
