"""Checkpoints as files: what is written is read, what a stranger wrote is refused without harm."""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint import FORMAT, load_checkpoint, load_state, save_state, save_weights
from learner import random_state, restore_random_state
from safetensors.torch import save_file
from utils import TrainerFailure

DESCRIPTION: dict[str, Any] = {
    "format": FORMAT,
    "architecture": "test_resnet",
    "model_arguments": {},
    "class_names": ["고양이", "dog"],
    "input_size": [3, 32, 32],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
}


def test_weights_come_back_with_their_description(tmp_path: Path) -> None:
    tied = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    path = tmp_path / "best.safetensors"
    save_weights(path, {"a": tied, "b": tied, "count": torch.tensor(3)}, DESCRIPTION)
    found = load_checkpoint(path)
    assert found.description == DESCRIPTION and found.class_names == ("고양이", "dog")
    assert torch.equal(found.weights["a"], tied) and torch.equal(found.weights["b"], tied)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("average", [None, {"a": torch.ones(2)}])
def test_weights_of_a_state_are_those_that_were_judged(tmp_path: Path, average: Any) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"model": {"a": torch.zeros(2)}, "ema": average, "description": DESCRIPTION})
    assert load_checkpoint(path).weights["a"].tolist() == ([1, 1] if average else [0, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "hf-hub:evil/model"},  # timm would fetch it
        {"architecture": ["resnet18"]},
        {"model_arguments": {"pretrained": True}},
        {"model_arguments": {"img_size": 10**9}},
        {"input_size": [3, 100000, 100000]},
        {"class_names": [1, 2]},
        {"mean": [0, 0]},
        {"std": [0, 0, 0]},
        {"crop_pct": 0},
        {"interpolation": "random"},
        {"format": FORMAT + 1},
    ],
)
def test_checkpoint_invalid_if_its_description_is_not_ours(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, {"a": torch.ones(1)}, {**DESCRIPTION, **change})
    with pytest.raises(TrainerFailure, match=next(iter(change))) as caught:
        load_checkpoint(path)
    assert caught.value.code == "CHECKPOINT_INVALID"


def test_checkpoint_invalid_if_it_does_not_describe_itself(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "plain.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "odd.safetensors", {"vision-platform": json.dumps([1])})
    for name in ("plain", "odd"):
        with pytest.raises(TrainerFailure, match="does not describe itself"):
            load_checkpoint(tmp_path / f"{name}.safetensors")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_nothing_runs_if_a_state_is_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"model": Evil()}, "torch.pt")
    for name in ("plain.pt", "torch.pt"):
        with pytest.raises(TrainerFailure, match="cannot be loaded"):
            load_state(Path(name))
    assert not Path("evil").exists()


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    random.random(), np.random.standard_normal(), torch.rand(1)  # NumPy keeps a second one for later
    save_state(tmp_path / "last.pt", {"random": random_state()})
    expected = random.random(), np.random.standard_normal(), torch.rand(1).item()
    restore_random_state(load_state(tmp_path / "last.pt")["random"])
    assert (random.random(), np.random.standard_normal(), torch.rand(1).item()) == expected
