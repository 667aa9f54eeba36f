"""Ultralytics' own loader takes each canonical result without a warning and counts what we count.

It runs in trainer-ultralytics, in a process and an environment of its own.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oracles import sources
from oracles.imported import Imported, import_folder

TRAINER = Path(__file__).resolve().parents[1] / "trainer-ultralytics"
Source = Callable[[Path], None]
SOURCES: dict[str, Source] = {
    "yolo boxes": lambda folder: sources.yolo(folder, "boxes"),
    "yolo polygons": lambda folder: sources.yolo(folder, "polygons"),
    "yolo keypoints": lambda folder: sources.yolo(folder, "keypoints"),
    "yolo corners": lambda folder: sources.yolo(folder, "corners"),
    "coco boxes": lambda folder: sources.coco(folder, "boxes"),
    "coco masks": lambda folder: sources.coco(folder, "masks"),
    "coco keypoints": lambda folder: sources.coco(folder, "keypoints"),
    "class folders": sources.class_folders,
    "odd images": sources.odd_images,
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_result_is_loaded_without_a_warning(tmp_path: Path, name: str) -> None:
    SOURCES[name](tmp_path / "source")
    version = import_folder(tmp_path / "source", tmp_path / "import")
    loaded = _load(version, tmp_path)
    assert loaded["warnings"] == []
    counts = version.outcome["packed"]["counts"]
    assert (loaded["images"], loaded["objects"]) == (counts["images"], counts["instances"])


def test_a_warning_is_heard_if_there_is_one(tmp_path: Path) -> None:
    sources.yolo(tmp_path / "source", "boxes")
    version = import_folder(tmp_path / "source", tmp_path / "import")
    label = version.unpacked() / "labels" / "train" / "train_0.txt"
    label.write_text("0 1.5 0.5 0.1 0.1\n")
    assert any("train_0" in line for line in _load(version, tmp_path)["warnings"])


def _load(version: Imported, folder: Path) -> Any:
    command = [str(TRAINER / ".venv/bin/python"), str(TRAINER / "tests" / "load_dataset.py")]
    command += [version.outcome["packed"]["task_type"], str(version.unpacked())]
    home = {"HOME": str(folder), "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    environment = {**os.environ, **home, "PYTHONPATH": str(TRAINER), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
