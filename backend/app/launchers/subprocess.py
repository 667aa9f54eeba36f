"""Trainers as processes of this machine, each below a supervisor of its own (supervisor.py)."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.launchers import processes, records
from app.launchers.base import CompletedRun, Handle, LaunchError, LaunchSpec, Observation
from app.launchers.memory import MemoryWatch
from app.launchers.output import SEGMENT_BYTES, TOTAL_BYTES

START_SECONDS = 30.0
END_SECONDS = 10.0
LOOK_SECONDS = 0.2
KILLED = 128 + signal.SIGKILL
MAX_STDOUT_BYTES, STDERR_TAIL_BYTES = 32 * 2**20, 8 * 2**10
BACKEND = Path(__file__).resolve().parents[2]
# Neither site packages nor PYTHON… variables, which are the trainer's; the working folder is on the path.
PYTHON = [sys.executable, "-E", "-s", "-S", "-m"]


class SubprocessLauncher:
    """Keeps nothing in memory: what it knows of an attempt is in the attempt's folder."""

    def __init__(self, data_dir: Path, *, segment_bytes: int = SEGMENT_BYTES, total_bytes: int = TOTAL_BYTES) -> None:
        self._data_dir = data_dir
        self._limits = ["--segment-bytes", str(segment_bytes), "--total-bytes", str(total_bytes)]
        self._one_at_a_time = threading.Lock()

    def launch(self, spec: LaunchSpec) -> Handle:
        folder = self._folder(spec.job_id, spec.attempt)
        if folder != spec.attempt_dir.resolve():
            raise LaunchError(
                f"attempt {spec.attempt} of job {spec.job_id} belongs in {folder}, not {spec.attempt_dir}"
            )
        _make_folders(folder)
        options = ["--folder", str(spec.folder), "--grace", str(spec.grace_seconds), *self._limits]
        reason = _start_supervisor([*options, "--", str(folder), *spec.command], spec.environment)
        identity = records.read_json(folder / records.IDENTITY_FILE)
        if reason is None and identity is not None:
            return identity
        raise LaunchError(reason or f"the supervisor left no {records.IDENTITY_FILE} in {folder}")

    def observe(self, job_id: int, attempt: int, handle: Handle | None) -> Observation:
        """An attempt whose supervisor is gone without a word is over: what it left running is killed here."""
        folder = self._folder(job_id, attempt)
        identity = _identity(folder, handle)
        running = _is_running(identity) if identity else _is_locked(folder)
        ending = records.read_json(folder / records.EXIT_FILE)  # after looking at the process: it writes, then ends
        if ending is not None:
            return _ended(ending, identity)
        if identity is None or running:
            return Observation(alive=running, found=running, handle=identity)
        orphans = self._kill_orphans(folder)
        return Observation(alive=orphans > 0, handle=identity)

    def stop(self, job_id: int, attempt: int, handle: Handle | None, *, kill: bool) -> None:
        folder = self._folder(job_id, attempt)
        identity = _identity(folder, handle)
        if identity is None:
            if kill:
                with suppress(OSError, LaunchError):  # where nothing can be written, nothing can be started either
                    _bar(folder)
        elif _is_running(identity):
            processes.send(identity["pid"], identity["started"], signal.SIGUSR1 if kill else signal.SIGTERM)

    def run_once(
        self, command: list[str], folder: Path, environment: Mapping[str, str], work_dir: Path, timeout: float
    ) -> CompletedRun:
        if not self._one_at_a_time.acquire(timeout=timeout):
            raise LaunchError(f"another program has been running for {timeout:g} s; try again later")
        deadline = time.monotonic() + timeout
        try:
            return _run_below(_once(command, folder), environment, work_dir, stop=lambda: time.monotonic() >= deadline)
        finally:
            self._one_at_a_time.release()

    def run_until(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        work_dir: Path,
        stop: Callable[[], bool],
    ) -> CompletedRun:
        return _run_below(_once(command, folder), environment, work_dir, stop)

    def _folder(self, job_id: int, attempt: int) -> Path:
        return records.attempt_folder(self._data_dir, job_id, attempt)

    def _kill_orphans(self, folder: Path) -> int:
        """Workers of a trainer that died with its supervisor; how many there were."""
        found = processes.with_variable(f"WORK_DIR={folder / records.WORK_FOLDER}")
        for pid in found:
            processes.kill(pid)
        return len(found)


def _identity(folder: Path, handle: Handle | None) -> Handle | None:
    """Who supervises, from its own file; the handle stands in for a file that was lost."""
    return records.read_json(folder / records.IDENTITY_FILE) or (handle if handle and "pid" in handle else None)


def _make_folders(folder: Path) -> None:
    try:
        (folder / records.WORK_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"cannot make {folder}: {error.strerror}") from error


def _start_supervisor(options: list[str], environment: Mapping[str, str]) -> str | None:
    """Why it did not start, None if it did."""
    words = [*PYTHON, "app.launchers.supervisor", *options]
    try:
        done = subprocess.run(
            words,
            cwd=BACKEND,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=START_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"the supervisor did not start the trainer within {START_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return f"cannot start a supervisor: {error}"
    return None if done.returncode == 0 else done.stderr.strip()[-2000:] or f"exit code {done.returncode}"


def _once(command: list[str], folder: Path) -> list[str]:
    return [*PYTHON, "app.launchers.once", "--parent", str(os.getpid()), "--folder", str(folder), "--", *command]


def _run_below(
    words: list[str], environment: Mapping[str, str], work_dir: Path, stop: Callable[[], bool]
) -> CompletedRun:
    """Output goes through files in `work_dir`: neither a chatty nor a silent program can block us."""
    out, err, watch = work_dir / "stdout", work_dir / "stderr", MemoryWatch()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        options: dict[str, Any] = {"stdout": stdout, "stderr": stderr, "stdin": subprocess.DEVNULL}
        options |= {"cwd": BACKEND, "env": dict(environment), "start_new_session": True}
        with subprocess.Popen(words, **options) as process:
            exit_code = _wait(process, watch, stop)
    evidence = watch.evidence() if exit_code == KILLED else None
    with out.open("rb") as stdout:
        text = stdout.read(MAX_STDOUT_BYTES).decode(errors="replace")
    return CompletedRun(exit_code, text, _tail(err), evidence)


def _wait(process: "subprocess.Popen[bytes]", watch: MemoryWatch, stop: Callable[[], bool]) -> int | None:
    """The exit code; None if it was ended because `stop` said so, or failed."""
    wanted = True
    try:
        while wanted:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_SECONDS)
            watch.sample()
            wanted = not stop()
        return None
    finally:
        if process.returncode is None:
            process.terminate()
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _is_running(identity: Handle) -> bool:
    same_boot = identity.get("boot_id") == processes.boot_id()
    return same_boot and processes.start_time(int(identity["pid"])) == identity["started"]


def _is_locked(folder: Path) -> bool:
    """Whether a supervisor is just starting."""
    if not folder.is_dir():
        return False
    lock = records.take_lock(folder)
    if lock is None:
        return True
    os.close(lock)
    return False


def _bar(folder: Path) -> None:
    """Make sure that a supervisor which was asked for but has not come yet finds the attempt over."""
    _make_folders(folder)
    lock = records.take_lock(folder)
    if lock is None:
        return
    try:
        if not (folder / records.IDENTITY_FILE).exists() and not (folder / records.EXIT_FILE).exists():
            now = datetime.now(UTC).isoformat()
            _write_or_touch(folder / records.EXIT_FILE, {"barred": True, "ended_at": now})
    finally:
        os.close(lock)


def _write_or_touch(path: Path, content: dict[str, Any]) -> None:
    """On a full disk the file is empty: that it is there says enough."""
    try:
        records.write_json(path, content)
    except OSError:
        path.touch()


def _ended(ending: dict[str, Any], identity: Handle | None) -> Observation:
    return Observation(
        alive=False,
        exit_code=ending.get("exit_code"),
        signal=ending.get("signal"),
        oom_killed=bool(ending.get("oom_killed")),
        found=not ending.get("barred"),
        stopped=bool(ending.get("stopped")),
        killed=bool(ending.get("killed")),
        error=ending.get("error"),
        ended_at=datetime.fromisoformat(ending["ended_at"]),
        handle=identity,
    )


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - STDERR_TAIL_BYTES))
        return file.read().decode(errors="replace")
