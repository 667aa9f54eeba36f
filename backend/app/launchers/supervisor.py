"""Stands between the backend and one trainer: `python -m app.launchers.supervisor … -- ATTEMPT_DIR COMMAND…`.

It lives in its own session and outlives the backend, keeps the trainer's output, passes on SIGTERM, kills what is left
after the grace or after the end, and records how the trainer ended (the files are in `records.py`). Its environment is
the trainer's. Standard library alone: it starts in milliseconds and no package can break it.
"""

import argparse
import os
import selectors
import signal
import sys
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from app.launchers import processes, records
from app.launchers.memory import SAMPLE_SECONDS, MemoryWatch
from app.launchers.output import SEGMENT_BYTES, TOTAL_BYTES, RotatedLog

READ_BYTES = 64 * 2**10
STOP, KILL_NOW = signal.SIGTERM, signal.SIGUSR1
READY = "ready"


class Refused(Exception):
    """This attempt cannot be started, or was started before."""


def main(arguments: list[str]) -> int:
    """Supervise in a new session; return once the trainer runs, or with the reason why it does not."""
    options = _parse(arguments)
    answers, ready = os.pipe()
    if os.fork():
        os.close(ready)
        with os.fdopen(answers, "rb") as pipe:
            return _report(pipe.read().decode(errors="replace"))
    os.close(answers)
    os.setsid()
    _leave_terminal(options.attempt_dir)
    try:
        _supervise(options, ready)
    except Refused as refusal:
        os.write(ready, str(refusal).encode())
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("attempt_dir", type=lambda text: Path(text).resolve())
    parser.add_argument("--folder", required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES)
    parser.add_argument("--total-bytes", type=int, default=TOTAL_BYTES)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _report(answer: str) -> int:
    if answer == READY:
        return 0
    print(answer or f"the supervisor ended early; see {records.OWN_LOG_FILE} in the attempt's folder", file=sys.stderr)
    return 1


def _leave_terminal(attempt_dir: Path) -> None:
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    own_log = os.open(attempt_dir / records.OWN_LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nowhere, 0), (own_log, 1), (own_log, 2)):
        os.dup2(source, target)


def _supervise(options: argparse.Namespace, ready: int) -> None:
    if records.take_lock(options.attempt_dir) is None:
        raise Refused(f"{options.attempt_dir} already has a supervisor")
    supervision = Supervision(options)
    supervision.prepare()
    supervision.start()
    os.write(ready, READY.encode())
    os.close(ready)
    supervision.follow()
    supervision.finish()


class Supervision:
    """One trainer from its start to the record of its end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.identity_file: Path = options.attempt_dir / records.IDENTITY_FILE
        self.exit_file: Path = options.attempt_dir / records.EXIT_FILE
        self.started_at = _now()
        self.status: int | None = None
        self.deadline: float | None = None
        self.stopped = self.killed = False

    def prepare(self) -> None:
        """Everything that can be refused before a trainer exists."""
        if self.identity_file.exists() or self.exit_file.exists():
            raise Refused(f"{self.options.attempt_dir} was already run; an attempt runs once")
        try:
            records.reserve(self.exit_file)
            records.reserve(self.identity_file)
            folder = self.options.attempt_dir / records.LOG_FOLDER
            self.log = RotatedLog(folder, self.options.segment_bytes, self.options.total_bytes)
        except OSError as error:
            raise Refused(f"cannot write in {self.options.attempt_dir}: {error.strerror}") from error
        self.memory = MemoryWatch()
        self.signals = processes.signals_as_bytes(signal.SIGCHLD, STOP, KILL_NOW, signal.SIGINT, signal.SIGHUP)
        processes.adopt_orphans()

    def start(self) -> None:
        """Start the trainer and write down who supervises it."""
        self.output, writing = os.pipe()
        os.set_blocking(self.output, False)
        command, folder = self.options.command, self.options.folder
        try:
            self.trainer = processes.start(command, folder, writing, process_group=0)
        except OSError as error:
            reason = f"cannot start {' '.join(command)!r} in {folder!r}: {error.strerror}"
            records.write_json(self.exit_file, {"error": reason, "ended_at": _now()})
            raise Refused(reason) from error
        os.close(writing)
        pid = os.getpid()
        identity = {"pid": pid, "started": processes.start_time(pid), "boot_id": processes.boot_id()}
        times = {"trainer_pid": self.trainer.pid, "started_at": self.started_at}
        records.write_json(self.identity_file, identity | times)

    def follow(self) -> None:
        """Copy output and pass on signals until the trainer itself has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            selector.register(self.signals, selectors.EVENT_READ)
            while self.status is None:
                for key, _ in selector.select(self._patience()):
                    if key.fd == self.signals:
                        self._take_signals()
                    elif not self._copy_output():
                        selector.unregister(self.output)  # the trainer closed its output and goes on
                self.memory.sample()
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    self._kill()

    def finish(self) -> None:
        """End what the trainer left behind, copy the last output, record the end."""
        leftovers = processes.end_descendants()
        while self._copy_output():
            pass
        self.log.close()
        code = os.waitstatus_to_exitcode(self.status or 0)
        evidence = self.memory.evidence()
        ending = {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "oom_killed": evidence is not None and not self.killed,
            "oom_evidence": evidence,
            "stopped": self.stopped,
            "killed": self.killed,
            "leftovers": leftovers,
            "started_at": self.started_at,
            "ended_at": _now(),
        }
        records.write_json(self.exit_file, ending)

    def _patience(self) -> float:
        if self.deadline is None:
            return SAMPLE_SECONDS
        return min(SAMPLE_SECONDS, max(0.0, self.deadline - time.monotonic()))

    def _copy_output(self) -> bool:
        """Copy one piece of what is there; False if there is none."""
        with suppress(BlockingIOError):
            if data := os.read(self.output, READ_BYTES):
                self.log.write(data)
                return True
        return False

    def _take_signals(self) -> None:
        for number in os.read(self.signals, 512):
            match number:
                case signal.SIGCHLD:
                    self._reap()
                case signal.SIGTERM | signal.SIGINT:
                    self._stop()
                case signal.SIGUSR1:
                    self._kill()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.trainer.pid:
                    self.status = ended[1]
                    self.trainer.returncode = ended[1]  # ours is the wait; Popen must not wait again

    def _stop(self) -> None:
        """Ask the trainer alone: a DataLoader worker that gets SIGTERM makes its trainer fail instead of stop."""
        if not self.stopped and self.status is None:
            self.stopped = True
            self.deadline = time.monotonic() + self.options.grace
            os.kill(self.trainer.pid, STOP)

    def _kill(self) -> None:
        if self.status is None:
            self.killed = True
            self.deadline = None
            processes.kill_descendants()


def _now() -> str:
    return datetime.now(UTC).isoformat()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
