"""Cancelling: it reaches everything, it ends once, and nothing that was learned is lost."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.context import build_platform
from app.errors import Conflict
from app.launchers import processes
from app.launchers.base import Handle, Observation
from app.launchers.subprocess import SubprocessLauncher
from app.models import Event, Job
from app.reconciler import Reconciler
from app.services import events, jobs
from app.settings import Settings
from app.verdicts import Policy
from app.words import ENDED, JobStatus
from tests import factories
from tests.outages.serving import Served, serving

LIMIT_SECONDS = 15.0


def test_longest_cancel_is_below_the_limit_by_default(settings: Settings) -> None:
    """Three looks of the reconciler: one that asks, one that kills, one that sees the end."""
    policy = Policy.of(settings, datetime.now(UTC))
    assert (policy.stop_flag + policy.grace).total_seconds() + 3 * settings.tick_seconds <= LIMIT_SECONDS - 2


def test_trainers_are_told_the_grace_that_they_get(settings: Settings) -> None:
    with serving(settings, grace_period_seconds=7) as served:
        job_id = served.start("wait", "waiting")
        process = (served.platform.launcher.observe(job_id, 1, None).handle or {})["trainer_pid"]
        assert process in processes.with_variable("GRACE_PERIOD=7")


def test_every_worker_is_gone_if_all_ignore_sigterm(settings: Settings) -> None:
    with serving(settings, grace_period_seconds=1, stop_flag_seconds=0.2, tick_seconds=0.1) as served:
        _cancel_what_ignores_sigterm(served)


@pytest.mark.slow
def test_every_worker_is_gone_within_the_limit_by_default(settings: Settings) -> None:
    with serving(settings) as served:
        assert _cancel_what_ignores_sigterm(served) < LIMIT_SECONDS


def _cancel_what_ignores_sigterm(served: Served) -> float:
    """How long it took."""
    job_id = served.start("fork_workers", "forked")
    workers = json.loads((served.work_dir(job_id) / "workers.json").read_text())
    assert len(workers) == 3 and all(processes.start_time(pid) for pid in workers)
    began = time.monotonic()
    assert served.http.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "stopping"
    job = served.become(job_id, "cancelled", "failed", "completed")
    took = time.monotonic() - began
    assert (job["status"], job["failure"]) == ("cancelled", None)
    assert (job["attempts"][0]["exit_signal"], job["attempts"][0]["outcome"]) == (9, "stopped")
    assert [pid for pid in workers if processes.start_time(pid)] == []
    return took


def test_best_and_last_are_kept_and_resumed_if_a_cancelled_job_is_retried(settings: Settings) -> None:
    with serving(settings, tick_seconds=0.1) as served:
        job_id = served.start("save_then_wait", "waiting")
        served.http.post(f"/api/v1/jobs/{job_id}/cancel")
        served.become(job_id, "cancelled")
        for kind in ("best", "last"):
            assert served.http.get(f"/api/v1/jobs/{job_id}/checkpoints/{kind}").content == b"weights of epoch 1"
        assert served.http.post(f"/api/v1/jobs/{job_id}/retry").json()["status"] == "pending"
        job = served.become(job_id, "completed", "failed")
        assert job["status"] == "completed"
        assert job["attempts"][1]["resume"]["epoch"] == 1
        epochs = [point["epoch"] for point in _points(served, job_id)]
        assert epochs == [2]  # the first was not repeated


def _points(served: Served, job_id: int) -> list[dict[str, Any]]:
    [series] = served.http.get(f"/api/v1/jobs/{job_id}/metrics").json()["series"]
    points: list[dict[str, Any]] = series["points"]
    return points


class Ended(SubprocessLauncher):
    """Sees every attempt as it ended just now."""

    seen = Observation(alive=False)

    def observe(self, job_id: int, attempt: int, handle: Handle | None) -> Observation:
        return self.seen


STOPPED, SAID_COMPLETED = Observation(alive=False, exit_code=3), Observation(alive=False, exit_code=0)


@pytest.fixture
def judged(settings: Settings, database_url: str) -> Iterator["Judged"]:
    judged = Judged(settings.model_copy(update={"database_url": database_url}))
    yield judged
    judged.database.dispose()


class Judged:
    """Jobs whose trainers have just ended, and a reconciler that is about to see it."""

    def __init__(self, settings: Settings) -> None:
        platform = build_platform(settings)
        self.database, self.launcher = platform.database, Ended(settings.data_dir)
        self.reconciler = Reconciler(replace(platform, launcher=self.launcher))

    def running(self, said: str) -> int:
        with self.database.write_session() as session:
            job_id = factories.job(session, status=JobStatus.RUNNING, max_retries=0).id
            factories.attempt(session, job_id=job_id, handle={"pid": 1}, reported={"status": said, "failure": None})
        return job_id

    def cancel(self, job_id: int) -> str:
        """The status that the person is answered, "refused" if it came too late."""
        try:
            with self.database.write_session() as session:
                return jobs.cancel(session, job_id, datetime.now(UTC)).status
        except Conflict:
            return "refused"

    def look(self) -> float:
        """A tick of the reconciler; how long it took."""
        began = time.monotonic()
        self.reconciler.tick(datetime.now(UTC))
        return time.monotonic() - began

    def report_late(self, job_id: int) -> None:
        report = factories.event(99, "status", status="completed")
        with self.database.write_session() as session:
            events.ingest(session, job_id, 1, None, [report], datetime.now(UTC))

    def ends(self, job_id: int) -> list[str]:
        """The job's status and every end in its timeline: the same, once."""
        query = select(Event.payload).filter_by(job_id=job_id, source="platform", type="status")
        with self.database.read_session() as session:
            told = [change["to"] for change in session.scalars(query) if change["to"] in ENDED]
            return [session.get_one(Job, job_id).status, *told]


@pytest.mark.parametrize("tries", [12, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("said", ["stopped", "completed"])
def test_one_end_that_never_changes_if_cancel_races_the_trainers_end(judged: Judged, said: str, tries: int) -> None:
    judged.launcher.seen = STOPPED if said == "stopped" else SAID_COMPLETED
    usual = min(judged.look() for _ in range(5) if judged.running(said))
    answers = set()
    for number in range(tries):
        job_id = judged.running(said)
        answer = _race(judged, job_id, delay=number / tries * 1.2 * usual)
        judged.look()
        in_time = answer == JobStatus.STOPPING
        late_end = JobStatus.FAILED  # it stopped, and nobody had asked
        end = JobStatus.COMPLETED if said == "completed" else JobStatus.CANCELLED if in_time else late_end
        assert judged.ends(job_id) == [end, end], (number, answer)
        judged.cancel(job_id)
        judged.report_late(job_id)
        judged.look()
        assert judged.ends(job_id) == [end, end], (number, answer)
        answers.add(answer)
    assert answers == {JobStatus.STOPPING, "refused"}, "one side always won: the race proves nothing"


def _race(judged: Judged, job_id: int, delay: float) -> str:
    """The answer to a cancel that comes this much after the reconciler began to look."""
    barrier = threading.Barrier(2)
    answers: list[str] = []

    def ask() -> None:
        barrier.wait()
        time.sleep(delay)
        answers.append(judged.cancel(job_id))

    asking = threading.Thread(target=ask)
    asking.start()
    barrier.wait()
    judged.look()
    asking.join()
    return answers[0]
