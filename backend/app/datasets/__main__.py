"""`python -m app.datasets FOLDER`: one import, in this process alone, within the memory that its request allows.

Ends with 0 and outcome.json when there is a verdict about the data, else with 1 and the reason on standard error.
"""

import argparse
import ctypes
import errno
import json
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.datasets.run import run
from app.datasets.work import Phase, Request

PROGRESS_SECONDS = 0.5
M_ARENA_MAX, ARENAS = -8, 2  # of glibc's mallopt: each arena reserves 64 MiB of address space


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.datasets", description=__doc__)
    parser.add_argument("folder", type=Path, help="with request.json and upload; app/datasets/work.py says more")
    folder: Path = parser.parse_args().folder
    try:
        _limit_memory(Request.model_validate_json((folder / "request.json").read_bytes()).max_memory_bytes)
        outcome = run(folder, ProgressFile(folder / "progress.json"))
        _replace(folder / "outcome.json", outcome.model_dump_json())
    except (MemoryError, OSError, sqlite3.Error, RuntimeError) as error:
        if (reason := _shortage(error)) is None:
            raise
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


class ProgressFile:
    """A `Progress` as a file, replaced at most twice a second; a new phase is told at once."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._phase: Phase | None = None
        self._told = 0.0

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        now = self._clock()
        if phase != self._phase or now - self._told >= PROGRESS_SECONDS:
            self._phase, self._told = phase, now
            _replace(self._path, json.dumps({"phase": phase, "done": done, "total": total}))


def _limit_memory(max_bytes: int) -> None:
    """More than that, and allocations fail: MemoryError here, and not the machine's out-of-memory killer elsewhere."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_ARENA_MAX, ARENAS)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _shortage(error: Exception) -> str | None:
    """What the machine lacks, in words that whoever started the process looks for; None if it is another trouble."""
    text = str(error)
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "disk is full" in text:
        return f"{os.strerror(errno.ENOSPC)} for the import"
    no_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if no_memory or "can't start new thread" in text or "out of memory" in text:
        return "MemoryError: the import needs more memory than it may have"
    return None


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
