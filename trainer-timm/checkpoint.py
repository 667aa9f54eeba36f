"""Checkpoints on a disk. None needs pickle, so a stranger's may be read: it can be wrong, but it cannot run code.

`best` is a safetensors file of weights. Its header carries a description under DESCRIPTION, as JSON: architecture,
class names, input size, mean, std, interpolation, … so that the file says how to use itself. `last` is what a training
continues from, weights included, in one torch file that loads with `weights_only=True`; the same description is inside.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from catalogue import load_models
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from utils import TrainerFailure

DESCRIPTION = "vision-platform"
FORMAT = 1
SUFFIXES = (".safetensors", ".pt")
HINT = "Give a checkpoint that this trainer wrote: a .safetensors file, or a `last` of its trainings."
NEEDED: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: value == FORMAT,
    "architecture": lambda value: isinstance(value, str) and value in load_models(),
    "model_arguments": lambda value: isinstance(value, dict) and set(value) <= {"img_size"} and _sizes(value.values()),
    "class_names": lambda value: isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value),
    "input_size": lambda value: isinstance(value, list) and len(value) == 3 and value[0] == 3 and _sizes(value[1:]),
    "mean": lambda value: _numbers(value, -10, 10),
    "std": lambda value: _numbers(value, 1e-6, 10),
    "interpolation": lambda value: value in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"),
    "crop_pct": lambda value: _numbers([value] * 3, 0.1, 1),
    "crop_mode": lambda value: value in ("center", "squash", "border"),
}

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Weights in memory and how to use them."""

    description: dict[str, Any]
    weights: Weights

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.description["class_names"])


def save_weights(path: Path, weights: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """A safetensors file, whole or not there."""
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    part = path.with_suffix(".part")
    save_file(own, part, {DESCRIPTION: json.dumps(description, ensure_ascii=False, allow_nan=False)})
    part.replace(path)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A training's state, whole or not there: tensors and JSON's own kinds, so that it loads with weights_only."""
    part = path.with_suffix(".part")
    with open(part, "wb") as file:  # given a path, torch would not say that the disk is full
        torch.save(dict(state), file)
    part.replace(path)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote. Raises TrainerFailure CHECKPOINT_INVALID."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file meets
        raise _invalid(f"{path.name} cannot be loaded: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise _invalid(f"{path.name} holds {type(state).__name__}, not a training's state")
    return state


def load_checkpoint(path: Path) -> Checkpoint:
    """The weights of a `best` or a `last`. Raises TrainerFailure CHECKPOINT_INVALID."""
    if path.suffix == ".pt":
        state = load_state(path)
        weights = state.get("ema") or state.get("model")
        return Checkpoint(_checked(path, state.get("description")), _checked_weights(path, weights))
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(DESCRIPTION, "null")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
        return Checkpoint(_checked(path, json.loads(text)), weights)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _invalid(f"{path.name} cannot be loaded: {error}") from error


def _checked(path: Path, description: Any) -> dict[str, Any]:
    """timm would fetch what other architectures name (`hf-hub:…`), and images get the size that is said here."""
    if not isinstance(description, dict):
        raise _invalid(f"{path.name} does not describe itself: it was not written by this trainer")
    wrong = [name for name, fits in NEEDED.items() if not fits(description.get(name))]
    if wrong:
        raise _invalid(f"{path.name}: {wrong[0]}={description.get(wrong[0])!r:.200} is not known here")
    return description


def _checked_weights(path: Path, weights: Any) -> Weights:
    if not isinstance(weights, dict) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise _invalid(f"{path.name} holds no weights")
    return dict(weights)


def _sizes(values: Iterable[Any]) -> bool:
    return all(type(value) is int and 1 <= value <= 8192 for value in values)


def _numbers(values: Any, least: float, most: float) -> bool:
    """Whether these are three numbers in that range."""
    fits = isinstance(values, list) and len(values) == 3
    return fits and all(isinstance(value, int | float) and least <= value <= most for value in values)


def _invalid(message: str) -> TrainerFailure:
    return TrainerFailure("CHECKPOINT_INVALID", message, HINT)
