"""Ultralytics' callbacks, translated into reports. They run on the training thread: cheap, or not at all.

An epoch counts as completed when its checkpoint is saved. That is also why `on_fit_epoch_end` is not listened to:
Ultralytics fires it once more, as epoch N + 1, after the final validation.
"""

import time
from typing import Any, Protocol

import framework
from catalogue import primary_metric
from evaluation import count_confident_predictions, per_class_rows, validation_losses, validation_metrics
from uploads import Uploads
from utils import Reporter, TrainConfig, TrainerFailure, send_training_metrics, send_validation_result
from weights import ResumePoint

LONG_EPOCH = 60.0  # seconds; longer ones upload `last` every time, shorter ones every fifth
CALLBACKS = (
    "on_pretrain_routine_end",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_val_batch_start",
    "on_val_batch_end",
    "on_val_end",
    "on_model_save",
    "on_train_end",
)


class StopRequested(Exception):
    """Leaves Ultralytics' loop. Its own `trainer.stop` would validate and save the partial epoch as a complete one."""


class MetricsSink(Protocol):
    """The part of tracking.Tracker that hooks use."""

    def metrics(self, epoch: int, values: dict[str, float]) -> None: ...


class Hooks:
    """What one training tells, and what is known of its progress when it ends."""

    def __init__(
        self,
        config: TrainConfig,
        reporter: Reporter,
        uploads: Uploads,
        sink: MetricsSink,
        point: ResumePoint | None,
        started: float,
    ) -> None:
        """`started` is when the attempt did, by time.monotonic."""
        self._config, self._reporter, self._uploads, self._sink, self._point = config, reporter, uploads, sink, point
        self._clock = time.monotonic
        self._phase_started = started
        self._training_started = self._epoch_started = self._phase_started
        self._epoch, self._step, self._steps = config.epochs, 0, 0
        self._batch_size = config.batch_size
        self._matrix: Any = None
        self.completed = point.epoch if point else 0  # epochs, by this attempt or those before
        self.last_is_whole = False  # from a validation's end to the saved checkpoint, Ultralytics may be writing it
        self.metrics: dict[str, float] = {}  # of the newest completed epoch
        self.best_epoch = point.best_epoch if point else 0
        if point:
            uploads.epochs["last"] = point.epoch

    def callbacks(self) -> Any:
        """For Ultralytics' trainer, which hands them on to its validator."""
        callbacks = framework.default_callbacks()
        for name in CALLBACKS:
            callbacks[name].append(getattr(self, name))
        return callbacks

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Model, data and optimizer are ready, and a resumed training's state is restored."""
        self._leave_if_asked()
        trainer.validator.args.plots = False  # the last epoch's would be drawn again, for the best model
        if self._point:
            trainer.best_fitness = self._point.best_fitness
            framework.reseed(trainer)
        hardware = {**framework.hardware(trainer.device), "workers": trainer.train_loader.num_workers}
        self._reporter.emit("run", versions=framework.versions(), hardware=hardware)
        if trainer.device.type in ("cpu", "mps") and self._config.workers:
            message = f"WORKERS={self._config.workers} is ignored: without a GPU, images are loaded in the trainer"
            self._reporter.warning("WORKERS_IGNORED", message)
        if self._config.image_size not in (None, trainer.args.imgsz):
            message = f"IMAGE_SIZE={self._config.image_size} is rounded to {trainer.args.imgsz}, as the model needs"
            self._reporter.warning("IMAGE_SIZE_ROUNDED", message)

    def on_train_start(self, trainer: Any) -> None:
        self.end_phase("prepare")
        self._training_started = self._clock()

    def on_train_epoch_start(self, trainer: Any) -> None:
        self._epoch, self._step, self._steps = trainer.epoch + 1, 0, len(trainer.train_loader)
        self._epoch_started = self._clock()
        self.last_is_whole = True
        if trainer.nan_recovery_attempts:  # else it would only be seen in the log
            message = f"epoch {trainer.epoch + 1} ended with NaN; it is repeated from the checkpoint before"
            self._reporter.warning("NAN_EPOCH_REPEATED", message)
        if trainer.batch_size != self._batch_size:  # it halves the batch when memory runs out in the first epoch
            message = f"out of memory with batches of {self._batch_size}; continuing with {trainer.batch_size}"
            self._reporter.warning("BATCH_SIZE_REDUCED", message)
            self._batch_size = trainer.batch_size

    def on_train_batch_end(self, trainer: Any) -> None:
        self._step += 1
        self._leave_if_asked()
        done = (trainer.epoch - trainer.start_epoch) * self._steps + self._step
        left = (trainer.epochs - trainer.epoch) * self._steps - self._step
        eta = (self._clock() - self._training_started) / done * left
        self._progress("train", self._step, self._steps, round(eta, 1))

    def on_train_epoch_end(self, trainer: Any) -> None:
        if trainer.epoch == trainer.start_epoch and not trainer.loss.isfinite():
            raise nan_loss(f"the loss is {trainer.loss.item()} after epoch {trainer.epoch + 1}")
        losses = trainer.label_loss_items(trainer.tloss, prefix="train")
        values = {**losses, "lr": min(trainer.lr.values())}  # MuSGD multiplies it for some groups
        send_training_metrics(self._reporter, trainer.epoch + 1, values)
        self._sink.metrics(trainer.epoch + 1, values)

    def on_val_batch_start(self, validator: Any) -> None:
        if validator.confusion_matrix is not self._matrix:
            self._matrix = validator.confusion_matrix
            count_confident_predictions(validator)

    def on_val_batch_end(self, validator: Any) -> None:
        self._leave_if_asked()
        self._progress("validate", validator.batch_i + 1, len(validator.dataloader))

    def on_val_end(self, validator: Any) -> None:
        self.last_is_whole = False

    def on_model_save(self, trainer: Any) -> None:
        """The epoch is completed: validated, and saved as `last` and perhaps as `best`."""
        epoch, task = trainer.epoch + 1, self._config.task_type
        metrics, losses = validation_metrics(trainer.metrics, task), validation_losses(trainer.metrics)
        send_training_metrics(self._reporter, epoch, losses)
        rows = per_class_rows(trainer.validator, task)
        name = primary_metric(task)
        send_validation_result(self._reporter, epoch, (name, metrics[name]), metrics, rows)
        self._sink.metrics(epoch, {**losses, **metrics})
        self.completed, self.metrics = epoch, metrics
        self.last_is_whole = True
        self._save(trainer, epoch, metrics)
        if trainer.stop:
            self.end_phase("train")

    def on_train_end(self, trainer: Any) -> None:
        """The best model was validated."""
        self.end_phase("validate")

    def end_phase(self, name: str) -> None:
        """Report how long it took; the next one begins."""
        now = self._clock()
        self._reporter.progress(name, force=True, seconds=round(now - self._phase_started, 3))
        self._phase_started = now

    def _save(self, trainer: Any, epoch: int, metrics: dict[str, float]) -> None:
        kinds = []
        if trainer.best_fitness == trainer.fitness:
            self.best_epoch = epoch
            kinds.append("best")
        period = self._config.save_period or (1 if self._clock() - self._epoch_started > LONG_EPOCH else 5)
        if trainer.stop or epoch - self._uploads.epochs["last"] >= period:
            kinds.append("last")
        if kinds:
            self._uploads.submit(kinds, trainer.last, epoch, metrics)

    def _progress(self, phase: str, step: int, steps: int, eta: float | None = None) -> None:
        epochs = self._config.epochs
        self._reporter.progress(phase, epoch=self._epoch, epochs=epochs, step=step, steps=steps, eta_seconds=eta)

    def _leave_if_asked(self) -> None:
        self._uploads.raise_failure()
        if self._reporter.should_stop:
            raise StopRequested


def nan_loss(message: str) -> TrainerFailure:
    return TrainerFailure("NAN_LOSS", message, "Lower LEARNING_RATE, raise warmup_epochs, or set amp to false.")
