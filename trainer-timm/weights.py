"""What a training starts from: nothing, weights of others, or a training of ours that was interrupted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from building import place_file
from catalogue import pretrained_tag, primary_metric, with_defaults
from checkpoint import Checkpoint, load_checkpoint, load_state
from environment import is_offline
from utils import (
    TrainConfig,
    TrainerFailure,
    download_checkpoint,
    download_resume,
    download_weights,
    read_pointer,
)

STEPS = ("optimizer", "momentum", "weight_decay", "layer_decay", "schedule", "final_lr", "warmup_epochs")
FIXED = (*STEPS, "primary_metric", "ema_decay")  # hyperparameters that a resumed training must share


@dataclass(frozen=True)
class ResumePoint:
    """A `last` to continue from, and the `best` of the attempts before, if they had one."""

    path: Path
    state: Mapping[str, Any]
    best: Path | None  # `path` itself where that is better than what is stored as `best`
    best_epoch: int
    best_value: float  # of the primary metric

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return int(self.state["epoch"])

    @property
    def metrics(self) -> dict[str, float]:
        """Of that epoch."""
        return dict(self.state["metrics"])


def find_weights(store: Any, config: TrainConfig) -> Path | Checkpoint | str | None:
    """For building.make_model: a file of timm's, a checkpoint, "hub", None. Raises TrainerFailure WEIGHTS_MISSING."""
    if config.weights == "scratch":
        return None
    if config.weights == "pretrained":
        return _find_pretrained(store, config)
    path = download_weights(store, config.weights, config.work_dir / "weights")
    try:
        return load_checkpoint(path)
    except TrainerFailure as failure:
        raise TrainerFailure("WEIGHTS_MISSING", f"{config.weights}: {failure.message}", failure.hint) from failure


def training_arguments(config: TrainConfig, image_size: int) -> dict[str, Any]:
    """What a checkpoint remembers, so that a resume with other parameters is refused."""
    chosen = with_defaults(config.hyperparameters)
    own = {"model_name": config.model_name, "epochs": config.epochs, "learning_rate": config.learning_rate}
    return {**own, "image_size": image_size, **{name: chosen[name] for name in FIXED}}


def find_resume_point(store: Any, config: TrainConfig, image_size: int) -> ResumePoint | None:
    """Where to continue; None to start anew. Raises TrainerFailure CHECKPOINT_MISSING or RESUME_INVALID."""
    path = download_resume(store, config)
    if path is None:
        return None
    state = _read_state(path)
    _refuse_other_arguments(state["arguments"], training_arguments(config, image_size))
    name = primary_metric(config.hyperparameters)
    best, best_epoch, best_value = _find_best(store, config, name)
    if best is None or state["metrics"][name] > best_value:  # it was not stored as `best` in time
        best, best_epoch, best_value = path, state["epoch"], state["metrics"][name]
    return ResumePoint(path, state, best, best_epoch, best_value)


def refuse_other_classes(point: ResumePoint, names: Sequence[str]) -> None:
    """Raises TrainerFailure RESUME_INVALID."""
    trained = point.state["description"]["class_names"]
    if trained != list(names):
        numbers = f"{len(trained)} classes, and the dataset has {len(names)}"
        details = f"{', '.join(trained)[:200]} against {', '.join(names)[:200]}"
        raise cannot_resume(f"the checkpoint was trained on {numbers}: {details}")


def cannot_resume(message: str) -> TrainerFailure:
    return TrainerFailure("RESUME_INVALID", message, "Resume from `last` of the same job, or start anew.")


def _find_pretrained(store: Any, config: TrainConfig) -> Path | str:
    name, tag = config.model_name.partition(".")[0], pretrained_tag(config.model_name)
    for one in dict.fromkeys((config.model_name, f"{name}.{tag}" if tag else config.model_name)):
        try:
            return download_weights(store, f"weights/timm/{one}.safetensors", config.work_dir / "weights")
        except TrainerFailure as failure:
            if failure.code != "WEIGHTS_MISSING":
                raise
    message = f"weights/timm/{config.model_name}.safetensors is not in the storage"
    if tag is None:
        raise TrainerFailure("WEIGHTS_MISSING", f"{message}, and timm has none for it", "Set WEIGHTS=scratch.")
    if is_offline():
        message += ", and HF_HUB_OFFLINE forbids the hub"
        raise TrainerFailure("WEIGHTS_MISSING", message, place_file(config.model_name))
    return "hub"


def _read_state(path: Path) -> dict[str, Any]:
    """A state that can be continued; weights alone would silently begin anew."""
    if path.suffix != ".pt":
        raise cannot_resume(f"{path.name} holds weights alone; a `last` ends in .pt")
    try:
        state = load_state(path)
    except TrainerFailure as failure:
        raise cannot_resume(failure.message) from failure
    needed = ("model", "optimizer", "scaler", "random", "epoch", "metrics", "arguments", "description")
    if absent := [name for name in needed if name not in state]:
        raise cannot_resume(f"{path.name} is no training's state: it has no {', '.join(absent)}")
    return state


def _refuse_other_arguments(trained: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    different = [name for name in asked if trained.get(name) != asked[name]]
    if different:
        message = ", ".join(f"{name} was {trained.get(name)!r} and is {asked[name]!r}" for name in different)
        raise cannot_resume(f"the checkpoint was trained with other parameters: {message}")


def _find_best(store: Any, config: TrainConfig, name: str) -> tuple[Path | None, int, float]:
    pointer = read_pointer(store, config, "best")
    value = (pointer or {}).get("metrics", {}).get(name)
    if pointer is None or value is None:
        return None, 0, float("-inf")
    path = download_checkpoint(store, pointer["key"], config.work_dir / "resume", pointer["sha256"])
    return path, pointer["epoch"], value
