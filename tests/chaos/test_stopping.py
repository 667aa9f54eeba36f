"""Every stop reaches the trainer alike; who wanted it decides whether the job ends, waits again or retries."""

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.invariants import check
from chaos.world import World, world
from e2e.backend import BACKEND

QUICK = {"STALL_SECONDS": "4", "STOP_FLAG_SECONDS": "2", "GRACE_PERIOD_SECONDS": "20"}
REPORTS = {"pause": 0.05, "pace": 0.05, "until_told": True}
PREEMPT = """
import sys
from datetime import UTC, datetime
from app.db import Database
from app.services import attempts
from app.settings import Settings
from app.words import StopIntent

with Database(Settings().database).write_session() as session:
    assert attempts.request_stop(session, int(sys.argv[1]), StopIntent.PREEMPT, datetime.now(UTC))
"""


@dataclass(frozen=True)
class Ending:
    """What is left of a job whose first attempt was stopped."""

    status: str
    outcomes: list[str]
    first_code: str | None
    retries: int


EXPECTED = {
    "cancelled by a person": Ending("cancelled", ["stopped"], None, 0),
    "preempted": Ending("completed", ["stopped", "completed"], None, 0),
    "on a drained host": Ending("completed", ["stopped", "completed"], None, 0),
    "told to stop by a stranger": Ending("completed", ["stopped", "completed"], "TRAINER_KILLED", 1),
    "stalled": Ending("failed", ["stopped", "stopped"], "STALLED", 1),
}


@pytest.mark.slow  # the verdict on each hand is in backend/tests/test_verdicts.py, in the fast lane
def test_job_ends_waits_or_retries_if_stopped_by_different_hands(tmp_path: Path) -> None:
    with world(tmp_path / "world", **QUICK) as platform:
        platform.start()
        jobs = {name: platform.submit(epochs=1, max_retries=1, **REPORTS) for name in EXPECTED if name != "stalled"}
        jobs["stalled"] = platform.submit(epochs=1, max_retries=1, ending="idle", pace=0.05)
        for job in jobs.values():
            platform.wait_for_events(job, 15)  # more than an epoch: there is a checkpoint to continue from

        platform.api.post(f"/api/v1/jobs/{jobs['cancelled by a person']}/cancel")
        _preempt(platform, jobs["preempted"])
        platform.send(platform.supervisor(jobs["on a drained host"]), signal.SIGTERM)
        platform.send(platform.trainers()[jobs["told to stop by a stranger"]].pid, signal.SIGTERM)
        for name in ("preempted", "on a drained host", "told to stop by a stranger"):
            platform.wait_for_events(jobs[name], 5, attempt=2)
        platform.finish.touch()
        platform.wait_until_ended(*jobs.values())

        rows = platform.database.rows()
        check(platform.truth(), rows).raise_if_any()
        assert {name: _ending(platform, job) for name, job in jobs.items()} == EXPECTED
        assert all(told.end == 3 for told in platform.truth() if told.attempt == 1)
        assert all(told.resume for told in platform.truth() if told.attempt == 2)


@pytest.mark.slow
def test_stopped_attempts_end_in_haste_if_the_trainer_ignores_its_host(world: World) -> None:
    """A drained host gives the grace period and no more; the job waits again all the same."""
    world.start(GRACE_PERIOD_SECONDS="1")
    job = world.submit(epochs=1, max_retries=0, **REPORTS)
    world.wait_for_events(job, 15)
    trainer = world.trainers()[job]
    trainer.suspend()
    world.send(world.supervisor(job), signal.SIGTERM)
    world.wait_for_events(job, 5, attempt=2)
    world.finish.touch()
    assert world.wait_until_ended(job) == {job: "completed"}
    first, _ = world.api.job(job)["attempts"]
    assert (first["exit_signal"], first["outcome"]) == (signal.SIGKILL, "stopped")
    check(world.truth(), world.database.rows()).raise_if_any()


def _preempt(platform: World, job: int) -> None:
    """As whoever makes room for another job will."""
    python = str(BACKEND / ".venv/bin/python")
    subprocess.run([python, "-c", PREEMPT, str(job)], cwd=BACKEND, env=platform.settings, check=True)


def _ending(platform: World, job: int) -> Ending:
    found: dict[str, Any] = platform.api.job(job)
    retries = {row["id"]: row["retries"] for row in platform.database.select("SELECT id, retries FROM jobs")}
    attempts = found["attempts"]
    failure = attempts[0]["failure"]
    outcomes = [attempt["outcome"] for attempt in attempts]
    return Ending(found["status"], outcomes, failure and failure["code"], retries[job])
