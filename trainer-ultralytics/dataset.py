"""A dataset in canonical layout, as Ultralytics wants to be told about it.

Nothing of a user's data.yaml reaches Ultralytics but class names and keypoints: it would run what `download:` says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from utils import TrainerFailure

IMAGES = {".bmp", ".dng", ".heic", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
HINT = "The layout is described in docs/trainer-contract.md; correct the dataset and add it again."


def describe_dataset(root: Path, task_type: str, folder: Path) -> Path:
    """What to give Ultralytics as `data`: for classification `root`, else a data.yaml made in `folder`.

    Raises TrainerFailure DATASET_INVALID.
    """
    if task_type == "image_classification":
        _check_class_folders(root)
        return root
    for split in ("train", "val"):
        _require_image(root / "images" / split)
    described = _read_description(root / "data.yaml", task_type)
    splits = [split for split in ("train", "val", "test") if (root / "images" / split).is_dir()]
    content = {"path": str(root), **{split: f"images/{split}" for split in splits}, **described}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def _check_class_folders(root: Path) -> None:
    for split in ("train", "val"):
        _require_image(root / split)
    names = {split: {path.name for path in (root / split).iterdir() if path.is_dir()} for split in ("train", "val")}
    if unknown := sorted(names["val"] - names["train"]):
        raise _invalid(f"val has classes that train has not: {', '.join(unknown[:10])}")
    for name in sorted(names["train"]):
        _require_image(root / "train" / name)


def _require_image(folder: Path) -> None:
    if next(_images(folder), None) is None:
        raise _invalid(f"the dataset has no image in {'/'.join(folder.parts[-2:])}")


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in IMAGES)


def _read_description(path: Path, task_type: str) -> dict[str, Any]:
    """Class names, and for poses the keypoints. Everything else in the file is left alone."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _invalid(f"data.yaml cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _invalid(f"data.yaml holds {type(content).__name__}, not names and values")
    described: dict[str, Any] = {"names": _class_names(content.get("names"))}
    if task_type == "pose_estimation":
        described |= _keypoints(content.get("kpt_shape"), content.get("flip_idx"))
    return described


def _class_names(names: Any) -> dict[int, str]:
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(found, dict) or sorted(found, key=str) != sorted(range(len(found)), key=str) or not found:
        raise _invalid(f"data.yaml: names={names!r:.200} is not a list of class names")
    return {number: str(found[number]) for number in range(len(found))}


def _keypoints(shape: Any, flip: Any) -> dict[str, Any]:
    if not (isinstance(shape, list) and len(shape) == 2 and _is_count(shape[0]) and shape[1] in (2, 3)):
        raise _invalid(f"data.yaml: kpt_shape={shape!r:.200} is not [number of keypoints, 2 or 3]")
    if flip is None:
        return {"kpt_shape": shape}
    if not isinstance(flip, list) or sorted(flip, key=str) != sorted(range(shape[0]), key=str):
        raise _invalid(f"data.yaml: flip_idx={flip!r:.200} does not name each of {shape[0]} keypoints once")
    return {"kpt_shape": shape, "flip_idx": flip}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _invalid(message: str) -> TrainerFailure:
    return TrainerFailure("DATASET_INVALID", message, HINT)
