"""How attempts fail: each with its own code, the traceback of its cause, and a trainer that ends in order.

These attempts run in this process, one after another: importing torch for each would take most of the time.
"""

import errno
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import contract_validator
from failures import failure_of
from tinysets import store_dataset, store_files
from train import Attempt, read_config
from trainings import environment_for
from utils import TrainerFailure

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

Event = dict[str, Any]
ADAM = {"optimizer": "AdamW", "warmup_epochs": 0, "nbs": 4, "mosaic": 0}


@dataclass
class Ended:
    exit_code: int
    events: list[Event]

    def of_type(self, name: str) -> list[Event]:
        return [event for event in self.events if event["type"] == name]

    @property
    def failure(self) -> Event:
        status = self.of_type("status")[-1]
        assert (self.exit_code, status["status"]) == (1, "failed"), status
        assert contract_validator("events", "event").is_valid(status)
        failure: Event = status["failure"]
        return failure


def attempt(folder: Path, **changes: str) -> Ended:
    """One epoch of a tiny training in this process; the bucket and the work folder are in `folder`."""
    variables = {"EPOCHS": "1", "HYPERPARAMETERS": json.dumps(ADAM), "YOLO_OFFLINE": "true", **changes}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_for(folder, **variables).items():
            patch.setenv(name, value)
        config = read_config()
        code = Attempt(config).run()
    lines = (config.work_dir / "outbox.jsonl").read_text().splitlines()
    return Ended(code, [json.loads(line.partition(" ")[2]) for line in lines])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a dataset in its bucket."""
    store_dataset(tmp_path / "bucket", "object_detection")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A completed job. Not to be changed: see `finished_copy`."""
    folder = tmp_path_factory.mktemp("finished")
    store_dataset(folder / "bucket", "object_detection")
    ended = attempt(folder, SEED="5")
    assert ended.exit_code == 0
    return folder, ended


@pytest.fixture
def finished_copy(finished: tuple[Path, Ended], tmp_path: Path) -> Path:
    """A folder with the bucket of a completed job."""
    shutil.copytree(finished[0] / "bucket", tmp_path / "bucket")
    return tmp_path


def checkpoint_key(folder: Path, kind: str) -> str:
    return str(json.loads((folder / f"bucket/checkpoints/job-12/{kind}.json").read_text())["key"])


def losses(ended: Ended) -> list[float]:
    return [event["values"]["train/box_loss"] for event in ended.of_type("metrics") if "lr" in event["values"]]


def test_same_seed_gives_the_same_losses_and_another_seed_others(finished: tuple[Path, Ended], folder: Path) -> None:
    first = losses(finished[1])
    assert losses(attempt(folder, SEED="5")) == first
    assert losses(attempt(folder, SEED="6", ATTEMPT="2")) != first


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
    failure = attempt(folder, WEIGHTS="pretrained").failure
    assert failure["code"] == "WEIGHTS_MISSING"
    assert "weights/ultralytics/yolo11n.pt" in failure["hint"]


def test_weights_missing_if_the_hub_cannot_be_reached(folder: Path) -> None:
    failure = attempt(folder, WEIGHTS="pretrained", YOLO_OFFLINE="", HTTPS_PROXY="http://127.0.0.1:9").failure
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
    failure = attempt(folder, WEIGHTS=key).failure
    assert failure["code"] == "WEIGHTS_MISSING"
    assert words in failure["message"]
    assert not Path("evil").exists()


def test_resume_invalid_if_the_checkpoint_is_stripped(finished_copy: Path) -> None:
    failure = attempt(finished_copy, ATTEMPT="2", RESUME=checkpoint_key(finished_copy, "best")).failure
    assert failure["code"] == "RESUME_INVALID"
    assert "holds weights alone, without optimizer" in failure["message"]


def test_resume_invalid_if_other_parameters_are_asked_for(finished_copy: Path) -> None:
    key = checkpoint_key(finished_copy, "last")
    failure = attempt(finished_copy, ATTEMPT="2", RESUME=key, SEED="5", EPOCHS="3", LEARNING_RATE="0.5").failure
    assert failure["code"] == "RESUME_INVALID"
    assert "epochs was 1 and is 3, lr0 was 0.002 and is 0.5" in failure["message"]


def test_checkpoint_missing_if_it_is_not_there(folder: Path) -> None:
    assert attempt(folder, RESUME="checkpoints/job-12/attempt-1/no.pt").failure["code"] == "CHECKPOINT_MISSING"


def test_dataset_missing_if_it_is_not_there(folder: Path) -> None:
    assert attempt(folder, DATASET_ID="nowhere").failure["code"] == "DATASET_MISSING"


def test_dataset_digest_mismatch_if_it_is_another(folder: Path) -> None:
    failure = attempt(folder, DATASET_VERSION="1", DATASET_SHA256="0" * 64).failure
    assert failure["code"] == "DATASET_DIGEST_MISMATCH"


def test_dataset_invalid_if_images_cannot_be_read(folder: Path) -> None:
    broken = {f"images/{split}/{n}.png": b"no picture" for split in ("train", "val") for n in range(3)}
    store_files(folder / "bucket", {"data.yaml": b"names: [a]", **broken})
    failure = attempt(folder).failure
    assert failure["code"] == "DATASET_INVALID"
    assert "No valid images" in failure["message"]
    assert "Traceback" in failure["traceback"]


def test_nan_loss_if_training_diverges(finished_copy: Path) -> None:
    bucket, before = finished_copy / "bucket", checkpoint_key(finished_copy, "last")
    content = torch.load(bucket / "checkpoints/job-12/best.pt", weights_only=False)
    for weights in content["model"].parameters():
        weights.data.fill_(torch.nan)
    torch.save(content, bucket / "nan.pt")
    failure = attempt(finished_copy, WEIGHTS="nan.pt").failure
    assert failure["code"] == "NAN_LOSS"
    assert "LEARNING_RATE" in failure["hint"]
    assert checkpoint_key(finished_copy, "last") == before  # nothing of it was stored


def test_disk_full_if_a_checkpoint_cannot_be_written(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # no file may be larger than a checkpoint is
    try:
        failure = attempt(folder).failure
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failure["code"] == "DISK_FULL"
    assert "File too large" in failure["message"]


def test_framework_crash_if_something_unforeseen_happens(folder: Path) -> None:
    (folder / "work-1").mkdir()
    (folder / "work-1/train").touch()  # where a folder should be
    failure = attempt(folder).failure
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


def test_nothing_is_downloaded_but_weights(finished: tuple[Path, Ended]) -> None:
    from ultralytics.utils import downloads

    with pytest.raises(ConnectionError, match="this trainer is offline"):
        downloads.attempt_download_asset("yolo11n.pt")
