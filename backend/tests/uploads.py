"""Small datasets as people send them, with real images, every file replaceable."""

import io
import zipfile
from functools import cache

from PIL import Image

from app.words import TaskType

LINES = {
    TaskType.OBJECT_DETECTION: "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n",
    TaskType.INSTANCE_SEGMENTATION: "0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.ORIENTED_OBJECT_DETECTION: "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.POSE_ESTIMATION: "0 0.5 0.5 0.2 0.2 0.45 0.45 2 0.55 0.55 0\n1 0.5 0.5 0.2 0.2 0.45 0.45 1 0.55 0.55 2\n",
}
NAMES = "names: [cat, dog]\n"
KEYPOINTS = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"


@cache
def image(number: int, format: str = "PNG", size: tuple[int, int] = (32, 24)) -> bytes:
    """One that differs from all of other numbers."""
    file = io.BytesIO()
    colour = (number * 40 % 256, number * 7 % 256, number // 32 % 256)
    Image.new("RGB", size, colour).save(file, format)
    return file.getvalue()


def yolo_files(task_type: TaskType = TaskType.OBJECT_DETECTION, **changes: str | bytes | None) -> dict[str, bytes]:
    """Two training images and one for validation; `None` takes a file away, `label` replaces labels/train/a.txt."""
    files: dict[str, str | bytes | None] = {
        "data.yaml": NAMES + (KEYPOINTS if task_type is TaskType.POSE_ESTIMATION else ""),
        "images/train/a.jpg": image(1, "JPEG"),
        "images/train/b.png": image(2),
        "images/val/c.jpg": image(3, "JPEG"),
        "labels/train/a.txt": changes.pop("label", LINES[task_type]),
        "labels/train/b.txt": "",
        "labels/val/c.txt": LINES[task_type],
    }
    return _encoded(files | changes)


def class_files(**changes: str | bytes | None) -> dict[str, bytes]:
    """Two classes in two splits."""
    names = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "val/cat/1.png", "val/dog/1.png")
    files: dict[str, str | bytes | None] = {name: image(number) for number, name in enumerate(names)}
    return _encoded(files | changes)


def files_of(task_type: TaskType) -> dict[str, bytes]:
    return class_files() if task_type is TaskType.IMAGE_CLASSIFICATION else yolo_files(task_type)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def _encoded(files: dict[str, str | bytes | None]) -> dict[str, bytes]:
    return {name: data.encode() if isinstance(data, str) else data for name, data in files.items() if data is not None}
