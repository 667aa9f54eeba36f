"""A whole dataset in the platform's canonical layout.

Detection-like tasks: `images/{split}`, `labels/{split}`, `data.yaml`. Classification: `{split}/{class}`. The same
request gives the same bytes. Handwriting in one split appears in no other.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from digits.canvas import draw_canvas, place_centred, place_glyphs
from digits.glyphs import CLASS_NAMES, SPLIT_SHARES, Pools, load_pools
from digits.labels import FLIPPED_KEYPOINTS, KEYPOINTS, LABELS

CLASSIFICATION = "image_classification"
TASK_TYPES = (*LABELS, CLASSIFICATION)
MIN_CANVAS = 48


@dataclass(frozen=True)
class Request:
    """`images` canvases to train on; a fifth as many to validate and a twentieth to test, one per class at least."""

    task_type: str = "object_detection"
    images: int = 320
    canvas: int = 160
    classes: int = 3
    seed: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASS_NAMES[: self.classes]

    @property
    def counts(self) -> dict[str, int]:
        shares = {"train": self.images, "val": self.images // 5, "test": self.images // 20}
        return {split: max(count, self.classes) for split, count in shares.items()}


def problems(request: Request) -> list[str]:
    """What is wrong with the request, each naming the option, its value and what is allowed."""
    found = []
    if request.task_type not in TASK_TYPES:
        found.append(f"--task {request.task_type!r} is not one of {', '.join(TASK_TYPES)}")
    if not 1 <= request.classes <= len(CLASS_NAMES):
        found.append(f"--classes {request.classes} is not between 1 and {len(CLASS_NAMES)}")
    if request.images < 1:
        found.append(f"--images {request.images} is not at least 1")
    if request.canvas < MIN_CANVAS:
        found.append(f"--canvas {request.canvas} is not at least {MIN_CANVAS} pixels")
    if request.seed < 0:
        found.append(f"--seed {request.seed} is not at least 0")
    return found


def write_dataset(request: Request, folder: Path) -> Path:
    """Write the dataset into `folder`, which must be new or empty. Returns a test image, seen in no training."""
    pools = load_pools(request.classes, request.seed)
    for split_number, split in enumerate(SPLIT_SHARES):
        for index in range(request.counts[split]):
            rng = np.random.default_rng([request.seed, split_number, index])
            _write_one(request, pools, folder, split, index, rng)
    if request.task_type != CLASSIFICATION:
        (folder / "data.yaml").write_text(_data_yaml(request), encoding="utf-8")
    return held_out_image(folder)


def held_out_image(folder: Path) -> Path:
    """The first image of the test split."""
    return min([*folder.glob("images/test/*.jpg"), *folder.glob("test/*/*.jpg")])


def _write_one(request: Request, pools: Pools, folder: Path, split: str, index: int, rng: np.random.Generator) -> None:
    class_id, canvas = index % request.classes, request.canvas
    if request.task_type == CLASSIFICATION:
        centred = place_centred(rng, pools[split], canvas, class_id)
        path = folder / split / request.class_names[class_id] / f"{index:05d}.jpg"
        return _save(draw_canvas(rng, canvas, [centred]), path)
    turned = request.task_type == "oriented_object_detection"
    placed = place_glyphs(rng, pools[split], canvas, class_id, turned=turned)
    _save(draw_canvas(rng, canvas, placed), folder / "images" / split / f"{index:05d}.jpg")
    label = folder / "labels" / split / f"{index:05d}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    lines = [LABELS[request.task_type](one, canvas) for one in placed]
    return _write_lines(label, lines)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=92, subsampling=0)


def _data_yaml(request: Request) -> str:
    entries: dict[str, object] = {split: f"images/{split}" for split in SPLIT_SHARES}
    entries |= {"nc": request.classes, "names": list(request.class_names)}
    if request.task_type == "pose_estimation":
        entries |= {"kpt_shape": [len(KEYPOINTS), 3], "flip_idx": list(FLIPPED_KEYPOINTS)}
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in entries.items())
