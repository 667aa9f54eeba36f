"""Whether the kernel has just killed a process for want of memory. Standard library alone."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

SAMPLE_SECONDS = 5.0


class MemoryWatch:
    """Compares the kernel's counters with those of the sample before the last: a kill long ago is no evidence."""

    def __init__(self) -> None:
        self._sampled = time.monotonic()
        self._before = self._latest = dict(_oom_counters())

    def sample(self) -> None:
        if time.monotonic() - self._sampled >= SAMPLE_SECONDS:
            self._sampled = time.monotonic()
            self._before, self._latest = self._latest, dict(_oom_counters())

    def evidence(self) -> str | None:
        """Which counter rose, in words."""
        for name, count in _oom_counters():
            before = self._before.get(name, 0)  # of a group that it came to since: all that happened there
            if count > before:
                return f"{name}: oom_kill rose from {before} to {count}"
        return None


def _oom_counters() -> list[tuple[str, int]]:
    """`oom_kill` of this process's memory cgroup; where it has none, of the machine, whoever was killed on it."""
    return list(_counts(_cgroup_files())) or list(_counts([Path("/proc/vmstat")]))


def _counts(paths: Iterable[Path]) -> Iterator[tuple[str, int]]:
    for path in paths:
        with suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    yield str(path), int(line.split()[1])


def _cgroup_files() -> Iterator[Path]:
    """Where version 2 keeps the counter, and version 1."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield Path("/sys/fs/cgroup", group.lstrip("/"), "memory.events")
            elif "memory" in controllers.split(","):
                yield Path("/sys/fs/cgroup/memory", group.lstrip("/"), "memory.oom_control")
