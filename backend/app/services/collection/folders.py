"""Folders on this machine's disk: how large, how old, and their removal."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path


def children(folder: Path, pattern: str = "*") -> list[Path]:
    """Real folders alone; none where `folder` is not there."""
    return sorted(path for path in folder.glob(pattern) if path.is_dir() and not path.is_symlink())


def measure(path: Path) -> tuple[int, datetime]:
    """Bytes, and when anything in it last changed. Links are not followed."""
    size, changed = 0, 0.0
    for found in _walk(path):
        size += found.st_size
        changed = max(changed, found.st_mtime)
    return size, datetime.fromtimestamp(changed, UTC)


def remove(path: Path) -> None:
    """Raises OSError for what stays; what is gone already is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _walk(path: Path) -> Iterator[os.stat_result]:
    try:
        yield path.lstat()
        if path.is_dir() and not path.is_symlink():
            for entry in os.scandir(path):
                yield from _walk(Path(entry.path))
    except FileNotFoundError:
        return  # gone meanwhile
