"""Small archives in the canonical layout of each task, every part replaceable."""

import zipfile
from pathlib import Path

from app.words import TaskType

LINES = {
    TaskType.OBJECT_DETECTION: "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n",
    TaskType.INSTANCE_SEGMENTATION: "0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.ORIENTED_OBJECT_DETECTION: "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.POSE_ESTIMATION: "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n1 0.5 0.5 0.2 0.2 0.4 0.4 1 0.6 0.6 2\n",
}
DATA_YAML = "names: [cat, dog]\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n"


def yolo_files(task_type: TaskType = TaskType.OBJECT_DETECTION, **changes: str | bytes | None) -> dict[str, bytes]:
    """Two training images and one for validation; `None` takes a file away, `label` replaces labels/train/a.txt."""
    files: dict[str, str | bytes | None] = {
        "data.yaml": DATA_YAML,
        "images/train/a.jpg": b"image a",
        "images/train/b.png": b"image b",
        "images/val/c.jpg": b"image c",
        "labels/train/a.txt": changes.pop("label", LINES[task_type]),
        "labels/val/c.txt": LINES[task_type],
    }
    return _encoded(files | changes)


def class_files(**changes: str | bytes | None) -> dict[str, bytes]:
    """Two classes in two splits."""
    files: dict[str, str | bytes | None] = {
        "train/cat/1.jpg": b"cat 1",
        "train/cat/2.jpg": b"cat 2",
        "train/dog/1.jpg": b"dog 1",
        "val/cat/1.jpg": b"cat 3",
        "val/dog/1.jpg": b"dog 2",
    }
    return _encoded(files | changes)


def files_of(task_type: TaskType) -> dict[str, bytes]:
    return class_files() if task_type is TaskType.IMAGE_CLASSIFICATION else yolo_files(task_type)


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _encoded(files: dict[str, str | bytes | None]) -> dict[str, bytes]:
    return {name: data.encode() if isinstance(data, str) else data for name, data in files.items() if data is not None}
