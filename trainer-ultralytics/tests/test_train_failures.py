"""How attempts fail: each with its own code, the traceback of its cause, and a trainer that ends in order.

These attempts run in this process, one after another: importing torch for each would take most of the time.
"""

import errno
import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig, contract_validator
from failures import failure_of
from tinysets import store_dataset, store_files
from train import Attempt
from utils import TrainConfig, TrainerFailure

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


RunHere = Callable[..., Ended]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    values = {"STORAGE_TYPE": "local", "STORAGE_PATH": str(tmp_path), "STORAGE_BUCKET": "bucket"}
    for name, value in {**values, "YOLO_OFFLINE": "true"}.items():
        monkeypatch.setenv(name, value)
    store_dataset(tmp_path / "bucket", "object_detection")
    return tmp_path / "bucket"


@pytest.fixture
def run_here(make_config: MakeConfig, bucket: Path) -> RunHere:
    def run(**changes: Any) -> Ended:
        fields = {"dataset_id": "tiny", "device": "cpu", "epochs": 1, "hyperparameters": ADAM, **changes}
        config = make_config(**fields)
        code = Attempt(config).run()
        lines = (config.work_dir / "outbox.jsonl").read_text().splitlines()
        return Ended(code, [json.loads(line.partition(" ")[2]) for line in lines])

    return run


def checkpoint_key(bucket: Path, kind: str, job: int = 12) -> str:
    return str(json.loads((bucket / f"checkpoints/job-{job}/{kind}.json").read_text())["key"])


def losses(ended: Ended) -> list[float]:
    return [event["values"]["train/box_loss"] for event in ended.of_type("metrics") if "lr" in event["values"]]


def test_same_seed_gives_the_same_losses_and_another_seed_others(run_here: RunHere, tmp_path: Path) -> None:
    first, again, other = (
        losses(run_here(seed=seed, work_dir=tmp_path / name)) for seed, name in ((5, "a"), (5, "b"), (6, "c"))
    )
    assert first == again
    assert first != other


def test_pretrained_weights_come_from_storage(run_here: RunHere, bucket: Path, tmp_path: Path) -> None:
    """With all but the head frozen, what was stored is what comes out."""
    assert run_here(seed=1, job_id=1, work_dir=tmp_path / "first").exit_code == 0
    (bucket / "weights/ultralytics").mkdir(parents=True)
    (bucket / "checkpoints/job-1/best.pt").rename(bucket / "weights/ultralytics/yolo11n.pt")
    ended = run_here(weights="pretrained", hyperparameters={**ADAM, "freeze": 23}, seed=2)
    assert ended.exit_code == 0
    before, after = (
        torch.load(path, weights_only=False)["model"].state_dict()
        for path in (bucket / "weights/ultralytics/yolo11n.pt", bucket / "checkpoints/job-12/best.pt")
    )
    frozen = [name for name in before if not name.startswith("model.23.")]
    assert len(frozen) > 100
    assert all(torch.equal(before[name], after[name]) for name in frozen)


def test_weights_missing_if_neither_storage_nor_hub_has_them(run_here: RunHere) -> None:
    failure = run_here(weights="pretrained").failure
    assert failure["code"] == "WEIGHTS_MISSING"
    assert "weights/ultralytics/yolo11n.pt" in failure["hint"]


def test_weights_missing_if_the_hub_cannot_be_reached(
    run_here: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("YOLO_OFFLINE")
    failure = run_here(weights="pretrained").failure
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
def test_weights_missing_if_they_are_no_weights(
    run_here: RunHere, bucket: Path, key: str, data: bytes | None, words: str
) -> None:
    (bucket / "weights").mkdir()
    if data:
        (bucket / key).write_bytes(data)
    failure = run_here(weights=key).failure
    assert failure["code"] == "WEIGHTS_MISSING"
    assert words in failure["message"]
    assert not Path("evil").exists()


def test_resume_invalid_if_the_checkpoint_is_stripped(run_here: RunHere, bucket: Path, tmp_path: Path) -> None:
    assert run_here(epochs=1, work_dir=tmp_path / "first").exit_code == 0
    failure = run_here(epochs=1, attempt=2, resume=checkpoint_key(bucket, "best")).failure
    assert failure["code"] == "RESUME_INVALID"
    assert "holds weights alone, without optimizer" in failure["message"]


def test_resume_invalid_if_other_parameters_are_asked_for(run_here: RunHere, bucket: Path, tmp_path: Path) -> None:
    assert run_here(epochs=1, work_dir=tmp_path / "first").exit_code == 0
    failure = run_here(epochs=3, learning_rate=0.5, attempt=2, resume=checkpoint_key(bucket, "last")).failure
    assert failure["code"] == "RESUME_INVALID"
    assert "epochs was 1 and is 3, lr0 was 0.01 and is 0.5" in failure["message"]


def test_checkpoint_missing_if_it_is_not_there(run_here: RunHere) -> None:
    assert run_here(attempt=2, resume="checkpoints/job-12/attempt-1/no.pt").failure["code"] == "CHECKPOINT_MISSING"


def test_dataset_missing_if_it_is_not_there(run_here: RunHere) -> None:
    assert run_here(dataset_id="nowhere").failure["code"] == "DATASET_MISSING"


def test_dataset_digest_mismatch_if_it_is_another(run_here: RunHere) -> None:
    failure = run_here(dataset_version=1, dataset_sha256="0" * 64).failure
    assert failure["code"] == "DATASET_DIGEST_MISMATCH"


def test_dataset_invalid_if_images_cannot_be_read(run_here: RunHere, bucket: Path) -> None:
    broken = {f"images/{split}/{n}.png": b"no picture" for split in ("train", "val") for n in range(3)}
    store_files(bucket, {"data.yaml": b"names: [a]", **broken})
    failure = run_here().failure
    assert failure["code"] == "DATASET_INVALID"
    assert "No valid images" in failure["message"]
    assert "Traceback" in failure["traceback"]


def test_nan_loss_if_training_diverges(run_here: RunHere, bucket: Path, tmp_path: Path) -> None:
    assert run_here(work_dir=tmp_path / "first").exit_code == 0
    best = bucket / "checkpoints/job-12/best.pt"
    content = torch.load(best, weights_only=False)
    for weights in content["model"].parameters():
        weights.data.fill_(torch.nan)
    torch.save(content, bucket / "nan.pt")
    before = checkpoint_key(bucket, "last")
    ended = run_here(weights="nan.pt")
    assert ended.failure["code"] == "NAN_LOSS"
    assert "LEARNING_RATE" in ended.failure["hint"]
    assert checkpoint_key(bucket, "last") == before  # nothing of it was stored


def test_disk_full_if_a_checkpoint_cannot_be_written(run_here: RunHere) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # no file may be larger than a checkpoint is
    try:
        failure = run_here().failure
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failure["code"] == "DISK_FULL"
    assert "File too large" in failure["message"]


def test_framework_crash_if_something_unforeseen_happens(run_here: RunHere, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/train").touch()
    failure = run_here().failure
    assert failure["code"] == "FRAMEWORK_CRASH"
    assert "Traceback" in failure["traceback"] and "ultralytics" in failure["traceback"]


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


def test_nothing_is_downloaded_but_weights(run_here: RunHere, make_config: MakeConfig) -> None:
    import framework

    config: TrainConfig = make_config()
    framework.import_ultralytics(config)
    from ultralytics.utils import downloads

    with pytest.raises(ConnectionError, match="this trainer is offline"):
        downloads.attempt_download_asset("yolo11n.pt")
