"""It learns: real handwriting from scratch, and every family of architectures at least two colours."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import timm
from trainings import TRAINER, environment_for, train, train_here

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

DIGITS = {"hflip": 0, "scale_min": 0.8, "color_jitter": 0}
FAMILIES = sorted(set(timm.list_models("test_*")))  # a tiny model of each, which timm has for such tests


@pytest.mark.parametrize("model", ["test_convnext", "resnet10t"])
def test_digits_are_told_apart_after_two_minutes_on_two_cores(tmp_path: Path, model: str) -> None:
    write = [str(TRAINER.parent / "samples/.venv/bin/python"), str(TRAINER / "tests/write_digits.py")]
    subprocess.run([*write, str(tmp_path / "bucket")], check=True, timeout=120)
    recipe = {"BATCH_SIZE": "64", "LEARNING_RATE": "0.004", "SEED": "0", "HYPERPARAMETERS": json.dumps(DIGITS)}
    threads = {"OMP_NUM_THREADS": str(min(2, os.cpu_count() or 1))}
    ended = train(tmp_path, environment_for(tmp_path, MODEL_NAME=model, EPOCHS="12", **recipe, **threads))
    assert ended.exit_code == 0, ended.output
    assert ended.pointer("best")["metrics"]["top1"] >= 0.97
    assert ended.seconds < 120


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_learns_and_says_how_to_use_itself(folder: Path, model: str) -> None:
    from checkpoint import load_checkpoint

    chosen = json.dumps({"freeze_epochs": 1, "layer_decay": 0.9, "ema_decay": 0.9})
    ended = train_here(folder, environment_for(folder, MODEL_NAME=model, IMAGE_SIZE="64", HYPERPARAMETERS=chosen))
    assert ended.exit_code == 0, ended.failure
    assert load_checkpoint(ended.bucket / ended.pointer("best")["key"]).description["architecture"] == model
