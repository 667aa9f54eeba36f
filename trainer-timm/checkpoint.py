"""Checkpoints on a disk. None needs pickle, so a stranger's may be read: it can be wrong, but it cannot run code.

`best` is a safetensors file of weights. Its header carries a description under DESCRIPTION, as JSON: architecture,
class names, input size, mean, std, interpolation, … so that the file says how to use itself. `last` is what a training
continues from, weights included, in one torch file that loads with `weights_only=True`; the same description is inside.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from utils import TrainerFailure

DESCRIPTION = "vision-platform"
FORMAT = 1
SUFFIXES = (".safetensors", ".pt")
HINT = "Give a checkpoint that this trainer wrote: a .safetensors file, or a `last` of its trainings."
NEEDED: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "architecture": str,
    "model_arguments": dict,
    "class_names": list,
    "input_size": list,
    "mean": list,
    "std": list,
    "interpolation": str,
    "crop_pct": (int, float),
    "crop_mode": str,
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
    torch.save(dict(state), part)
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
    if not isinstance(description, dict):
        raise _invalid(f"{path.name} does not describe itself: it was not written by this trainer")
    wrong = [name for name, kind in NEEDED.items() if not isinstance(description.get(name), kind)]
    if wrong or description["format"] > FORMAT:
        raise _invalid(f"{path.name}: its description has no {', '.join(wrong) or 'format that is known here'}")
    return description


def _checked_weights(path: Path, weights: Any) -> Weights:
    if not isinstance(weights, dict) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise _invalid(f"{path.name} holds no weights")
    return dict(weights)


def _invalid(message: str) -> TrainerFailure:
    return TrainerFailure("CHECKPOINT_INVALID", message, HINT)
