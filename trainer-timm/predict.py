"""Predict with a checkpoint: one JSON object an image on standard output, everything else on standard error.

Told everything by environment variables, as docs/trainer-contract.md says. Exit 0 when at least one image was answered,
1 when none could be, 2 when variables are wrong. PREDICT_MODE=serve answers each JSON line on standard input.
"""

import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import utils
from catalogue import TASK
from environment import prepare_timm
from images import read_image
from utils import ConfigError, TrainerFailure

SUFFIXES = (".safetensors", ".pt")
MOST_CLASSES = 5


@dataclass(frozen=True)
class PredictConfig:
    """What the environment asks for."""

    checkpoint: str
    image: str
    images_from: str
    device: str
    confidence: float
    serve: bool


def main() -> int:
    out = _keep_stdout_for_answers()
    try:
        config = load_predict_config()
    except ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    scratch = os.environ.get("WORK_DIR") or tempfile.gettempdir()
    os.makedirs(scratch, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="predict-") as folder:
        try:
            predictor = Predictor(config, Path(folder))
            lines = filter(str.strip, sys.stdin)
            answers = map(predictor.answer_line, lines) if config.serve else map(predictor.answer, predictor.keys())
            answered = [_print(answer, out) for answer in answers]
        except TrainerFailure as failure:
            print(json.dumps({"error": _error(failure)}), file=sys.stderr)
            return 1
    return 0 if config.serve or any(answered) else 1


def load_predict_config() -> PredictConfig:
    """Raises ConfigError with every problem at once, those of the storage included."""
    problems: list[str] = []
    task_type, checkpoint = utils.check_required_env(("TASK_TYPE", "CHECKPOINT"), problems).values()
    optional = ("IMAGE", "IMAGES_FROM", "DEVICE", "PREDICT_MODE")
    image, images_from, device, mode = (os.environ.get(name, "").strip() for name in optional)
    if task_type and task_type != TASK:
        problems.append(f"TASK_TYPE={task_type!r} is not {TASK}")
    if checkpoint and not checkpoint.endswith(SUFFIXES):
        problems.append(f"CHECKPOINT={checkpoint!r} does not end in {' or '.join(SUFFIXES)}")
    if mode not in ("", "serve"):
        problems.append(f"PREDICT_MODE={mode!r} is not 'serve'; leave it out to predict once")
    if not mode and bool(image) == bool(images_from):
        problems.append(f"{'both' if image else 'none'} of IMAGE and IMAGES_FROM is set; set one")
    confidence = utils.get_env_float("CONFIDENCE", problems, 0.25) or 0.0
    if not 0 <= confidence <= 1:
        problems.append(f"CONFIDENCE={confidence:g} is not between 0 and 1")
    try:
        utils.get_storage_client()
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return PredictConfig(checkpoint, image, images_from, device, confidence, mode == "serve")


class Predictor:
    """A model in memory, and a folder for what it is asked about. Raises TrainerFailure without such a model."""

    def __init__(self, config: PredictConfig, folder: Path) -> None:
        started = time.perf_counter()
        self.config, self.folder, self.store = config, folder, utils.get_storage_client()
        path = utils.download_checkpoint(self.store, config.checkpoint, folder / "checkpoint")
        prepare_timm(folder)
        from classifier import Classifier  # with torch and timm: takes seconds

        self.classifier = Classifier(path, config.device)
        self.once = {"load": _milliseconds_since(started)}  # told with the first answer

    def keys(self) -> list[str]:
        """The storage keys to answer, as IMAGE or the list at IMAGES_FROM says: JSON, or one a line."""
        if self.config.image:
            return [self.config.image]
        listing = utils.download_image(self.store, self.config.images_from, self.folder / "list")
        text = listing.read_bytes().decode(errors="replace").strip()
        try:
            keys = json.loads(text) if text.startswith("[") else list(filter(None, map(str.strip, text.splitlines())))
        except ValueError:
            keys = []
        if not keys or not all(isinstance(key, str) for key in keys):
            raise TrainerFailure("IMAGES_INVALID", f"IMAGES_FROM={self.config.images_from!r} holds no list of keys")
        return list(keys)

    def answer_line(self, line: str) -> dict[str, Any]:
        """The answer to `{"image": key, "confidence": 0.25}`; the confidence may be left out."""
        try:
            request = json.loads(line)
            key, confidence = str(request["image"]), float(request.get("confidence", self.config.confidence))
            if not 0 <= confidence <= 1:
                raise ValueError(f"confidence {confidence:g} is not between 0 and 1")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            message = f"{line.strip()[:200]!r} is not a request: {error!r}"
            return {"image": "", "error": _error(TrainerFailure("REQUEST_INVALID", message, 'Send {"image": key}.'))}
        return self.answer(key, confidence)

    def answer(self, key: str, confidence: float | None = None) -> dict[str, Any]:
        """What contracts/prediction.schema.json says; an error object where this image cannot be answered."""
        try:
            return self._predict(key, self.config.confidence if confidence is None else confidence)
        except TrainerFailure as failure:
            return {"image": key, "error": _error(failure)}
        except Exception as error:
            logging.exception("predicting on %s failed", key)
            code = "OUT_OF_MEMORY" if type(error).__name__ == "OutOfMemoryError" else "FRAMEWORK_CRASH"
            return {"image": key, "error": _error(TrainerFailure(code, f"{type(error).__name__}: {error}"))}

    def _predict(self, key: str, confidence: float) -> dict[str, Any]:
        started = time.perf_counter()
        path = utils.download_image(self.store, key, self.folder / "images")
        try:
            picture = read_image(path)
        finally:
            path.unlink()
        read, started = _milliseconds_since(started), time.perf_counter()
        found = self.classifier.classify(picture, MOST_CLASSES)
        predictions = [one for one in found if one["confidence"] >= confidence]
        once, self.once = self.once, {}
        return {
            "image": key,
            "task_type": TASK,
            "width": picture.width,
            "height": picture.height,
            "predictions": predictions,
            "count": len(predictions),
            "milliseconds": {**once, "read": read, "inference": _milliseconds_since(started)},
        }


def _error(failure: TrainerFailure) -> dict[str, str | None]:
    return {"code": failure.code, "message": failure.message, "hint": failure.hint}


def _print(answer: dict[str, Any], out: TextIO) -> bool:
    """Whether it was more than an error."""
    print(json.dumps(answer, ensure_ascii=False), file=out, flush=True)
    return "error" not in answer


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


def _keep_stdout_for_answers() -> TextIO:
    """Standard output, after which whatever libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    sys.exit(main())
