"""Train a YOLO model and tell the platform about it: `python train.py`, told everything by environment variables.

The contract is docs/trainer-contract.md. Exit 0 completed, 1 failed, 2 bad configuration, 3 stopped, 4 superseded.
Torch and Ultralytics are imported late: a bad configuration is refused at once, and the dataset downloads meanwhile.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import framework
import utils
from catalogue import default_image_size, find_problems, primary_metric, with_defaults
from checkpoint import TASKS
from dataset import describe_dataset
from endings import BAD_CONFIGURATION, COMPLETED, FAILED, STOPPED, SUPERSEDED, GracePeriod
from evaluation import curves, per_class_rows, validation_metrics
from failures import failure_of
from hooks import Hooks, StopRequested
from uploads import Uploads
from utils import ConfigError, Reporter, Superseded, TrainConfig, TrainerFailure
from weights import (
    ResumePoint,
    find_resume_point,
    find_weights,
    refuse_other_arguments,
    refuse_other_classes,
    restore_history,
    write_model,
)

from tracking import start_tracking

log = logging.getLogger("trainer")
T = TypeVar("T")
PLOTS = ("results.png", "labels.jpg", "confusion_matrix.png", "confusion_matrix_normalized.png", "train_batch0.jpg")
SAMPLES = tuple(f"val_batch{number}_{kind}.jpg" for number in range(3) for kind in ("labels", "pred"))


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        config = read_config()
    except ConfigError as error:
        print("\n".join(["this attempt cannot start:", *(f"- {one}" for one in error.problems)]), file=sys.stderr)
        return BAD_CONFIGURATION
    attempt = Attempt(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: attempt.reporter.request_stop())
    return attempt.run()


def read_config() -> TrainConfig:
    """Raises ConfigError with every problem of every variable."""
    problems = find_problems()
    try:
        config = utils.load_config()
    except ConfigError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise ConfigError(problems)
    return config


class Attempt:
    """One attempt at a job, from its first report to its last: data, model, loop, results."""

    def __init__(self, config: TrainConfig) -> None:
        self.started = time.monotonic()
        self.config, self.reporter = config, Reporter(config)
        self.online = os.environ.get("YOLO_OFFLINE", "").lower() not in ("1", "true", "yes", "on")
        self.tracker = start_tracking(config, self.reporter, parameters_of(config))
        self.uploads: Uploads | None = None
        self.hooks: Hooks | None = None
        self.trainer: Any = None
        self.grace = GracePeriod(config.grace_period, self.reporter, self.end_stopped)

    def run(self) -> int:
        """The exit code. What went wrong is reported, not raised."""
        self.reporter.start()
        try:
            utils.notify_status(self.reporter, "running")
            self.train()
            self.grace.claim()
            return self.end("completed", COMPLETED)
        except StopRequested:
            self.grace.claim()
            return self.end_stopped()
        except Superseded:
            self.grace.claim()
            return self.end(None, SUPERSEDED)
        except Exception as error:
            self.grace.claim()
            if self.reporter.should_stop:  # a SIGTERM to the process group takes the loaders of images, too
                log.exception("this went wrong while stopping")
                return self.end_stopped()
            return self.end_failed(error)

    def train(self) -> None:
        """Raises StopRequested, Superseded, TrainerFailure, or whatever the framework raises."""
        store = utils.get_storage_client()
        self.reporter.progress("prepare", force=True)
        download = Background(lambda: self.download(store))
        framework.import_ultralytics(self.config)
        self.leave_if_asked()
        self.uploads = Uploads(store, self.config, self.reporter, self.tracker.checkpoint)
        point = find_resume_point(store, self.config)
        weights = None if point else find_weights(store, self.config, self.online)
        data = describe_dataset(download.result(), self.config.task_type, self.config.work_dir)
        self.leave_if_asked()
        shutil.rmtree(self.config.work_dir / "train", ignore_errors=True)  # of a process before, in a terminal
        arguments = training_arguments(self.config, data, write_model(self.config), weights)
        self.hooks = Hooks(self.config, self.reporter, self.uploads, self.tracker, point, self.started)
        self.trainer = make_trainer(self.config, arguments, self.hooks, point)
        if point and point.best == point.path:
            self.uploads.submit(["best"], point.path, point.epoch, point.metrics)
        if point and point.epoch >= self.config.epochs:
            finish_training(self.trainer)
        else:
            self.trainer.train()
        with self.reporter.phase("upload"):
            self.publish(store, self.uploads, self.hooks)

    def download(self, store: Any) -> Path:
        def progress(done: int, total: int) -> None:
            self.leave_if_asked()
            self.reporter.progress("download", step=done, steps=total)

        with self.reporter.phase("download"):
            return utils.download_dataset(store, self.config, progress)

    def publish(self, store: Any, uploads: Uploads, hooks: Hooks) -> None:
        """The best model without its optimizer, its curves, plots and sample predictions."""
        uploads.drain()
        task, epoch, validator = self.config.task_type, hooks.best_epoch, self.trainer.validator
        folder, name = Path(self.trainer.save_dir), primary_metric(self.config.task_type)
        path = folder / "curves.json"
        path.write_text(json.dumps(curves(validator, task, epoch), allow_nan=False), encoding="utf-8")
        key = utils.upload_artifact(store, self.config, self.reporter, "curves", path.name, path, epoch)
        metrics, rows = validation_metrics(self.trainer.metrics, task), per_class_rows(validator, task)
        utils.send_validation_result(self.reporter, epoch, (name, metrics[name]), metrics, rows, key)
        wait_for_plots()
        self.upload_pictures(store, "plot", folder, PLOTS)
        self.upload_pictures(store, "sample_predictions", folder, SAMPLES)
        uploads.submit(["best"], self.trainer.best, epoch, metrics)
        uploads.drain()
        utils.publish_best(store, self.config, self.reporter)

    def upload_pictures(self, store: Any, kind: str, folder: Path, names: tuple[str, ...]) -> None:
        for name in names:
            if (folder / name).exists():
                utils.upload_artifact(store, self.config, self.reporter, kind, name, folder / name)

    def leave_if_asked(self) -> None:
        if self.reporter.should_stop:
            raise StopRequested

    def end_stopped(self) -> int:
        """Upload the newest `last` of a completed epoch, unless it is stored already or the job has another owner."""
        if self.reporter.superseded:
            return self.end(None, SUPERSEDED)
        try:
            self.upload_newest_last()
        except Superseded:
            return self.end(None, SUPERSEDED)
        except Exception as error:  # the `last` of an earlier epoch remains
            log.exception("the newest checkpoint could not be uploaded")
            self.reporter.warning("LAST_NOT_UPLOADED", str(failure_of(error)))
        return self.end("stopped", STOPPED)

    def upload_newest_last(self) -> None:
        hooks, uploads = self.hooks, self.uploads
        if not hooks or not uploads:
            return
        if hooks.completed > uploads.epochs["last"] and hooks.last_is_whole:
            uploads.submit(["last"], self.trainer.last, hooks.completed, hooks.metrics)
        if not uploads.drain(self.config.grace_period * 0.4):
            raise TrainerFailure("STORAGE_ERROR", "the storage did not take the newest checkpoint in time")

    def end_failed(self, error: Exception) -> int:
        failure = failure_of(error)
        log.error("%s: %s", failure.code, failure.message, exc_info=error)
        utils.notify_status(self.reporter, "failed", failure)
        return self.end("failed", FAILED, reported=True)

    def end(self, status: str | None, code: int, reported: bool = False) -> int:
        """Report the outcome, and send what is left within the grace period."""
        if status and not reported:
            utils.notify_status(self.reporter, status)
        self.grace.exit_code = code
        hurry = self.reporter.should_stop
        self.tracker.close(status, timeout=self.config.grace_period * 0.1 if hurry else 10)
        self.reporter.close(timeout=self.config.grace_period * 0.3 if hurry else None)
        log.info("%s; exit code %d", status or "superseded", code)
        return code


def parameters_of(config: TrainConfig) -> dict[str, Any]:
    """What an experiment tracker shows of an attempt."""
    names = ("task_type", "model_name", "dataset_id", "dataset_version", "epochs", "batch_size", "learning_rate")
    given = {name: getattr(config, name) for name in (*names, "image_size", "seed", "weights")}
    return {**given, **with_defaults(config.hyperparameters)}


def training_arguments(config: TrainConfig, data: Path, model: Path, weights: Path | None) -> dict[str, Any]:
    """Ultralytics' names for what was asked. The optimizer is always explicit: `auto` ignores the learning rate."""
    return {
        "task": TASKS[config.task_type],
        "mode": "train",
        "model": str(model),
        "pretrained": str(weights) if weights else False,
        "data": str(data),
        "epochs": config.epochs,
        "batch": config.batch_size,
        "lr0": config.learning_rate,
        "imgsz": config.image_size or default_image_size(config.task_type),
        "device": config.device,
        "workers": 8 if config.workers is None else config.workers,
        "seed": config.seed or 0,
        "save_dir": str(config.work_dir / "train"),
        "exist_ok": True,
        **with_defaults(config.hyperparameters),
    }


def make_trainer(config: TrainConfig, arguments: dict[str, Any], hooks: Hooks, point: ResumePoint | None) -> Any:
    """Ultralytics' trainer of the task, with what the attempts before left behind."""
    if point:
        refuse_other_arguments(point, arguments, config.model_name)
        arguments = {**arguments, "resume": str(point.path)}
    trainer = framework.trainer_class(config.task_type)(overrides=arguments, _callbacks=hooks.callbacks())
    if point:
        refuse_other_classes(point, trainer.data["names"])
        shutil.copyfile(point.path, trainer.last)
        if point.best:
            shutil.copyfile(point.best, trainer.best)
        restore_history(point, trainer.csv)
    return trainer


def finish_training(trainer: Any) -> None:
    """Every epoch was completed, but the attempt ended before its results were stored: only they are left to do."""
    log.info("all %d epochs are completed; validating the best model", trainer.epochs)
    trainer.resume_training = lambda content: None  # which would refuse
    trainer.train_time_start = time.time()
    trainer._setup_train()
    trainer.epoch = trainer.epochs - 1
    if not trainer.best.exists():
        shutil.copyfile(trainer.last, trainer.best)
    trainer.final_eval()
    trainer.plot_metrics()
    trainer.run_callbacks("on_train_end")


def wait_for_plots() -> None:
    """Ultralytics draws in threads of its own."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(timeout=30)


class Background(Generic[T]):
    """A function that runs in a thread which never delays the end of the process."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function, self._done = function, threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def result(self) -> T:
        """Its value once it is there; raises what it raised."""
        self._done.wait()
        if self._error:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking torch apart takes seconds, and a SIGTERM meanwhile would replace the exit code
