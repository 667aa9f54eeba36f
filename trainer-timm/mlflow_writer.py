"""Writes one run to MLflow, in a process of its own: tracking.py starts it and tells it JSON lines on standard input.

A process and not a thread: importing mlflow-skinny takes seconds of CPU, during which a thread would hold the
interpreter's lock against training; and a process that hangs can be ended. Answers with JSON lines: `run_id`, `warning`
and, when everything was written, `done`.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Message = dict[str, Any]
Tell = Callable[..., None]

WRITER_TAG = "vision.writer"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
MOST_PARAMETERS = 100  # in one request, as MLflow's server insists
MAY_PASS = (408, 429)


class GaveUp(Exception):
    """MLflow does not answer and there is no time left to wait for it."""


class Refused(Exception):
    """MLflow understood and said no: asking again would change nothing."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole process group; the trainer closes us in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    inbox, tell = Inbox(), _answering()
    threading.Thread(target=inbox.read, daemon=True).start()
    try:
        Writer(inbox, tell).write_run()
    except (GaveUp, Refused):
        return 1
    except Exception as error:  # whatever importing or calling MLflow meets
        tell(warning=f"{type(error).__name__}: {error}")
        return 1
    tell(done=True)
    return 0


class Inbox:
    """What the trainer says, read ahead so that its pipe never fills. It ends with `close`, or with the trainer."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.closing = threading.Event()

    def read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "close" in message:
                break
            self.messages.put(message)
        else:
            message = {"close": "KILLED"}  # the trainer died
        self.closing.set()
        self.messages.put(message)


class Writer:
    """One run; each write is tried until MLflow takes it, refuses it, or time is up."""

    def __init__(self, inbox: Inbox, tell: Tell) -> None:
        self.inbox, self.tell, self.order = inbox, tell, inbox.messages.get()
        self.failing_since: float | None = None
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.order["tracking_uri"])

    def write_run(self) -> None:
        run_id = self._open()
        self.tell(run_id=run_id)
        self._log(run_id, tags=self.order["tags"])
        parameters = list(self.order["parameters"].items())
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self._log(run_id, parameters=dict(parameters[start : start + MOST_PARAMETERS]))
        while "close" not in (message := self.inbox.messages.get()):
            self._log(run_id, **message)
        if message["close"]:
            self._deliver(lambda: self.client.set_terminated(run_id, message["close"]))

    def _open(self) -> str:
        """The run of an earlier attempt, running again, or a new one."""
        run_id = self.order["run_id"]
        if run_id and self._reopened(run_id):
            return str(run_id)
        experiment_id = self._deliver(self._experiment_id)
        return self._deliver(lambda: self._create_run(experiment_id))

    def _reopened(self, run_id: str) -> bool:
        try:
            if self._deliver(lambda: self.client.get_run(run_id).info.lifecycle_stage) != "active":
                return False
            self._deliver(lambda: self.client.update_run(run_id, status="RUNNING"))
        except Refused:
            return False
        return True

    def _experiment_id(self) -> str:
        name = self.order["experiment"]
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def _create_run(self, experiment_id: str) -> str:
        """Asked again after MLflow did not answer, finds what it may have made all the same."""
        marked = {WRITER_TAG: self.order.setdefault("writer", uuid.uuid4().hex)}
        if self.failing_since is not None:
            wanted = f"tags.`{WRITER_TAG}` = '{marked[WRITER_TAG]}'"
            for run in self.client.search_runs([experiment_id], wanted, max_results=1):
                return str(run.info.run_id)
        return str(self.client.create_run(experiment_id, tags=marked, run_name=self.order["run_name"]).info.run_id)

    def _log(
        self,
        run_id: str,
        metrics: Message | None = None,
        epoch: int = 0,
        milliseconds: int = 0,
        tags: Message | None = None,
        parameters: Message | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        rows = [Metric(name, value, milliseconds, epoch) for name, value in (metrics or {}).items()]
        marks = [RunTag(name, value) for name, value in (tags or {}).items()]
        values = [Param(name, value) for name, value in (parameters or {}).items()]
        try:
            self._deliver(lambda: self.client.log_batch(run_id, metrics=rows, params=values, tags=marks))
        except Refused:
            return  # told; what follows may be taken

    def _deliver(self, operation: Callable[[], T]) -> T:
        """The result, once MLflow gives one. Raises Refused, or GaveUp when it fails while we are to end."""
        pause = FIRST_PAUSE
        while True:
            last = self.inbox.closing.is_set()
            try:
                result = operation()
            except Exception as error:
                self._after_failure(error, last)
                self.inbox.closing.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self.failing_since = None
                return result

    def _after_failure(self, error: Exception, last: bool) -> None:
        status = getattr(error, "get_http_status_code", lambda: 500)()
        self.failing_since = self.failing_since or time.monotonic()
        if 400 <= status < 500 and status not in MAY_PASS:
            self.tell(warning=str(error))
            raise Refused from error
        if last or time.monotonic() - self.failing_since >= self.order["patience"]:
            self.tell(warning=str(error))
        if last:
            raise GaveUp from error


def _answering() -> Tell:
    """Writes answers to standard output; what MLflow prints there ("View run …") goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return lambda **message: print(json.dumps(message), file=answers, flush=True)


if __name__ == "__main__":
    sys.exit(main())
