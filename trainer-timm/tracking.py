"""A training run in MLflow: parameters, metrics of each epoch, which checkpoints there are, and how it ended.

Nothing here blocks or raises: MLflow is spoken to by a process of its own (mlflow_writer.py). However MLflow fails,
training goes on and the platform hears one warning.
"""

import json
import logging
import math
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils import Reporter, TrainConfig

log = logging.getLogger("trainer")

RUN_STATUS = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

WRITER = Path(__file__).with_name("mlflow_writer.py")
DEFAULT_EXPERIMENT = "vision-platform"
PATIENCE = 30.0  # seconds of failing before anyone is warned: MLflow's server takes a while to start
NOT_ALLOWED_IN_NAMES = re.compile(r"[^A-Za-z0-9_\-. :/]")
LONGEST_PARAMETER = 6000
WRITER_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # ours is the patience
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "OMP_NUM_THREADS": "1",
}


def start_tracking(
    config: TrainConfig, reporter: Reporter, parameters: Mapping[str, Any], patience: float = PATIENCE
) -> "Tracker":
    """Begin the job's run, or continue it when MLFLOW_RUN_ID names it. Without MLFLOW_TRACKING_URI, does nothing."""
    tracker = Tracker(reporter)
    if config.mlflow_tracking_uri:
        tags = {"job_id": config.job_id, "attempt": config.attempt, "task_type": config.task_type}
        tracker.start(
            {
                "tracking_uri": config.mlflow_tracking_uri,
                "experiment": config.mlflow_experiment_name or DEFAULT_EXPERIMENT,
                "run_id": config.mlflow_run_id,
                "run_name": f"job-{config.job_id}",
                "tags": {f"vision.{name}": str(value) for name, value in tags.items()},
                "parameters": {_allowed(name): str(value)[:LONGEST_PARAMETER] for name, value in parameters.items()},
                "patience": patience,
            }
        )
    return tracker


class Tracker:
    """What train.py holds. Every method returns at once but `close`, which takes at most its timeout."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._outgoing: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._writer: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []
        self._done = self._warned = False

    def start(self, order: Mapping[str, Any]) -> None:
        """Start the writer and tell it what to open."""
        environment = {name: value for name, value in os.environ.items() if name != "INTERNAL_AUTH_TOKEN"}
        command = [sys.executable, str(WRITER)]
        try:
            self._writer = subprocess.Popen(
                command,
                env=WRITER_ENVIRONMENT | environment | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # not ours: whoever reads our output would wait for the writer too
                text=True,
            )
        except OSError as error:
            return self._warn(f"{' '.join(command)} does not start: {error}")
        self._outgoing.put(dict(order))
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._listen)]
        for thread in self._threads:
            thread.start()
        return None

    def metrics(self, epoch: int, values: Mapping[str, float | None]) -> None:
        """The named numbers of a completed epoch; those that are not finite are left out."""
        finite = {_allowed(name): value for name, value in values.items() if value is not None and math.isfinite(value)}
        if finite:
            self._tell(metrics=finite, epoch=epoch, milliseconds=int(time.time() * 1000))

    def checkpoint(self, kind: str, key: str, epoch: int) -> None:
        """Where in the storage the newest checkpoint of this kind is."""
        self._tell(tags={f"vision.checkpoint.{kind}": key, f"vision.checkpoint.{kind}.epoch": str(epoch)})

    def close(self, status: str | None, timeout: float = 5.0) -> None:
        """Say how the attempt ended, in the words of our `status` reports, and wait until MLflow knows.

        Without a status the run stays as it is: a newer attempt has it. Does not wait for an MLflow that has failed for
        long. Call it before the reporter is closed.
        """
        if self._writer is None:
            return
        self._tell(close=RUN_STATUS[status] if status else None)
        try:
            self._writer.wait(min(timeout, 1.0) if self._warned else timeout)
        except subprocess.TimeoutExpired:
            self._writer.kill()
            self._writer.wait()
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join(1.0)
        if not self._done:
            self._warn(f"it did not take the last reports within {timeout:g} s")
        self._writer = None

    def _tell(self, **message: Any) -> None:
        if self._writer is not None:
            self._outgoing.put(message)

    def _send(self) -> None:
        assert self._writer and self._writer.stdin
        with suppress(BrokenPipeError), self._writer.stdin as pipe:  # when it has ended, it said why
            for message in iter(self._outgoing.get, None):
                print(json.dumps(message), file=pipe, flush=True)

    def _listen(self) -> None:
        assert self._writer and self._writer.stdout
        with self._writer.stdout as pipe:
            for line in pipe:
                self._hear(**json.loads(line))

    def _hear(self, run_id: str | None = None, warning: str | None = None, done: bool = False) -> None:
        self._done = self._done or done
        if warning:
            self._warn(warning)
        if run_id:
            try:
                self._reporter.emit("run", mlflow_run_id=run_id)
            except Exception:
                log.exception("the MLflow run could not be reported")

    def _warn(self, reason: str) -> None:
        """Once: whoever reads it needs to know that MLflow is incomplete, not how often it failed."""
        if self._warned:
            return
        self._warned = True
        try:
            self._reporter.warning("MLFLOW_UNAVAILABLE", f"MLflow does not have all of this run: {reason}"[:2000])
        except Exception:
            log.exception("a warning about MLflow could not be reported")


def _allowed(name: str) -> str:
    return NOT_ALLOWED_IN_NAMES.sub("_", name)[:250]
