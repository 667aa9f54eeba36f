"""The files by which a supervisor and the backend know of each other. Standard library alone.

supervisor.lock   held while the supervisor lives; a second one of the attempt ends at once
supervisor.json   who it is: process id, start time and boot id
supervisor.log    what went wrong in the supervisor itself
log/…             the trainer's output, in files named by their logical start offset
exit.json         how the trainer ended
work/             the trainer's WORK_DIR
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

LOCK_FILE, IDENTITY_FILE, EXIT_FILE = "supervisor.lock", "supervisor.json", "exit.json"
OWN_LOG_FILE, LOG_FOLDER, WORK_FOLDER = "supervisor.log", "log", "work"
RESERVED_BYTES = 4096


def attempt_folder(data_dir: Path, job_id: int, attempt: int) -> Path:
    return data_dir.resolve() / "work" / f"job-{job_id}" / f"attempt-{attempt}"


def take_lock(attempt_dir: Path) -> int | None:
    """The descriptor that holds the attempt's lock, or None while another process holds it."""
    descriptor = os.open(attempt_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def reserve(path: Path) -> None:
    """Take the space for `write_json` now, so that a full disk cannot lose it later."""
    with open(_part(path), "wb") as file:
        file.write(b" " * RESERVED_BYTES)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """The file appears complete or not at all, and survives a power cut."""
    part = _part(path)
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        file.write(json.dumps(content).encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _flush_folder(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """What was written, None if nothing was or it is not what we write."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
