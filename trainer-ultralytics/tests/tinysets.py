"""Datasets of a dozen small pictures for every task, stored as the platform stores them."""

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

SIDE = 64
CLASSES = {"red": (220, 40, 40), "blue": (40, 60, 220)}
SPLITS = {"train": 8, "val": 4}
Placed = tuple[str, int, int, tuple[int, int], tuple[int, int]]  # split, number, class, corner, size
POSE = {"kpt_shape": [4, 3], "flip_idx": [1, 0, 3, 2]}


def store_dataset(
    bucket: Path,
    task_type: str,
    extra: Mapping[str, bytes] | None = None,
    splits: Mapping[str, int] = SPLITS,
    **described: Any,
) -> str:
    """Write datasets/tiny/1 with one coloured rectangle a picture; `described` is added to data.yaml. Its sha256."""
    plan = _plan(splits)
    files = _classification_files(plan) if task_type == "image_classification" else _located_files(task_type, plan)
    if task_type != "image_classification":
        about: dict[str, Any] = {"names": list(CLASSES), "train": "images/train", "val": "images/val"}
        about |= (POSE if task_type == "pose_estimation" else {}) | described
        files["data.yaml"] = yaml.safe_dump(about).encode()
    return store_files(bucket, {**files, **(extra or {})})


def store_files(bucket: Path, files: Mapping[str, bytes]) -> str:
    """Any files as version 1 of the dataset `tiny`. The archive's sha256."""
    folder = bucket / "datasets" / "tiny"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "1" / "data.zip", "w") as bundle:
        for name, data in files.items():
            bundle.writestr(zipfile.ZipInfo(name), data)
    sha256 = hashlib.sha256((folder / "1" / "data.zip").read_bytes()).hexdigest()
    (folder / "latest").write_text(json.dumps({"version": 1, "archive_sha256": sha256}))
    return sha256


def _located_files(task_type: str, plan: list[Placed]) -> dict[str, bytes]:
    files = {}
    for split, number, class_id, corner, size in plan:
        name = f"{split}/{number}"
        files[f"images/{name}.png"] = _picture(class_id, corner, size)
        files[f"labels/{name}.txt"] = _label(task_type, class_id, corner, size).encode()
    return files


def _classification_files(plan: list[Placed]) -> dict[str, bytes]:
    names = list(CLASSES)
    return {
        f"{split}/{names[class_id]}/{number}.png": _picture(class_id, corner, size)
        for split, number, class_id, corner, size in plan
    }


def _plan(splits: Mapping[str, int]) -> list[Placed]:
    choose = random.Random(0)
    return [
        (
            split,
            number,
            number % len(CLASSES),
            (choose.randrange(4, 28), choose.randrange(4, 28)),
            (choose.randrange(16, 32), choose.randrange(16, 32)),
        )
        for split, count in splits.items()
        for number in range(count)
    ]


def _picture(class_id: int, corner: tuple[int, int], size: tuple[int, int]) -> bytes:
    picture = Image.new("RGB", (SIDE, SIDE), (200, 200, 190))
    (left, top), (width, height) = corner, size
    ImageDraw.Draw(picture).rectangle((left, top, left + width, top + height), fill=list(CLASSES.values())[class_id])
    data = io.BytesIO()
    picture.save(data, "png")
    return data.getvalue()


def _label(task_type: str, class_id: int, corner: tuple[int, int], size: tuple[int, int]) -> str:
    (left, top), (width, height) = corner, size
    box = [left + width / 2, top + height / 2, width, height]
    right, bottom = left + width, top + height
    corners = [left, top, right, top, right, bottom, left, bottom]
    if task_type == "object_detection":
        numbers = box
    elif task_type == "pose_estimation":
        points = [(left, top), (right, top), (left, bottom), (right, bottom)]
        text = " ".join(f"{x / SIDE:.5f} {y / SIDE:.5f} 2" for x, y in points)
        return f"{class_id} {' '.join(f'{n / SIDE:.5f}' for n in box)} {text}\n"
    else:
        numbers = [float(n) for n in corners]
    return f"{class_id} {' '.join(f'{n / SIDE:.5f}' for n in numbers)}\n"
