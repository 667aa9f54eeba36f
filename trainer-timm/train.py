"""Train an image classifier of timm and tell the platform about it: `python train.py`, told everything by variables.

The contract is docs/trainer-contract.md. Exit 0 completed, 1 failed, 2 bad configuration, 3 stopped, 4 superseded.
Torch and timm are imported late: a bad configuration is refused at once, and the dataset downloads meanwhile.
"""

import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import utils
from attempt import Attempt, Background
from catalogue import default_image_size, find_problems, primary_metric, with_defaults
from endings import BAD_CONFIGURATION
from environment import prepare_timm
from uploads import Saved, Uploads
from utils import ConfigError, TrainConfig, TrainerFailure

if TYPE_CHECKING:
    from evaluation import Result
    from weights import ResumePoint

log = logging.getLogger("trainer")
LONG_EPOCH = 60.0  # seconds; longer ones upload `last` every time, shorter ones every fifth
SAMPLES = 24  # images of each kind in the sample predictions
DRAWN_CLASSES = 400  # up to which the confusion matrix is drawn


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        config = read_config()
    except ConfigError as error:
        print("\n".join(["this attempt cannot start:", *(f"- {one}" for one in error.problems)]), file=sys.stderr)
        return BAD_CONFIGURATION
    attempt = Attempt(config, train, parameters_of(config))
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


def parameters_of(config: TrainConfig) -> dict[str, Any]:
    """What an experiment tracker shows of an attempt."""
    names = ("task_type", "model_name", "dataset_id", "dataset_version", "epochs", "batch_size", "learning_rate")
    given = {name: getattr(config, name) for name in (*names, "image_size", "seed", "weights")}
    return {**given, **with_defaults(config.hyperparameters)}


def train(attempt: Attempt) -> None:
    """Data, model, loop, results. Raises StopRequested, Superseded, TrainerFailure, or whatever torch raises."""
    config, store = attempt.config, utils.get_storage_client()
    attempt.reporter.progress("prepare", force=True)
    download = Background(lambda: download_dataset(attempt, store))
    prepare_timm(config.cache_dir)
    import building  # noqa: F401  (with all of timm: takes seconds, while the dataset downloads)

    attempt.leave_if_asked()
    attempt.uploads = Uploads(store, config, attempt.reporter, attempt.tracker.checkpoint)
    training = Training(attempt, attempt.uploads, store)
    training.prepare(download)
    while not training.is_over():
        training.run_epoch()
    log.info("epoch %d of %d; the best is epoch %d", training.epoch, config.epochs, training.best_epoch)
    training.end_phase("train")
    training.publish()


def download_dataset(attempt: Attempt, store: Any) -> Path:
    def progress(done: int, total: int) -> None:
        attempt.leave_if_asked()
        attempt.reporter.progress("download", step=done, steps=total)

    with attempt.reporter.phase("download"):
        return utils.download_dataset(store, attempt.config, progress)


class Training:
    """One attempt's model on its way through the epochs."""

    def __init__(self, attempt: Attempt, uploads: Uploads, store: Any) -> None:
        self.attempt, self.uploads, self.store = attempt, uploads, store
        self.config, self.reporter = attempt.config, attempt.reporter
        self.chosen, self.primary = (
            with_defaults(self.config.hyperparameters),
            primary_metric(self.config.hyperparameters),
        )
        self.image_size = self.config.image_size or default_image_size()
        self.folder = self.config.work_dir / "train"
        self.phase_started = attempt.started
        self.epoch = self.best_epoch = 0  # completed, and the best of them
        self.best_value = -math.inf
        self.best: Path | None = None
        self.steps_done = 0  # of this attempt, for the time that is left

    # ------------------------------------------------------------------------------------------------ data and model

    def prepare(self, download: Background[Path]) -> None:
        """Everything that the first epoch needs, or the next one of an interrupted training."""
        from building import describe_model, make_model, training_transform, validation_transform
        from dataset import find_images, make_loader
        from hardware import choose_device, loading_processes
        from learner import Learner, seed_everything
        from weights import find_resume_point, find_weights, refuse_other_classes

        config, self.device = self.config, choose_device(self.config.device)
        point = find_resume_point(self.store, config, self.image_size)
        weights = None if point else find_weights(self.store, config)
        self.data = find_images(download.result())
        if point:
            refuse_other_classes(point, self.data.class_names)
        self.attempt.leave_if_asked()
        seed_everything(config.seed or 0)
        model = make_model(config, self.data.class_names, weights, self.reporter)
        self.description = describe_model(model, config, self.data.class_names)
        self.learner: Learner = Learner(model, config, self.data.counts(), self.device)
        workers, size = loading_processes(config, self.device), config.batch_size
        transform = training_transform(self.description, self.chosen)
        self.train_loader = make_loader(self.data.train, transform, size, workers, self.device, training=True)
        transform = validation_transform(self.description)
        self.val_loader = make_loader(self.data.val, transform, size, workers, self.device, training=False)
        shutil.rmtree(self.folder, ignore_errors=True)  # of a process before, in a terminal
        self.folder.mkdir(parents=True)
        if point:
            self.continue_from(point)
        self.report_run(workers)

    def continue_from(self, point: "ResumePoint") -> None:
        """Raises TrainerFailure RESUME_INVALID where the state does not fit, rather than to start anew."""
        from weights import cannot_resume

        updates = math.ceil(len(self.train_loader) / self.chosen["accumulate"])
        try:
            self.learner.continue_from(point.state, updates)
        except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
            raise cannot_resume(f"{point.path.name} does not fit this training: {error}"[:2000]) from error
        self.epoch, self.best_epoch, self.best_value = point.epoch, point.best_epoch, point.best_value
        self.uploads.epochs["last"] = point.epoch
        if point.best == point.path:
            self.save_best(point.metrics)
        else:
            self.best = point.best
        log.info("continuing after epoch %d; the best so far is epoch %d", self.epoch, self.best_epoch)

    def report_run(self, workers: int) -> None:
        from hardware import hardware, versions

        self.reporter.emit("run", versions=versions(), hardware={**hardware(self.device), "workers": workers})
        self.end_phase("prepare")
        self.training_started = time.monotonic()

    # ---------------------------------------------------------------------------------------------------------- loop

    def is_over(self) -> bool:
        """All epochs are completed, or too many of them brought nothing better."""
        tired = 0 < self.chosen["patience"] <= self.epoch - self.best_epoch
        return self.epoch >= self.config.epochs or tired

    def run_epoch(self) -> None:
        """Learn, validate, report, save. An epoch is completed when its state is saved."""
        started = time.monotonic()
        values = self.learner.train_epoch(self.epoch + 1, self.train_loader, self.after_training_batch)
        self.report_metrics(values)
        result = self.validate()
        metrics = result.metrics()
        if not math.isfinite(result.loss):
            raise TrainerFailure("NAN_LOSS", f"the validation loss is {result.loss}", "Lower LEARNING_RATE.")
        self.report_metrics({"val/loss": result.loss})
        rows = result.per_class(self.data.class_names)
        primary = self.primary, metrics[self.primary]
        utils.send_validation_result(self.reporter, self.epoch + 1, primary, metrics, rows)
        self.attempt.tracker.metrics(self.epoch + 1, metrics)
        self.save(metrics, time.monotonic() - started)

    def after_training_batch(self, step: int, steps: int) -> None:
        self.attempt.leave_if_asked()
        self.steps_done += 1
        left = (self.config.epochs - self.epoch) * steps - step
        eta = (time.monotonic() - self.training_started) / self.steps_done * left
        self.report_step("train", step, steps, round(eta, 1))

    def validate(self) -> "Result":
        from evaluation import evaluate

        def after_batch(step: int, steps: int) -> None:
            self.attempt.leave_if_asked()
            self.report_step("validate", step, steps, None)

        classes = len(self.data.class_names)
        learner, device = self.learner, self.device
        result: Result = evaluate(learner.judged, self.val_loader, classes, device, learner.number_type, after_batch)
        return result

    def report_metrics(self, values: dict[str, float]) -> None:
        utils.send_training_metrics(self.reporter, self.epoch + 1, values)
        self.attempt.tracker.metrics(self.epoch + 1, values)

    def report_step(self, phase: str, step: int, steps: int, eta: float | None) -> None:
        epoch, epochs = min(self.epoch + 1, self.config.epochs), self.config.epochs
        self.reporter.progress(phase, epoch=epoch, epochs=epochs, step=step, steps=steps, eta_seconds=eta)

    def end_phase(self, name: str) -> None:
        """Report how long it took; the next one begins."""
        now = time.monotonic()
        self.reporter.progress(name, force=True, seconds=round(now - self.phase_started, 3))
        self.phase_started = now

    # ---------------------------------------------------------------------------------------------------------- save

    def save(self, metrics: dict[str, float], seconds: float) -> None:
        """The epoch is completed: on this disk at once, in the storage where it is due."""
        from checkpoint import save_state
        from weights import training_arguments

        self.epoch += 1
        state = {
            **self.learner.state(),
            "epoch": self.epoch,
            "metrics": metrics,
            "description": {**self.description, "epoch": self.epoch, "metrics": metrics},
            "arguments": training_arguments(self.config, self.image_size),
        }
        last = self.folder / "last.pt"
        save_state(last, state)
        self.attempt.newest = Saved(last, self.epoch, metrics)
        if metrics[self.primary] > self.best_value:
            self.best_epoch, self.best_value = self.epoch, metrics[self.primary]
            self.save_best(metrics)
        period = self.config.save_period or (1 if seconds > LONG_EPOCH else 5)
        if self.is_over() or self.epoch - self.uploads.epochs["last"] >= period:
            self.uploads.submit(["last"], last, self.epoch, metrics)

    def save_best(self, metrics: dict[str, float]) -> None:
        from checkpoint import save_weights

        self.best = self.folder / "best.safetensors"
        description = {**self.description, "epoch": self.epoch, "metrics": metrics}
        save_weights(self.best, self.learner.judged.state_dict(), description)
        self.uploads.submit(["best"], self.best, self.epoch, metrics)

    # ------------------------------------------------------------------------------------------------------- results

    def publish(self) -> None:
        """What the best model says about every image, in numbers and pictures, and a plain copy of it."""
        from checkpoint import load_checkpoint
        from evaluation import confusion

        assert self.best
        self.learner.judged.load_state_dict(load_checkpoint(self.best).weights)
        result = self.validate()
        self.end_phase("validate")
        with self.reporter.phase("upload"):
            path = self.folder / "curves.json"
            about = confusion(result, self.data.class_names, self.best_epoch)
            path.write_text(json.dumps(about, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            key = self.upload("curves", path)
            metrics, rows = result.metrics(), result.per_class(self.data.class_names)
            primary = self.primary, metrics[self.primary]
            utils.send_validation_result(self.reporter, self.best_epoch, primary, metrics, rows, key)
            self.upload_pictures(result)
            self.uploads.drain()
            utils.publish_best(self.store, self.config, self.reporter)

    def upload_pictures(self, result: "Result") -> None:
        from evaluation import choose_samples, describe_samples
        from pictures import draw_confusion, draw_samples

        names, images = self.data.class_names, [path for path, _ in self.data.val]
        if len(names) <= DRAWN_CLASSES:
            draw_confusion(self.folder / "confusion_matrix.png", result, names)
            self.upload("plot", self.folder / "confusion_matrix.png")
        chosen = choose_samples(result, SAMPLES)
        relative = [str(path.relative_to(self.data.root)) for path in images]
        path = self.folder / "samples.json"
        path.write_text(
            json.dumps(describe_samples(result, chosen, relative, names), ensure_ascii=False), encoding="utf-8"
        )
        self.upload("other", path)
        for kind, places in chosen.items():
            if places:
                path = self.folder / f"{kind}.jpg"
                draw_samples(path, images, result, places, names)
                self.upload("sample_predictions", path)

    def upload(self, kind: str, path: Path) -> str:
        self.attempt.leave_if_asked()
        return utils.upload_artifact(self.store, self.config, self.reporter, kind, path.name, path, self.best_epoch)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking torch apart takes seconds, and a SIGTERM meanwhile would replace the exit code
