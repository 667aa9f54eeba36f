"""What a trainer wrote into its outbox, and killing it at a moment that the outbox tells."""

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from e2e.backend import trainer_processes
from e2e.waiting import eventually

Event = dict[str, Any]
INTERVAL_SECONDS = 0.005
DEADLINE_SECONDS = 120.0


def outbox_of(data_dir: Path, job_id: int, attempt: int) -> Path:
    return data_dir / f"work/job-{job_id}/attempt-{attempt}/work/outbox.jsonl"


def read_outbox(path: Path) -> list[Event]:
    """The whole records, as docs/trainer-contract.md describes them."""
    records = (line.partition(b" ") for line in path.read_bytes().splitlines()) if path.exists() else iter(())
    return [json.loads(text) for checksum, _, text in records if checksum == b"%08x" % zlib.crc32(text)]


def find_trainer(data_dir: Path) -> psutil.Process:
    """The one that runs: neither its supervisor nor what it started."""

    def found() -> psutil.Process | None:
        running = [process for process in trainer_processes(data_dir) if process.cmdline()[1:] == ["train.py"]]
        return running[0] if running else None

    return eventually(found, "a trainer")


def kill_when(process: psutil.Process, outbox: Path, moment: Callable[[list[Event]], bool]) -> list[Event]:
    """SIGKILL at a moment that is still so while the process is frozen. Its last events."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.is_running():
        if moment(read_outbox(outbox)):
            process.suspend()
            eventually(lambda: process.status() == psutil.STATUS_STOPPED, "a stopped trainer")
            if moment(events := read_outbox(outbox)):
                process.kill()
                return events
            process.resume()
        time.sleep(INTERVAL_SECONDS)
    raise AssertionError("the trainer ended, or time passed, before the moment came")
