"""From a request to a job that can run: defaults filled in, every value checked against the catalogue and the datasets.

`resolve` finds every problem before it refuses, so that a person corrects a request once.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound, StorageUnavailable
from app.models import Dataset
from app.schemas.jobs import JobCreate
from app.services import datasets
from app.storage import Storage, check_key
from app.trainers import Catalogue, Task, Trainer

IMAGE_SIZE_STEP = 32
MAX_HYPERPARAMETERS_BYTES = 64 * 1024  # they travel in one environment variable
WEIGHTS_FOLDERS = ("weights/", "checkpoints/")
SHOWN_MODELS = 8


@dataclass(frozen=True)
class ResolvedJob:
    """The columns of a new job."""

    name: str
    framework: str
    task_type: str
    model_name: str
    dataset_id: str
    dataset_version: int
    config: dict[str, Any]
    gpus: int
    priority: int
    max_retries: int


def are_weights_missing(storage: Storage, weights: str) -> bool:
    """Whether the storage knows no such key. Where it does not answer, the trainer will tell (WEIGHTS_MISSING)."""
    if not weights.startswith(WEIGHTS_FOLDERS):
        return False
    try:
        return storage.impatient().size(weights) is None
    except (Invalid, StorageUnavailable):
        return False


def resolve(
    session: Session, request: JobCreate, catalogue: Catalogue, gpu_slots: int, *, weights_missing: bool = False
) -> ResolvedJob:
    """The job to store. `Invalid` with `details.fields`: each field, its value, what is wrong and what is allowed."""
    problems = _Problems()
    trainer = _trainer(request, catalogue, problems)
    task = _task(request, trainer, problems) if trainer else None
    if task:
        _check_model(request, task, problems)
    dataset = _dataset(session, request, problems)
    version = _dataset_version(request, dataset, problems) if dataset else 0
    _check_image_size(request.image_size, problems)
    _check_weights(request.weights, problems)
    if weights_missing:
        problems.add("weights", request.weights, "is not in storage; put it there, or choose another key")
    _check_hyperparameters(request.hyperparameters, trainer, problems)
    gpus = _gpus(request.gpus, trainer, gpu_slots, problems)
    problems.raise_if_any()
    assert task is not None and dataset is not None
    return ResolvedJob(
        name=request.name or f"{dataset.name} {request.model_name}"[:200],
        framework=request.framework,
        task_type=request.task_type,
        model_name=request.model_name,
        dataset_id=dataset.id,
        dataset_version=version,
        config=_config(request, task),
        gpus=gpus,
        priority=request.priority,
        max_retries=request.max_retries,
    )


class _Problems:
    def __init__(self) -> None:
        self._fields: list[dict[str, Any]] = []

    def add(self, field: str, value: Any, message: str, allowed: list[Any] | None = None) -> None:
        problem = {"field": field, "value": value, "message": message}
        self._fields.append(problem if allowed is None else problem | {"allowed": allowed})

    def raise_if_any(self) -> None:
        if self._fields:
            words = [f"{problem['field']}={problem['value']!r} {problem['message']}" for problem in self._fields]
            raise Invalid("; ".join(words), fields=self._fields)


def _trainer(request: JobCreate, catalogue: Catalogue, problems: _Problems) -> Trainer | None:
    trainer = catalogue.trainers.get(request.framework)
    if trainer is None:
        allowed = sorted(catalogue.trainers)
        problems.add("framework", request.framework, f"is not installed here; {_choices(allowed)}", allowed)
    return trainer


def _task(request: JobCreate, trainer: Trainer, problems: _Problems) -> Task | None:
    task = trainer.tasks.get(request.task_type)
    if task is None:
        allowed = list(trainer.tasks)
        problems.add("task_type", request.task_type, f"is not offered by {trainer.name}; {_choices(allowed)}", allowed)
    return task


def _check_model(request: JobCreate, task: Task, problems: _Problems) -> None:
    if not task.offers(request.model_name):
        close = get_close_matches(request.model_name, task.model_names, n=SHOWN_MODELS, cutoff=0.5)
        message = f"is not a model for {request.task_type}; {_choices(close or task.model_names[:SHOWN_MODELS])}"
        problems.add("model_name", request.model_name, message, [model["name"] for model in task.models])


def _dataset(session: Session, request: JobCreate, problems: _Problems) -> Dataset | None:
    try:
        dataset = datasets.find(session, request.dataset_id, lock=True)
    except NotFound:
        message = "is neither the id nor the name of a dataset; `vision dataset list` shows them"
        problems.add("dataset_id", request.dataset_id, message)
        return None
    if dataset.task_type != request.task_type:
        problems.add("dataset_id", request.dataset_id, f"is a dataset for {dataset.task_type}, not {request.task_type}")
    return dataset


def _dataset_version(request: JobCreate, dataset: Dataset, problems: _Problems) -> int:
    known = [version.version for version in dataset.versions]
    if request.dataset_version is None:
        return max(known)
    if request.dataset_version not in known:
        message = f"is not a version of {dataset.name}; {_choices(known)}"
        problems.add("dataset_version", request.dataset_version, message, known)
    return request.dataset_version


def _check_image_size(size: int | None, problems: _Problems) -> None:
    if size is not None and size % IMAGE_SIZE_STEP:
        below = max(size // IMAGE_SIZE_STEP, 1) * IMAGE_SIZE_STEP
        allowed = [below, below + IMAGE_SIZE_STEP]
        problems.add("image_size", size, f"is not a multiple of {IMAGE_SIZE_STEP}; {_choices(allowed)}", allowed)


def _check_weights(weights: str, problems: _Problems) -> None:
    if weights in ("pretrained", "scratch"):
        return
    try:
        check_key(weights)
    except Invalid as error:
        problems.add("weights", weights, error.message)
        return
    if not weights.startswith(WEIGHTS_FOLDERS):
        folders = " or ".join(f"{folder}…" for folder in WEIGHTS_FOLDERS)
        problems.add("weights", weights, f"is neither 'pretrained' nor 'scratch' nor a storage key {folders}")


def _check_hyperparameters(values: dict[str, Any], trainer: Trainer | None, problems: _Problems) -> None:
    try:
        if len(json.dumps(values)) > MAX_HYPERPARAMETERS_BYTES:
            problems.add("hyperparameters", "…", f"has more than {MAX_HYPERPARAMETERS_BYTES} bytes as JSON")
            return
        for path, value in _not_finite("hyperparameters", values):
            problems.add(path, str(value), "is not a finite number")
        if trainer:
            _check_against_schema(values, trainer, problems)
    except RecursionError:
        problems.add("hyperparameters", "…", "is nested too deeply")


def _check_against_schema(values: dict[str, Any], trainer: Trainer, problems: _Problems) -> None:
    known = list(trainer.hyperparameters.get("properties", {}))
    for name in values.keys() - set(known):
        close = get_close_matches(name, known, cutoff=0.5)
        message = f"is not a hyperparameter of {trainer.name}; {_choices(close or known)}"
        problems.add(f"hyperparameters.{name}", values[name], message, known)
    for error in trainer.hyperparameter_errors({name: values[name] for name in known if name in values}):
        field = ".".join(["hyperparameters", *map(str, error.path)])
        problems.add(field, error.instance, error.message)


def _gpus(asked: int | None, trainer: Trainer | None, gpu_slots: int, problems: _Problems) -> int:
    """What was asked for, or one GPU where the machine has one and the trainer can use it."""
    if asked is None:
        return 1 if gpu_slots and trainer and trainer.max_gpus else 0
    if asked > gpu_slots:
        problems.add("gpus", asked, f"is more than this machine has ({gpu_slots})", list(range(gpu_slots + 1)))
    elif trainer and asked > trainer.max_gpus:
        allowed = list(range(trainer.max_gpus + 1))
        problems.add("gpus", asked, f"is more than {trainer.name} can use ({trainer.max_gpus})", allowed)
    return asked


def _config(request: JobCreate, task: Task) -> dict[str, Any]:
    """The request's own values over the task's defaults."""
    asked = {name: getattr(request, name) for name in ("epochs", "batch_size", "learning_rate", "image_size")}
    chosen = task.defaults | {name: value for name, value in asked.items() if value is not None}
    others = ("seed", "workers", "weights", "save_period", "hyperparameters")
    return chosen | {name: getattr(request, name) for name in others}


def _not_finite(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(f"{path}.{name}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(f"{path}.{index}", inner)


def _choices(allowed: list[Any]) -> str:
    return f"choose {', '.join(str(choice) for choice in allowed)}" if allowed else "there is nothing to choose from"
