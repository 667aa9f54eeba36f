"""Small datasets written by hand in the formats that people bring: seeded, with pictures that differ."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "bird")
SPLITS = {"train": 6, "val": 3}


@dataclass
class Picture:
    """`boxes` are class and x1, y1, x2, y2 in whole pixels."""

    name: str
    split: str
    width: int
    height: int
    boxes: list[tuple[int, int, int, int, int]] = field(default_factory=list)


def pictures(seed: int = 0) -> list[Picture]:
    """Of different sizes, each with one to four boxes that keep off the border."""
    chance, made = Random(seed), []
    for split, count in SPLITS.items():
        for number in range(count):
            picture = Picture(f"{split}_{number}.jpg", split, chance.randrange(64, 160), chance.randrange(64, 160))
            for _ in range(chance.randrange(1, 5)):
                x1, y1 = chance.randrange(2, picture.width - 32), chance.randrange(2, picture.height - 32)
                x2, y2 = x1 + chance.randrange(8, 30), y1 + chance.randrange(8, 30)
                picture.boxes.append((chance.randrange(len(CLASSES)), x1, y1, x2, y2))
            made.append(picture)
    return made


def save(picture: Picture, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(crc32(picture.name.encode())).integers(0, 255, (picture.height, picture.width, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)


def ring(box: tuple[float, float, float, float]) -> list[float]:
    """A six-cornered outline that fills the box."""
    x1, y1, x2, y2 = box
    middle = (y1 + y2) / 2
    quarter = (x2 - x1) / 4
    return [x1, middle, x1 + quarter, y1, x2 - quarter, y1, x2, middle, x2 - quarter, y2, x1 + quarter, y2]


def coco(folder: Path, kind: str) -> None:
    """`kind` is boxes, polygons, masks or keypoints; category ids have gaps."""
    for split in SPLITS:
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": _categories(kind)}
        for picture in (picture for picture in pictures() if picture.split == split):
            save(picture, folder / split / picture.name)
            image = {"id": len(document["images"]) + 7, "file_name": picture.name}
            document["images"].append(image | {"width": picture.width, "height": picture.height})
            for box in picture.boxes:
                number = len(document["annotations"]) + 1
                document["annotations"].append(_annotation(number, image["id"], box, kind, picture))
        path = folder / "annotations" / f"{'person_keypoints' if kind == 'keypoints' else 'instances'}_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))


def _categories(kind: str) -> list[dict[str, Any]]:
    points = {"keypoints": ["left_ear", "right_ear", "tail"], "skeleton": []} if kind == "keypoints" else {}
    return [{"id": 3 + 5 * number, "name": name, **points} for number, name in enumerate(CLASSES)]


def _annotation(
    number: int, image: Any, box: tuple[int, int, int, int, int], kind: str, picture: Picture
) -> dict[str, Any]:
    class_id, x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    content: dict[str, Any] = {"id": number, "image_id": image, "category_id": 3 + 5 * class_id, "iscrowd": 0}
    content |= {"bbox": [x1, y1, width, height], "area": width * height, "segmentation": []}
    if kind == "polygons":
        content["segmentation"] = [ring((x1, y1, x2, y2))]
    if kind == "masks":
        content["segmentation"] = _run_lengths((x1, y1, x2, y2), picture)
    if kind == "keypoints":
        points = [(x1 + 2, y1 + 2, 2), (x2 - 2, y1 + 2, 1), (0, 0, 0)]
        content |= {"keypoints": [value for point in points for value in point], "num_keypoints": 2}
    return content


def _run_lengths(box: tuple[int, int, int, int], picture: Picture) -> dict[str, Any]:
    """The filled box as COCO's uncompressed run lengths, column by column."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return {"size": [picture.height, picture.width], "counts": counts.tolist()}


def yolo(folder: Path, kind: str) -> None:
    """`kind` is boxes, polygons, keypoints or corners (oriented boxes)."""
    for picture in pictures():
        save(picture, folder / "images" / picture.split / picture.name)
        label = folder / "labels" / picture.split / f"{Path(picture.name).stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(f"{_line(box, kind, picture)}\n" for box in picture.boxes))
    shape = "kpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\n" if kind == "keypoints" else ""
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\n{shape}names:\n{names}")


def _line(box: tuple[int, int, int, int, int], kind: str, picture: Picture) -> str:
    class_id, x1, y1, x2, y2 = box
    scale = (picture.width, picture.height)
    middle = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    match kind:
        case "polygons":
            values = ring((x1, y1, x2, y2))
        case "corners":
            values = [x1 + 4, y1, x2, y1 + 4, x2 - 4, y2, x1, y2 - 4]
        case _:
            values = middle
    fractions = [f"{value / scale[place % 2]:.8f}" for place, value in enumerate(values)]
    if kind == "keypoints":
        for x, y, seen in [(x1 + 2, y1 + 2, 2), (x2 - 2, y1 + 2, 1), (x1 + 4, y2 - 2, 2)]:
            fractions += [f"{x / picture.width:.8f}", f"{y / picture.height:.8f}", str(seen)]
    return " ".join([str(class_id), *fractions])


def class_folders(folder: Path) -> None:
    for number, picture in enumerate(pictures()):
        save(picture, folder / picture.split / CLASSES[number % len(CLASSES)] / picture.name)


def odd_images(folder: Path) -> None:
    """One of each that cameras and scanners make: turned by EXIF, CMYK, 16 bits, palette, alpha, other formats."""
    grey = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20
    plain = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "turned.jpg": (plain, {"exif": exif}),
        "printed.jpg": (plain.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(grey), {}),
        "palette.png": (plain.convert("P"), {}),
        "alpha.png": (plain.convert("RGBA").rotate(1), {}),
        "plain.bmp": (plain.rotate(2), {}),
        "other.webp": (plain.rotate(3), {}),
        "scan.tiff": (plain.rotate(4), {}),
    }
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for name, (image, options) in made.items():
            own = image if split == "train" else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            own.save(folder / "images" / split / name, **options)
            (folder / "labels" / split / Path(name).with_suffix(".txt")).write_text("0 0.5 0.5 0.25 0.5\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [thing]\n")
