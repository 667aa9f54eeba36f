"""Tiny sample datasets, made once a session by samples/ in its own environment."""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from e2e.backend import REPOSITORY

PYTHON = REPOSITORY / "samples/.venv/bin/python"
CLASSES = ["zero", "one", "two"]


@dataclass(frozen=True)
class Sample:
    task_type: str
    archive: Path
    folder: Path
    test_image: Path


@cache
def make_sample(folder: Path, task_type: str, images: int = 12, canvas: int = 96, seed: int = 0) -> Sample:
    """`images` to train on and a few to validate and test, as a zip in canonical layout."""
    name = f"{task_type}-{images}-{canvas}-{seed}"
    archive, out = folder / f"{name}.zip", folder / name
    command = [str(PYTHON), "-m", "digits", "--task", task_type, "--images", str(images), "--canvas", str(canvas)]
    command += ["--seed", str(seed), "--zip", str(archive), "--out", str(out)]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Sample(task_type, archive, out, Path(made["test_image"]))
