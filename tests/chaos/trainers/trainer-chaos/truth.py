"""What a trainer really did, written by itself: the other side of every comparison with the database.

One file a process, `job-J/attempt-N-PID.jsonl`: its start, each event before (`begin`) and after (`done`) it went into
the outbox, each object it stored, its end. `done` is on the disk before the trainer goes on.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import utils

FOLDER_VARIABLE = "CHAOS_TRUTH"


class Truth:
    """The lock shows a second living trainer of the same job: the kernel lets go of it with the process."""

    def __init__(self, config: utils.TrainConfig) -> None:
        folder = Path(os.environ[FOLDER_VARIABLE]) / f"job-{config.job_id}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"attempt-{config.attempt}-{os.getpid()}.jsonl"
        self._file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._write({"start": os.getpid(), "alone": self._is_alone(), "resume": config.resume, "time": time.time()})

    def begin(self, sequence: int, event: Mapping[str, Any]) -> None:
        self._write({"begin": sequence, "event": event})

    def done(self, sequence: int) -> None:
        self._write({"done": sequence})
        os.fdatasync(self._file)

    def stored(self, key: str) -> None:
        self._write({"stored": key})

    def end(self, code: int) -> None:
        self._write({"end": code})
        os.fsync(self._file)

    def _is_alone(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry, default=str).encode() + b"\n")


class WitnessedOutbox(utils.Outbox):
    """The real outbox, and a line in the ground truth before and after each record."""

    truth: Truth

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._one_at_a_time = threading.Lock()

    def append(self, event: Mapping[str, Any]) -> OSError | None:
        with self._one_at_a_time:
            sequence = self._last_sequence + 1
            self.truth.begin(sequence, event)
            failure = super().append(event)
            self.truth.done(sequence)
            return failure
