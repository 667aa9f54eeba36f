"""`python load_dataset.py TASK FOLDER`: what Ultralytics' own loader reads of a canonical dataset, and what it says.

Prints {"images": {split: n}, "objects": {split: n}, "warnings": [lines]}.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import yaml
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import ClassificationDataset, YOLODataset
from ultralytics.utils import LOGGER

TASKS = {
    "object_detection": "detect",
    "instance_segmentation": "segment",
    "pose_estimation": "pose",
    "oriented_object_detection": "obb",
}


class Heard(logging.Handler):
    """Every warning, and whatever else marks an image as corrupt or a label as removed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or "WARNING" in text or "corrupt" in text.lower():
            self.lines.append(text)


def main(task: str, root: Path) -> dict[str, Any]:
    heard = Heard()
    LOGGER.addHandler(heard)
    load = _classes if task == "image_classification" else _boxes
    loaded = {
        split: load(task, root, split) for split in ("train", "val", "test") if _folder(task, root, split).is_dir()
    }
    images, objects = ({split: counts[place] for split, counts in loaded.items()} for place in (0, 1))
    lines = [line for line in heard.lines if "Slow image access" not in line]  # of the disk, not of the dataset
    return {"images": images, "objects": objects, "warnings": lines}


def _folder(task: str, root: Path, split: str) -> Path:
    return root / split if task == "image_classification" else root / "images" / split


def _boxes(task: str, root: Path, split: str) -> tuple[int, int]:
    data = yaml.safe_load((root / "data.yaml").read_text(encoding="utf-8"))
    data |= {"names": dict(enumerate(data["names"])), "channels": 3}
    dataset = YOLODataset(img_path=str(root / "images" / split), data=data, task=TASKS[task], imgsz=64)
    dataset[0]
    return len(dataset), sum(len(label["cls"]) for label in dataset.labels)


def _classes(task: str, root: Path, split: str) -> tuple[int, int]:
    dataset = ClassificationDataset(str(root / split), get_cfg(overrides={"imgsz": 64, "task": "classify"}))
    dataset[0]
    return len(dataset), len(dataset)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
