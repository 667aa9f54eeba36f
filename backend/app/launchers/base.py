"""The seam between the reconciler and whatever runs trainers: processes here, containers and clusters later.

A launcher knows attempts by (job, attempt); the handle is its own note about what it started, kept in the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from app.errors import AppError

Handle = dict[str, Any]


class LaunchError(AppError):
    """The trainer could not be started."""

    code = "LAUNCH_FAILED"


@dataclass(frozen=True)
class LaunchSpec:
    """Everything needed to start one attempt. `environment` is complete: nothing is added from the backend's."""

    job_id: int
    attempt: int
    command: list[str]
    folder: Path
    environment: Mapping[str, str]
    attempt_dir: Path
    grace_seconds: int


@dataclass(frozen=True)
class Observation:
    """What a launcher sees of an attempt.

    `found` is False where nothing was ever started. Not alive, found, and neither `exit_code` nor `signal`
    means that the ending went unrecorded: the machine restarted or the supervisor was killed.
    `stopped` says that the supervisor was asked to end, by the platform or by its host, and passed that on.
    `killed` says that the platform itself sent SIGKILL, `oom_killed` that the kernel ended a process for want of
    memory just before the end, `error` why the trainer could not even be started. `wrote` says that its outbox holds
    reports, delivered or not.
    """

    alive: bool
    exit_code: int | None = None
    signal: int | None = None
    oom_killed: bool = False
    ended_at: datetime | None = None
    found: bool = True
    stopped: bool = False
    killed: bool = False
    error: str | None = None
    handle: Handle | None = None
    wrote: bool = False


@dataclass(frozen=True)
class CompletedRun:
    """A finished program. `exit_code` is None when we ended it: it took too long, or was not wanted any more.

    `out_of_memory` is the kernel's word, where it killed a process of this machine just before the end.
    """

    exit_code: int | None
    stdout: str
    stderr_tail: str
    out_of_memory: str | None = None


class Launcher(Protocol):
    def launch(self, spec: LaunchSpec) -> Handle:
        """Start the attempt and return once its trainer exists. Raises LaunchError, also if it was started before."""

    def observe(self, job_id: int, attempt: int, handle: Handle | None) -> Observation:
        """What is there now. Finds an attempt whose handle was never recorded."""

    def stop(self, job_id: int, attempt: int, handle: Handle | None, *, kill: bool) -> None:
        """Ask the trainer to end (SIGTERM), or end it and all it started (SIGKILL).

        With `kill`, an attempt that was never started can never be started afterwards.
        """

    def run_once(
        self, command: list[str], folder: Path, environment: Mapping[str, str], work_dir: Path, timeout: float
    ) -> CompletedRun:
        """Run a short program to its end, one at a time. Nothing that it started outlives it.

        Raises LaunchError if its turn does not come within `timeout` seconds.
        """

    def run_until(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        work_dir: Path,
        stop: Callable[[], bool],
    ) -> CompletedRun:
        """Run a long program to its end, or until `stop`, asked several times a second, says so.

        It waits for no other program, and none waits for it. Nothing that it started outlives it.
        """
