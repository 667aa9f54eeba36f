"""Detection datasets of any size, packed as a person would: photographs with labels, in YOLO's layout, in one zip.

A few pictures are drawn and encoded; every file is one of them with a comment of its own, so that no two are equal.
"""

import random
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path

from PIL import Image

DRAWN = 16
BOXES = 5
CLASSES = ("car", "person", "sign")
NAMES = f"names: [{', '.join(CLASSES)}]\n"


@dataclass(frozen=True)
class Upload:
    path: Path
    images: int
    size: int


def write_upload(path: Path, side: int, *, images: int | None = None, size: int = 0) -> Upload:
    """So many images, or as many as have `size` bytes together, `side` pixels wide; a fifth is for val."""
    drawn = [_draw(side, seed) for seed in range(DRAWN)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", NAMES)
        number = 0
        for number in count(1) if images is None else range(1, images + 1):
            split = "val" if number % 5 == 0 else "train"
            archive.writestr(f"images/{split}/{number:06}.jpg", _marked(drawn[number % DRAWN], number))
            archive.writestr(f"labels/{split}/{number:06}.txt", "".join(_boxes(number)))
            if images is None and archive.fp.tell() >= size:  # type: ignore[union-attr]  # it is open
                break
    return Upload(path, number, path.stat().st_size)


def _draw(side: int, seed: int) -> bytes:
    """Noise over a gradient, which JPEG compresses about as well as a photograph."""
    random.seed(seed)
    size = (side, side * 3 // 4)
    picture = Image.blend(Image.linear_gradient("L").resize(size), Image.effect_noise(size, 60), 0.4)
    channels = [picture, picture.rotate(180), picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    encoded = BytesIO()
    Image.merge("RGB", channels).save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def _marked(jpeg: bytes, number: int) -> bytes:
    """The same picture with `number` in a comment segment."""
    text = b"%d" % number
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[2:]


def _boxes(seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(BOXES):
        numbers = [
            chance.uniform(0.2, 0.8),
            chance.uniform(0.2, 0.8),
            chance.uniform(0.05, 0.3),
            chance.uniform(0.05, 0.3),
        ]
        yield f"{chance.randrange(len(CLASSES))} {' '.join(f'{number:.6f}' for number in numbers)}\n"
