"""A trainer that learns nothing: it keeps docs/trainer-contract.md through the real utils.py and does as it is told.

HYPERPARAMETERS: `steps` an epoch with `pause` seconds between them; all waits of the reporting times `pace`;
`lockstep` waits for each event's acknowledgement; `until_told` repeats epochs until the file `finish` lies beside the
ground truth; `save` uploads checkpoints; `ending` is how it ends.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import utils
from truth import FOLDER_VARIABLE, Truth, WitnessedOutbox

COMPLETED, FAILED, BAD_CONFIGURATION, STOPPED, SUPERSEDED = range(5)
SCALED = ("heartbeat", "progress", "gather", "first_retry", "longest_retry")
DEFAULTS: dict[str, Any] = {
    "ending": "complete",
    "steps": 10,
    "pause": 0.02,
    "pace": 0.1,
    "lockstep": False,
    "until_told": False,
    "save": True,
}
NEVER = 1e9
PATIENCE_SECONDS = 0.005


class Stopped(Exception):
    """A signal or the platform asked for it."""


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        config = utils.load_config()
    except utils.ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return BAD_CONFIGURATION
    truth = WitnessedOutbox.truth = Truth(config)
    utils.Outbox = WitnessedOutbox  # type: ignore[misc]
    reporter = utils.Reporter(config, _pace((DEFAULTS | config.hyperparameters)["pace"]))
    signal.signal(signal.SIGTERM, lambda *_: reporter.request_stop())
    reporter.start()
    code = _end(Training(config, reporter, truth), reporter)
    reporter.close()
    truth.end(code)
    return code


def _pace(factor: float) -> utils.Pace:
    """Every wait of the reporting made shorter; nothing about the machine, whose numbers no two runs share."""
    scaled = {name: getattr(utils.PACE, name) * factor for name in SCALED}
    return replace(utils.PACE, system=NEVER, **scaled)


def _end(training: "Training", reporter: utils.Reporter) -> int:
    """Run it, report how it ended, return the exit code."""
    try:
        training.run()
    except utils.Superseded:
        return SUPERSEDED
    except Stopped:
        return _stop(training, reporter)
    except utils.TrainerFailure as failure:
        utils.notify_status(reporter, "failed", failure)
        return FAILED
    utils.notify_status(reporter, "completed")
    return COMPLETED


def _stop(training: "Training", reporter: utils.Reporter) -> int:
    try:
        reporter.raise_if_superseded()
        training.save("last", training.epoch)
    except utils.Superseded:
        return SUPERSEDED
    except utils.TrainerFailure as failure:
        utils.notify_status(reporter, "failed", failure)
        return FAILED
    utils.notify_status(reporter, "stopped")
    return STOPPED


class Training:
    """`epoch` is the last completed one."""

    def __init__(self, config: utils.TrainConfig, reporter: utils.Reporter, truth: Truth) -> None:
        self.config, self.reporter, self.truth = config, reporter, truth
        self.script: dict[str, Any] = DEFAULTS | config.hyperparameters
        self.finish = Path(os.environ[FOLDER_VARIABLE]) / "finish"
        self.store = utils.get_storage_client()
        self.epoch = 0

    def run(self) -> None:
        utils.notify_status(self.reporter, "running")
        utils.download_dataset(self.store, self.config)
        resumed = utils.download_resume(self.store, self.config)
        if resumed:
            self.epoch = int(json.loads(resumed.read_text())["epoch"])
        while self.epoch < self.config.epochs or (self.script["until_told"] and not self.finish.exists()):
            self._train_epoch(self.epoch + 1)
        self._finish()

    def save(self, kind: str, epoch: int) -> None:
        """Weights that depend on nothing but the epoch, large enough to have parts to lose."""
        if not self.script["save"] or epoch == 0:
            return
        path = self.config.work_dir / f"{kind}.json"
        path.write_text(json.dumps({"epoch": epoch, "weights": "0123456789" * 5000}))
        metrics = {"score": _score(epoch)}
        key = utils.upload_checkpoint(self.store, self.config, self.reporter, kind, path, epoch, metrics)
        self.truth.stored(key)

    def _train_epoch(self, epoch: int) -> None:
        steps = self.script["steps"]
        for step in range(1, steps + 1):
            if self.reporter.should_stop:
                self.reporter.raise_if_superseded()
                raise Stopped
            utils.send_training_metrics(self.reporter, epoch, {"train/loss": 1 / (epoch * steps + step)}, step)
            self._settle()
            time.sleep(self.script["pause"])
        utils.send_validation_result(self.reporter, epoch, ("score", _score(epoch)), {"score": _score(epoch)})
        self._settle()
        for kind in ("last", "best"):
            self.save(kind, epoch)
            self._settle()
        self.epoch = epoch

    def _settle(self) -> None:
        """In lockstep, wait until everything is acknowledged: one request an event."""
        while self.script["lockstep"] and self.reporter._outbox.pending(1) and not self.reporter.should_stop:
            time.sleep(PATIENCE_SECONDS)

    def _finish(self) -> None:
        match self.script["ending"]:
            case "fail":
                raise utils.TrainerFailure("NAN_LOSS", "as the script says")
            case "vanish":
                os.kill(os.getpid(), signal.SIGKILL)
            case "idle":
                self._idle()

    def _idle(self) -> None:
        """Heartbeats and nothing else, until asked to stop."""
        while not self.reporter.should_stop:
            threading.Event().wait(0.05)
        self.reporter.raise_if_superseded()
        raise Stopped


def _score(epoch: int) -> float:
    return 1 - 1 / (epoch + 1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        code = main()
        sys.stdout.flush()
        os._exit(code)
