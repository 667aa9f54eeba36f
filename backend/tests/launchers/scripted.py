"""The scripted trainer through the real launcher."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.launchers import environment, processes, records
from app.launchers.base import LaunchSpec, Observation
from app.launchers.subprocess import SubprocessLauncher
from tests.waiting import until

TRAINERS = Path(__file__).resolve().parents[1] / "trainers"
FOLDER = TRAINERS / "trainer-scripted"
NOBODY = "http://127.0.0.1:9/internal/training"  # the discard port: nobody listens


def make_spec(data_dir: Path, behaviour: str, *, attempt: int = 1, grace: int = 30, **script: Any) -> LaunchSpec:
    attempt_dir = records.attempt_folder(data_dir, 1, attempt)
    variables = {
        "JOB_ID": "1",
        "ATTEMPT": str(attempt),
        "EPOCHS": "2",
        "STORAGE_TYPE": "local",
        "STORAGE_PATH": str(data_dir / "storage"),
        "STORAGE_BUCKET": "vision",
        "CALLBACK_URL": f"{NOBODY}/1",
        "INTERNAL_AUTH_TOKEN": "secret-of-this-attempt",
        "WORK_DIR": str(attempt_dir / records.WORK_FOLDER),
        "HYPERPARAMETERS": json.dumps({"behaviour": behaviour} | script),
    }
    return LaunchSpec(
        job_id=1,
        attempt=attempt,
        command=[sys.executable, "train.py"],
        folder=FOLDER,
        environment=environment.allowed(os.environ) | variables,
        attempt_dir=attempt_dir,
        grace_seconds=grace,
    )


def wait_for_end(launcher: SubprocessLauncher, attempt: int = 1) -> Observation:
    def ended() -> Observation | None:
        seen = launcher.observe(1, attempt, None)
        return seen if seen.found and not seen.alive else None

    seen = until(ended)
    assert seen is not None
    return seen


def output(spec: LaunchSpec) -> str:
    return b"".join(path.read_bytes() for path in sorted((spec.attempt_dir / "log").glob("*.log"))).decode()


def wait_for_output(spec: LaunchSpec, text: str) -> None:
    until(lambda: text in output(spec))


def child_of(spec: LaunchSpec) -> int:
    return int((spec.attempt_dir / records.WORK_FOLDER / "child.pid").read_text())


def gone(pid: int) -> Callable[[], bool]:
    return lambda: processes.start_time(pid) is None
