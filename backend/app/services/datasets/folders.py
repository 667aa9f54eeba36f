"""An import's folder on this machine: its upload, its lock, and what the process that reads it leaves.

Who works in a folder holds its lock; the kernel gives the lock back when a backend is killed.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import DiskFull

PREFIX = "import-"
LOCK, UPLOAD = ".lock", "upload"
FULL = (errno.ENOSPC, errno.EDQUOT)


def uploads(data_dir: Path) -> Path:
    return data_dir.resolve() / "uploads"


def folder_of(data_dir: Path, import_id: int) -> Path:
    return uploads(data_dir) / f"{PREFIX}{import_id}"


def make(folder: Path) -> None:
    with disk_trouble(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether nobody else works in the folder, for as long as this lasts; False as well where there is none."""
    descriptor = _open_lock(folder)
    if descriptor is None:
        yield False
        return
    try:
        yield _take(descriptor)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a child that is just being started
        os.close(descriptor)


def clean(folder: Path) -> None:
    """Leave the upload alone: what an earlier run left counts for nothing."""
    for path in folder.iterdir():
        if path.name not in (LOCK, UPLOAD):
            _remove(path)


def remove(folder: Path) -> None:
    """By who holds its lock, or where nobody does. What cannot be removed goes by collection."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_unless_used(folder: Path) -> None:
    """Whoever works in it finds out that the import has ended, and removes it."""
    with locked(folder) as ours:
        if ours:
            remove(folder)


@contextmanager
def disk_trouble(folder: Path) -> Iterator[None]:
    """A full disk as what it is: nobody's request is at fault, and a person can mend it."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(folder) from error


def disk_full(folder: Path, why: str = "it is full") -> DiskFull:
    fix = "make room, or set DATA_DIR to a larger disk; an import needs about three times the size of what is sent"
    return DiskFull(f"there is no room on the disk of {folder}: {why}; {fix}")


def free_bytes(data_dir: Path) -> int:
    """Of the disk that uploads go to."""
    return shutil.disk_usage(data_dir.resolve()).free


def _open_lock(folder: Path) -> int | None:
    try:
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0  # else the folder was removed meanwhile


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
