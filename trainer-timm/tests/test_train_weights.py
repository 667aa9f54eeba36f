"""What a training starts from: pretrained weights from storage or the hub, and other trainings' checkpoints."""

import json
import socket
from pathlib import Path

import pytest
import timm
import torch
from checkpoint import load_checkpoint
from safetensors.torch import save_file
from tinysets import store_dataset
from trainings import Event, Training, environment_for, train_here

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

FROZEN = json.dumps({"freeze_epochs": 9, "warmup_epochs": 0})
EVIL = b"cos\nsystem\n(S'touch evil'\ntR."


def attempt(folder: Path, **changes: str) -> Training:
    given = {"EPOCHS": "1", "SEED": "6", "JOB_ID": "13", "HYPERPARAMETERS": FROZEN, "HF_HUB_OFFLINE": "1"}
    return train_here(folder, environment_for(folder, **{**given, **changes}))


def failure_in(folder: Path, **changes: str) -> Event:
    return attempt(folder, **changes).failure


def body_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("head.fc.")}


def best_of(training: Training) -> dict[str, torch.Tensor]:
    return load_checkpoint(training.bucket / training.pointer("best", 13)["key"]).weights


@pytest.mark.parametrize("name", ["test_convnext", "test_convnext.r160_in1k"])
def test_pretrained_weights_come_from_storage(folder: Path, name: str) -> None:
    """With all but the head frozen, what was stored is what comes out. Its head has timm's thousand classes."""
    stored = timm.create_model("test_convnext").state_dict()
    (folder / "bucket/weights/timm").mkdir(parents=True)
    save_file(stored, folder / f"bucket/weights/timm/{name}.safetensors")
    ended = attempt(folder, WEIGHTS="pretrained")
    assert ended.exit_code == 0
    after = best_of(ended)
    assert all(torch.equal(tensor, after[key]) for key, tensor in body_of(stored).items())
    assert after["head.fc.weight"].shape[0] == 2


def test_weights_missing_if_the_hub_is_forbidden(folder: Path) -> None:
    failure = failure_in(folder, WEIGHTS="pretrained")
    assert failure["code"] == "WEIGHTS_MISSING" and "HF_HUB_OFFLINE" in failure["message"]
    assert "weights/timm/test_convnext.safetensors" in failure["hint"]
    assert "huggingface.co/timm/test_convnext.r160_in1k" in failure["hint"]


@pytest.mark.slow  # the hub's client tries for a while
def test_weights_missing_if_the_hub_does_not_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{nobody}")
    failure = failure_in(folder, WEIGHTS="pretrained", HF_HUB_OFFLINE="")
    assert failure["code"] == "WEIGHTS_MISSING" and "hub does not give it" in failure["message"]
    assert "weights/timm/test_convnext.safetensors" in failure["hint"]


def test_weights_missing_if_timm_has_none(folder: Path) -> None:
    failure = failure_in(folder, WEIGHTS="pretrained", MODEL_NAME="test_mambaout")
    assert failure["code"] == "WEIGHTS_MISSING" and "timm has none" in failure["message"]


@pytest.mark.parametrize(
    ("key", "data", "words"),
    [
        ("weights/mine.safetensors", None, "weights/mine.safetensors is not in the storage"),
        ("weights/mine.safetensors", b"no weights", "cannot be loaded"),
        ("weights/mine.pt", EVIL, "cannot be loaded"),
        ("weights/timm/test_convnext.safetensors", b"no weights", "cannot be loaded"),
    ],
)
def test_weights_missing_if_they_are_no_weights(folder: Path, key: str, data: bytes | None, words: str) -> None:
    (folder / "bucket/weights/timm").mkdir(parents=True)
    if data:
        (folder / "bucket" / key).write_bytes(data)
    failure = failure_in(folder, WEIGHTS="pretrained" if "timm" in key else key)
    assert failure["code"] == "WEIGHTS_MISSING" and words in failure["message"]
    assert not Path("evil").exists()


def test_another_training_goes_on_with_its_head_if_classes_are_the_same(
    finished: Training, finished_copy: Path
) -> None:
    key = finished.pointer("best")["key"]
    ended = attempt(finished_copy, WEIGHTS=key)
    assert ended.exit_code == 0 and ended.of_type("warning") == []
    before = load_checkpoint(finished.bucket / key).weights
    assert all(torch.equal(tensor, best_of(ended)[name]) for name, tensor in body_of(before).items())
    assert ended.pointer("best", 13)["metrics"]["top1"] == 1.0


@pytest.mark.parametrize("kind", ["best", "last"])
def test_head_is_replaced_and_said_so_if_classes_are_others(finished: Training, finished_copy: Path, kind: str) -> None:
    """Two classes as before, but other ones: the shapes alone would not tell."""
    store_dataset(finished_copy / "bucket", prefix="dark ")
    ended = attempt(finished_copy, WEIGHTS=finished.pointer(kind)["key"], LEARNING_RATE="1e-9")
    assert ended.exit_code == 0
    [warning] = ended.of_type("warning")
    assert warning["code"] == "HEAD_REPLACED" and "blue, red" in warning["message"]
    before, after = load_checkpoint(finished.bucket / finished.pointer(kind)["key"]).weights, best_of(ended)
    assert all(torch.equal(tensor, after[name]) for name, tensor in body_of(before).items())
    assert not torch.allclose(before["head.fc.weight"], after["head.fc.weight"])


def test_weights_missing_if_they_are_of_another_architecture(finished: Training, finished_copy: Path) -> None:
    failure = failure_in(finished_copy, WEIGHTS=finished.pointer("best")["key"], MODEL_NAME="test_resnet")
    assert failure["code"] == "WEIGHTS_MISSING" and "test_convnext, not of test_resnet" in failure["message"]
