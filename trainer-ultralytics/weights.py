"""What a training starts from. Ultralytics is only ever given absolute paths that exist: else it would download."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import framework
from evaluation import validation_metrics
from utils import TrainConfig, TrainerFailure, download_checkpoint, download_resume, download_weights, read_pointer

FIXED = (
    *("task", "epochs", "seed", "optimizer", "lr0", "lrf", "cos_lr"),
    *("momentum", "weight_decay", "warmup_epochs", "single_cls"),
)  # what a resumed training must have in common with the one before


@dataclass(frozen=True)
class ResumePoint:
    """A `last` to continue from, and the `best` of the attempts before, if they had one."""

    path: Path
    epoch: int  # completed epochs
    metrics: Mapping[str, float]  # of that epoch
    arguments: Mapping[str, Any]  # what it was trained with
    model_name: str
    class_names: tuple[str, ...]
    history: Mapping[str, list[Any]]  # the columns of results.csv
    best: Path | None  # `path` itself where that is better than what is stored as `best`
    best_epoch: int
    best_fitness: float | None


def write_model(config: TrainConfig) -> Path:
    """The packaged description of MODEL_NAME, in a file whose name tells Ultralytics the size."""
    path = config.work_dir / f"{config.model_name}.yaml"
    path.write_bytes(framework.packaged_model(config.model_name).read_bytes())
    return path


def find_weights(store: Any, config: TrainConfig, online: bool) -> Path | None:
    """The file to start from, None for `scratch`. Raises TrainerFailure WEIGHTS_MISSING."""
    if config.weights == "scratch":
        return None
    path = _find_pretrained(store, config, online) if config.weights == "pretrained" else _stored(store, config)
    try:
        framework.load_checkpoint(path)
    except Exception as error:
        message = f"{config.weights} ({path.name}) cannot be loaded by Ultralytics: {error}"
        raise TrainerFailure("WEIGHTS_MISSING", message, "Give weights that Ultralytics wrote, or scratch.") from error
    return path


def find_resume_point(store: Any, config: TrainConfig) -> ResumePoint | None:
    """Where to continue; None to start anew. Raises TrainerFailure CHECKPOINT_MISSING or RESUME_INVALID."""
    path = download_resume(store, config)
    if path is None:
        return None
    model, content = _read_training_state(path)
    best, best_epoch, best_fitness = _find_best(store, config)
    fitness = _fitness_of(content)
    if fitness is not None and (best_fitness is None or fitness > best_fitness):  # it was not stored as `best` in time
        best, best_epoch, best_fitness = path, content["epoch"] + 1, fitness
    return ResumePoint(
        path=path,
        epoch=content["epoch"] + 1,
        metrics=validation_metrics(content.get("train_metrics") or {}, config.task_type),
        arguments=content["train_args"],
        model_name=Path(model.yaml.get("yaml_file", "")).stem,
        class_names=_names_of(model.names),
        history=content.get("train_results") or {},
        best=best,
        best_epoch=best_epoch,
        best_fitness=best_fitness,
    )


def refuse_other_arguments(point: ResumePoint, wanted: Mapping[str, Any], model_name: str) -> None:
    """Ultralytics would quietly keep what the checkpoint was trained with. Raises TrainerFailure RESUME_INVALID."""
    trained = {**point.arguments, "MODEL_NAME": point.model_name or model_name}
    asked = {**{name: wanted[name] for name in FIXED if name in wanted}, "MODEL_NAME": model_name}
    different = [name for name in asked if trained.get(name) != asked[name]]
    if different:
        message = ", ".join(f"{name} was {trained.get(name)!r} and is {asked[name]!r}" for name in different)
        raise _cannot_resume(f"the checkpoint was trained with other parameters: {message}")


def refuse_other_classes(point: ResumePoint, names: Mapping[int, str]) -> None:
    """Ultralytics would start the layers anew that depend on the classes. Raises TrainerFailure RESUME_INVALID."""
    wanted = _names_of(names)
    if wanted != point.class_names:
        numbers = f"{len(point.class_names)} classes, and the dataset has {len(wanted)}"
        details = f"{', '.join(point.class_names)[:200]} against {', '.join(wanted)[:200]}"
        raise _cannot_resume(f"the checkpoint was trained on {numbers}: {details}")


def restore_history(point: ResumePoint, path: Path) -> None:
    """results.csv of the epochs before, so that the plot of results shows all of them."""
    columns = point.history
    if columns and len({len(values) for values in columns.values()}) == 1:
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def _find_pretrained(store: Any, config: TrainConfig, online: bool) -> Path:
    key = f"weights/ultralytics/{config.model_name}.pt"
    try:
        return download_weights(store, key, config.work_dir / "weights")
    except TrainerFailure as failure:
        if failure.code != "WEIGHTS_MISSING":
            raise
    kept = config.cache_dir / "weights" / "ultralytics" / f"{config.model_name}.pt"
    if kept.is_file():
        return kept
    hint = f"Put the file into storage as {key}, or set WEIGHTS=scratch."
    if not online:
        message = f"{key} is not in the storage, and YOLO_OFFLINE forbids the hub"
        raise TrainerFailure("WEIGHTS_MISSING", message, hint)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        return framework.download_from_hub(config.model_name, kept.parent)
    except ConnectionError as error:
        message = f"{key} is not in the storage, and Ultralytics' hub does not answer: {error}"
        raise TrainerFailure("WEIGHTS_MISSING", message, hint) from error


def _stored(store: Any, config: TrainConfig) -> Path:
    if not config.weights.endswith(".pt"):  # of a .yaml, Ultralytics would evaluate what it says
        raise TrainerFailure("WEIGHTS_MISSING", f"WEIGHTS={config.weights!r} does not end in .pt")
    return download_weights(store, config.weights, config.work_dir / "weights")


def _read_training_state(path: Path) -> tuple[Any, dict[str, Any]]:
    """Model and content of a checkpoint that can be continued; Ultralytics starts anew from others, with a warning."""
    try:
        model, content = framework.load_checkpoint(path)
    except Exception as error:
        raise _cannot_resume(f"{path.name} cannot be loaded: {error}") from error
    absent = [name for name in ("optimizer", "ema", "train_args") if not content.get(name)]
    if absent or content.get("epoch", -1) < 0:
        raise _cannot_resume(f"{path.name} holds weights alone, without {', '.join(absent) or 'its epoch'}")
    return model, content


def _find_best(store: Any, config: TrainConfig) -> tuple[Path | None, int, float | None]:
    pointer = read_pointer(store, config, "best")
    if pointer is None:
        return None, 0, None
    path = download_checkpoint(store, pointer["key"], config.work_dir / "resume", pointer["sha256"])
    _, content = framework.load_checkpoint(path)
    return path, pointer["epoch"], _fitness_of(content)


def _fitness_of(content: Mapping[str, Any]) -> float | None:
    return (content.get("train_metrics") or {}).get("fitness")


def _names_of(names: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(str(names[number]) for number in sorted(names))


def _cannot_resume(message: str) -> TrainerFailure:
    return TrainerFailure("RESUME_INVALID", message, "Resume from `last` of the same job, or start anew.")
