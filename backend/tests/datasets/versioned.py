"""A version's two files as an import writes them, small: data.zip and index.sqlite of real images."""

import hashlib
import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from app.datasets.annotations import Annotation
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Finding

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".tiff": "TIFF"}
LOCAL_HEADER = 30


@dataclass(frozen=True)
class Shot:
    """An image of the version: its place, its bytes, what is on it and what was found about it."""

    name: str
    split: str = "train"
    data: bytes = b""
    annotations: Sequence[Annotation] = ()
    findings: Sequence[str] = ()


@dataclass(frozen=True)
class Made:
    archive: Path
    index: Path
    shots: list[Shot] = field(default_factory=list)

    @property
    def index_sha256(self) -> str:
        return hashlib.sha256(self.index.read_bytes()).hexdigest()


def picture(seed: int = 0, suffix: str = ".jpg", size: tuple[int, int] = (32, 24), **options: Any) -> bytes:
    """The bytes of a noisy image, another for each seed."""
    pixels = random.Random(seed).randbytes(size[0] * size[1] * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(file, FORMATS[suffix], **options)
    return file.getvalue()


def box(class_id: int = 0, x: float = 0.25, **options: Any) -> Annotation:
    return Annotation(class_id, (x, 0.25, x + 0.25, 0.5), **options)


def shots(count: int = 3) -> list[Shot]:
    """Images of two classes by turns, each with one box, the last in val."""
    return [
        Shot(f"{number:04}.jpg", "val" if number == count - 1 else "train", picture(number), [box(number % 2)])
        for number in range(count)
    ]


def make_version(
    folder: Path,
    images: Sequence[Shot] | None = None,
    classes: Sequence[str] = ("zero", "one"),
    task_type: str = "object_detection",
) -> Made:
    """Write both files to `folder`, which need not be there."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(folder / "data.zip", folder / "index.sqlite", list(shots() if images is None else images))
    draft = Draft(made.index)
    draft.set("task_type", task_type)
    draft.set("format", "yolo")
    draft.set_classes(classes)
    with zipfile.ZipFile(made.archive, "w", zipfile.ZIP_STORED) as archive:
        for shot in made.shots:
            _add(draft, archive, shot)
    draft.close()
    return made


def _add(draft: Draft, archive: zipfile.ZipFile, shot: Shot) -> None:
    path = f"images/{shot.split}/{shot.name}"
    archive.writestr(zipfile.ZipInfo(path), shot.data)
    sha256 = hashlib.sha256(shot.data).hexdigest()
    width, height = _size(shot.data)
    image = SourceImage(0, path, sha256, FORMATS[Path(shot.name).suffix], width, height, 1)
    image_id = draft.add_image(image)
    draft.place(image_id, shot.name, shot.split)
    offset = archive.getinfo(path).header_offset + LOCAL_HEADER + len(path.encode())
    draft.connection.execute(
        "UPDATE images SET path = ?, sha256 = ?, size = ?, offset = ? WHERE id = ?",
        (path, sha256, len(shot.data), offset, image_id),
    )
    for annotation in shot.annotations:
        draft.annotate(image_id, annotation)
    for code in shot.findings:
        draft.find(Finding(code, f"{code} of {path}", path, value="1", image_id=image_id))


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size
