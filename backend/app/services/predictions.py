"""Ask a job's best checkpoint about one image, by running its trainer's predict.py (see docs/trainer-contract.md).

On the CPU, so that it takes nothing from a training that holds the GPU.
"""

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from jsonschema import Draft202012Validator

from app import slots
from app.db import Database
from app.errors import AppError, Conflict, Invalid, NotFound, PredictionFailed, StorageUnavailable
from app.launchers import environment
from app.launchers.base import CompletedRun, Launcher, LaunchError
from app.services import attempts, jobs
from app.settings import REPOSITORY, Settings
from app.storage import Storage
from app.trainers import Catalogue, Trainer
from app.words import CheckpointKind

SCHEMA = REPOSITORY / "contracts" / "prediction.schema.json"
UPLOADS = "uploads"
EXTENSION = re.compile(r"[a-z0-9]{1,5}")
SHOWN_STDERR = 2000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What predicting needs of the platform."""

    database: Database
    storage: Storage
    catalogue: Catalogue
    launcher: Launcher
    settings: Settings


@dataclass(frozen=True)
class Model:
    """The best checkpoint of a job."""

    job_id: int
    framework: str
    task_type: str
    model_name: str
    key: str
    sha256: str
    epoch: int


def find_model(database: Database, job_id: int) -> Model:
    """NotFound without such a job, Conflict while it has no best checkpoint."""
    with database.read_session() as session:
        job = jobs.get(session, job_id)
        best = attempts.newest_checkpoint(session, job_id, CheckpointKind.BEST)
        if best is None:
            raise Conflict(
                f"job {job_id} is {job.status} and has no best checkpoint yet; wait for its first validation"
            )
        return Model(job_id, job.framework, job.task_type, job.model_name, best.key, best.sha256, best.epoch)


def predict(tools: Tools, job_id: int, key: str, confidence: float) -> tuple[Model, dict[str, Any]]:
    """Which checkpoint answered, and its answer about the image at the key.

    Raises NotFound, Conflict, Invalid for what is no image, PredictionFailed for what is the trainer's fault.
    """
    model = find_model(tools.database, job_id)
    _check_image(tools, key)
    try:
        return model, _ask(tools, model, key, confidence)
    except PredictionFailed:
        newer = find_model(tools.database, job_id)
        if newer.key == model.key:
            raise
        return newer, _ask(tools, newer, key, confidence)  # a better one came and the first was deleted meanwhile


@contextmanager
def uploaded(storage: Storage, filename: str | None, data: bytes) -> Iterator[str]:
    """The image's key in storage while it is asked about."""
    extension = Path(filename or "").suffix.lower().removeprefix(".")
    key = f"{UPLOADS}/{uuid4().hex}.{extension if EXTENSION.fullmatch(extension) else 'bin'}"
    storage.put_bytes(key, data)
    try:
        yield key
    finally:
        try:
            storage.delete(key)
        except StorageUnavailable as error:
            log.warning("the upload %s stays in storage: %s", key, error.message)


def _check_image(tools: Tools, key: str) -> None:
    size, limit = tools.storage.size(key), tools.settings.max_image_bytes
    if size is None:
        raise NotFound(f"there is no object {key!r} in storage")
    if not 0 < size <= limit:
        raise _refused_image(key, f"has {size} bytes; an image has 1 to {limit} (MAX_IMAGE_BYTES)")


def _ask(tools: Tools, model: Model, key: str, confidence: float) -> dict[str, Any]:
    trainer = tools.catalogue.trainers.get(model.framework)
    if trainer is None:
        raise PredictionFailed(
            f"the trainer {model.framework!r} of job {model.job_id} is not in the catalogue any more"
        )
    parent = tools.settings.data_dir.resolve() / "work" / "predictions"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        told = {"TASK_TYPE": model.task_type, "MODEL_NAME": model.model_name, "CHECKPOINT": model.key}
        told |= {"IMAGE": key, "CONFIDENCE": str(confidence), **slots.environment([])}
        run = _run(tools, trainer, told, Path(folder))
    return _answer(run, key, trainer.name)


def _run(tools: Tools, trainer: Trainer, told: dict[str, str], work_dir: Path) -> CompletedRun:
    settings = tools.settings
    own = environment.allowed(os.environ, settings.trainer_environment.split(","))
    variables = own | told | attempts.work_environment(settings, work_dir)
    timeout = settings.prediction_timeout_seconds
    try:
        run = tools.launcher.run_once(trainer.command("predict"), trainer.folder, variables, work_dir, timeout)
    except LaunchError as error:
        raise PredictionFailed(error.message) from error
    if run.exit_code is None:
        raise PredictionFailed(f"predict.py of {trainer.name} took longer than {timeout:g} s and was stopped")
    return run


def _answer(run: CompletedRun, key: str, trainer: str) -> dict[str, Any]:
    """The last line that was printed, if it is what the contract allows."""
    line = (run.stdout.strip().splitlines() or [""])[-1]
    try:
        answer = json.loads(line)
    except ValueError:
        said = run.stderr_tail[-SHOWN_STDERR:]
        message = f"predict.py of {trainer} ended with exit code {run.exit_code} and no answer"
        raise PredictionFailed(message, exit_code=run.exit_code, stderr=said) from None
    problem = next(_schema().iter_errors(answer), None)
    if problem is not None:
        raise PredictionFailed(f"predict.py of {trainer} answered what the contract does not allow: {problem.message}")
    if "error" in answer:
        raise _refusal(answer["error"], key)
    return dict(answer)


def _refusal(error: dict[str, Any], key: str) -> AppError:
    match error["code"]:
        case "IMAGE_INVALID":
            return _refused_image(key, error["message"])
        case "IMAGE_MISSING":
            return NotFound(error["message"])
    return PredictionFailed(f"{error['code']}: {error['message']}", code=error["code"], hint=error.get("hint"))


def _refused_image(key: str, reason: str) -> Invalid:
    return Invalid(f"image {key!r}: {reason}", fields=[{"field": "image", "value": key, "message": reason}])


@cache
def _schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
