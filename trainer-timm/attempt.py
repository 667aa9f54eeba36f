"""An attempt from its first report to its last: how it ends, whatever happens in between. Imports no torch."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import utils
from endings import COMPLETED, FAILED, STOPPED, SUPERSEDED, GracePeriod
from failures import failure_of
from uploads import Saved, Uploads
from utils import Reporter, Superseded, TrainConfig, TrainerFailure

from tracking import start_tracking

log = logging.getLogger("trainer")
T = TypeVar("T")


class StopRequested(Exception):
    """Leaves the loop at a batch boundary."""


class Attempt:
    """Runs `train` and reports how it ended."""

    def __init__(self, config: TrainConfig, train: Callable[["Attempt"], None], parameters: Mapping[str, Any]) -> None:
        self.started = time.monotonic()
        self.config, self.reporter, self._train = config, Reporter(config), train
        self.tracker = start_tracking(config, self.reporter, parameters)
        self.uploads: Uploads | None = None  # set by `train`
        self.newest: Saved | None = None  # the state after the newest completed epoch; set by `train`
        self.grace = GracePeriod(config.grace_period, self.reporter, self.end_stopped)

    def run(self) -> int:
        """The exit code. What went wrong is reported, not raised."""
        self.reporter.start()
        try:
            utils.notify_status(self.reporter, "running")
            self._train(self)
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
            if self.reporter.should_stop:  # a SIGTERM to the process group takes other processes, too
                log.exception("this went wrong while stopping")
                return self.end_stopped()
            return self.end_failed(error)

    def leave_if_asked(self) -> None:
        """Raises StopRequested, or how an upload failed."""
        if self.uploads:
            self.uploads.raise_failure()
        if self.reporter.should_stop:
            raise StopRequested

    def end_stopped(self) -> int:
        """Upload the newest `last` of a completed epoch, unless it is stored already or the job has another owner."""
        if self.reporter.superseded:
            return self.end(None, SUPERSEDED)
        try:
            self._upload_newest_last()
        except Superseded:
            return self.end(None, SUPERSEDED)
        except Exception as error:  # the `last` of an earlier epoch remains
            log.exception("the newest checkpoint could not be uploaded")
            self.reporter.warning("LAST_NOT_UPLOADED", str(failure_of(error)))
        return self.end("stopped", STOPPED)

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

    def _upload_newest_last(self) -> None:
        newest, uploads = self.newest, self.uploads
        if not uploads:
            return
        if newest and newest.epoch > uploads.epochs["last"]:
            uploads.submit(["last"], newest.path, newest.epoch, newest.metrics)
        if not uploads.drain(self.config.grace_period * 0.4):
            raise TrainerFailure("STORAGE_ERROR", "the storage did not take the newest checkpoint in time")


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
