"""A small memory cgroup, where this machine lets us make one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import until

LIMIT_BYTES = 64 * 2**20
KINDS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),  # version 1
    (Path("/sys/fs/cgroup"), "memory.max"),  # version 2
)


@contextmanager
def small_cgroup() -> Iterator[Path]:
    """Skips the test where none can be made; goes once its processes are gone."""
    for parent, limit in KINDS:
        cgroup = parent / f"vision-test-{os.getpid()}"
        if not _made(cgroup):
            continue
        try:
            if _written(cgroup / limit):
                yield cgroup
                return
        finally:
            until(partial(_removed, cgroup))
    pytest.skip("no memory cgroup can be made here")


def _made(cgroup: Path) -> bool:
    try:
        cgroup.mkdir()
    except OSError:
        return False
    return True


def _written(limit: Path) -> bool:
    try:
        limit.write_text(str(LIMIT_BYTES))
    except OSError:
        return False
    return True


def _removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except OSError:
        return False
    return True
