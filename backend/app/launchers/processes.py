"""What the supervisor and the launcher know of Linux processes. Standard library alone.

A process is identified by its id, its start time and the boot: an id alone is reused by strangers.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), field 22); None if it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start(command: list[str], folder: str, output: int | None, process_group: int | None) -> "subprocess.Popen[bytes]":
    """Start a child that cannot outlive this process. Without `output` it inherits ours. Raises OSError."""
    parent = os.getpid()
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        process_group=process_group,
        preexec_fn=lambda: die_with(parent),
    )


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel signal this process when its parent ends; end at once if that happened already."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none can hide."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_descendants() -> None:
    for pid in _descendants(os.getpid()):
        kill(pid)


def end_descendants() -> int:
    """Kill everything below this process and wait for it; how many there were. Needs `adopt_orphans`."""
    ended = 0
    with suppress(ChildProcessError):
        while True:
            kill_descendants()
            os.waitpid(-1, 0)
            ended += 1
    return ended


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def send(pid: int, started: int, number: signal.Signals) -> bool:
    """Signal the process if it is still the one that started then."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(pid) != started:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def with_variable(assignment: str) -> list[int]:
    """The living processes of ours that were started with this `NAME=value` in their environment."""
    found = []
    for pid in _all():
        with suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if os.fsencode(assignment) in variables and start_time(pid) is not None:
                found.append(pid)
    return found


def signals_as_bytes(*numbers: signal.Signals) -> int:
    """A descriptor that yields the number of each of these signals as one byte when it arrives."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reading


def _descendants(root: int) -> list[int]:
    parents = {pid: int(fields[1]) for pid in _all() if (fields := _stat(pid))}
    found = [root]
    for parent in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; a name may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused")
