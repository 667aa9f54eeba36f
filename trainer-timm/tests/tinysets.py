"""Datasets of a dozen small pictures, and scikit-learn's digits, stored as the platform stores them."""

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 32
CLASSES = {"red": (220, 40, 40), "blue": (40, 60, 220)}
SPLITS = {"train": 8, "val": 4}


def store_dataset(
    bucket: Path, extra: Mapping[str, bytes] | None = None, splits: Mapping[str, int] = SPLITS, prefix: str = ""
) -> str:
    """Write datasets/tiny/1 with one coloured rectangle a picture. Its sha256; `prefix` is put before class names."""
    choose, files = random.Random(0), {}
    for split, count in splits.items():
        for number in range(count):
            name = list(CLASSES)[number % len(CLASSES)]
            corner = choose.randrange(2, 14), choose.randrange(2, 14)
            files[f"{split}/{prefix}{name}/{number}.png"] = picture(CLASSES[name], corner)
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


def picture(colour: tuple[int, int, int], corner: tuple[int, int] = (6, 8), size: int = 16) -> bytes:
    image = Image.new("RGB", (SIDE, SIDE), (200, 200, 190))
    left, top = corner
    ImageDraw.Draw(image).rectangle((left, top, left + size, top + size - 2), fill=colour)
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()
