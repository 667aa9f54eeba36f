"""What one program costs: its seconds, its processor's seconds, its memory at the peak."""

import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def cost_of(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Cost:
    """Run a program to its end, start-up included. Ends the benchmark if it fails."""
    before, started = _cpu_seconds(), time.perf_counter()
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*map(str, command)], env=environment, cwd=folder, **options) as process:
        peak, ended = _watch(process), time.perf_counter()
        output = process.stdout.read() if process.stdout else b""
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}: {output[-2000:]!r}")
    return Cost(ended - started, _cpu_seconds() - before, peak)


def _watch(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end; the kernel's own high-water mark, as last seen. (ru_maxrss would have this process in it.)"""
    peak = 0
    while True:
        peak = max(peak, _high_water_mark(process.pid))
        try:
            process.wait(POLL_SECONDS)
            return peak
        except subprocess.TimeoutExpired:
            continue


def _high_water_mark(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _cpu_seconds() -> float:
    """Of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
