"""The reconciler with a real database, real trainers and the real launcher; the test calls each tick."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select, update

from app.context import Platform, build_platform
from app.launchers.base import Handle, Observation
from app.launchers.subprocess import SubprocessLauncher
from app.models import Attempt, Event, Job, Metric
from app.reconciler import Reconciler
from app.services import access, attempts, jobs, logs
from app.settings import Settings
from app.words import ACTIVE, JobStatus, StopIntent
from tests import factories
from tests.cgroups import small_cgroup
from tests.launchers.scripted import TRAINERS, gone
from tests.waiting import until

BACKEND = Path(__file__).resolve().parents[1]
Value = TypeVar("Value")
NOBODY = "http://127.0.0.1:9"


class Scene:
    """A platform without its threads."""

    def __init__(self, settings: Settings) -> None:
        self.platform: Platform = build_platform(settings)
        access.ensure_access(self.platform.database, settings, datetime.now(UTC))
        self.reconciler = Reconciler(self.platform)

    def submit(self, behaviour: str, *, script: dict[str, Any] | None = None, **fields: Any) -> int:
        config = factories.job_config(epochs=2, hyperparameters={"behaviour": behaviour} | (script or {}))
        values = {"framework": "scripted", "config": config, "gpus": 0, "priority": 0, "max_retries": 2}
        with self.platform.database.write_session() as session:
            return factories.job(session, **values | fields).id

    def tick(self, **later: float) -> None:
        self.reconciler.tick(datetime.now(UTC) + timedelta(**later))

    def job(self, job_id: int) -> Job:
        with self.platform.database.read_session() as session:
            return session.get_one(Job, job_id)

    def attempt(self, job_id: int, number: int | None = None) -> Attempt:
        with self.platform.database.read_session() as session:
            return attempts.get(session, job_id, number)

    def ticking(self, condition: Callable[[], Value], **later: float) -> Value:
        """The condition's first true value, with a tick before each look."""

        def tick_and_look() -> Value:
            self.tick(**later)
            return condition()

        return until(tick_and_look)

    def tick_until(self, job_id: int, *statuses: JobStatus) -> Job:
        self.ticking(lambda: self.job(job_id).status in statuses)
        return self.job(job_id)

    def start(self, behaviour: str, said: str, **fields: Any) -> int:
        """A job whose trainer has printed this."""
        job_id = self.submit(behaviour, **fields)
        self.tick()
        until(lambda: said in self.output(job_id))
        return job_id

    def output(self, job_id: int) -> str:
        return logs.tail(self.folder(job_id), 1000).text

    def folder(self, job_id: int) -> Path:
        return attempts.attempt_dir(self.platform.settings, job_id, self.attempt(job_id).number)

    def cancel(self, job_id: int) -> None:
        with self.platform.database.write_session() as session:
            jobs.cancel(session, job_id, datetime.now(UTC))

    def retry(self, job_id: int) -> None:
        with self.platform.database.write_session() as session:
            jobs.retry(session, job_id, datetime.now(UTC))

    def change_attempt(self, job_id: int, **values: Any) -> None:
        with self.platform.database.write_session() as session:
            session.execute(update(Attempt).where(Attempt.job_id == job_id).values(**values))

    def timeline(self, job_id: int, *types: str) -> list[dict[str, Any]]:
        query = select(Event.payload).where(Event.job_id == job_id, Event.source == "platform", Event.type.in_(types))
        with self.platform.database.read_session() as session:
            return list(session.scalars(query.order_by(Event.position)))

    def close(self) -> None:
        """Ends whatever still runs."""
        self.reconciler.stop()
        with self.platform.database.read_session() as session:
            running = session.scalars(select(Job.id).where(Job.status.in_(ACTIVE))).all()
        for job_id in running:
            number = self.attempt(job_id).number
            self.platform.launcher.stop(job_id, number, None, kill=True)
            until(partial(self._is_over, job_id, number))
        self.platform.database.dispose()

    def _is_over(self, job_id: int, number: int) -> bool:
        return not self.platform.launcher.observe(job_id, number, None).alive


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No pause before retries, no wait before SIGTERM, and nobody at the other end of CALLBACK_URL."""
    changes: dict[str, Any] = {
        "trainers_path": TRAINERS,
        "backend_internal_url": NOBODY,
        "retry_backoff_seconds": 0,
        "stop_flag_seconds": 0,
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    scene = Scene(settings)
    yield scene
    scene.close()


@pytest.fixture
def any_scene(settings: Settings, database_url: str) -> Iterator[Scene]:
    """On each kind of database."""
    scene = Scene(settings.model_copy(update={"database_url": database_url}))
    yield scene
    scene.close()


def test_completes_if_trainer_does(any_scene: Scene) -> None:
    scene = any_scene
    job = scene.tick_until(scene.submit("complete"), JobStatus.COMPLETED, JobStatus.FAILED)
    assert job.status == JobStatus.COMPLETED, scene.attempt(job.id).failure
    assert job.best == {"metric": "mAP50-95", "value": 1.0, "epoch": 2}
    attempt = scene.attempt(job.id)
    assert (attempt.exit_code, attempt.outcome, attempt.failure, attempt.log_tail) == (0, "completed", None, None)
    assert attempt.launched_at and attempt.ended_at and attempt.slots == ["cpu:0"]
    changes = [payload["to"] for payload in scene.timeline(job.id, "status")]
    assert changes == ["starting", "running", "completed"]
    assert scene.timeline(job.id, "launch") == [{"slots": ["cpu:0"], "resume": None}]
    assert [payload["outcome"] for payload in scene.timeline(job.id, "outcome")] == ["completed"]
    with scene.platform.database.read_session() as session:
        assert [row.value for row in session.scalars(select(Metric).order_by(Metric.epoch))] == [1.0, 0.5]


def test_failed_with_its_last_lines_if_trainer_says_so(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("fail", script={"code": "NAN_LOSS"}), JobStatus.FAILED)
    assert job.failure and job.failure["code"] == "NAN_LOSS" and job.failure["message"] == "as the script says"
    assert "learning rate" in job.failure["hint"]
    attempt = scene.attempt(job.id)
    assert (attempt.number, attempt.exit_code, attempt.outcome) == (1, 1, "failed")
    assert attempt.log_tail == ["attempt 1 does fail", "Traceback: as the script says"]


def test_no_completion_report_if_it_leaves_silently(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("leave"), JobStatus.FAILED)
    assert job.failure and job.failure["code"] == "NO_COMPLETION_REPORT"


def test_next_attempt_continues_from_the_last_checkpoint_if_retried(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("fail_once", script={"code": "DISK_FULL"}), JobStatus.COMPLETED)
    assert (job.attempt, job.retries, job.failure) == (2, 1, None)
    first, second = scene.attempt(job.id, 1), scene.attempt(job.id, 2)
    assert first.failure and first.failure["code"] == "DISK_FULL"
    assert second.resume and second.resume["epoch"] == 1
    reasons = [payload["reason"] for payload in scene.timeline(job.id, "status") if payload["trigger"] == "requeue"]
    assert reasons == ["DISK_FULL; retry 1 of 2"]


def test_waits_out_its_pause_if_retried(scene: Scene, settings: Settings) -> None:
    slow = replace(scene.platform, settings=settings.model_copy(update={"retry_backoff_seconds": 600}))
    scene.reconciler = Reconciler(slow)
    job = scene.tick_until(scene.submit("fail_once", script={"code": "DISK_FULL"}), JobStatus.PENDING, JobStatus.FAILED)
    while job.pending_reason is None:
        job = scene.tick_until(job.id, JobStatus.PENDING)
    assert job.pending_reason == "retrying in 600 s after DISK_FULL"
    scene.tick(seconds=601)
    assert scene.job(job.id).status == JobStatus.STARTING


def test_failed_for_good_if_every_retry_fails(scene: Scene) -> None:
    job_id = scene.submit("fail", script={"code": "DISK_FULL"}, max_retries=1)
    job = scene.tick_until(job_id, JobStatus.FAILED)
    assert (job.attempt, job.retries) == (2, 1)
    assert job.failure and job.failure["code"] == "DISK_FULL"


def test_retry_of_a_person_continues_from_the_last_checkpoint(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("fail_once", script={"code": "NAN_LOSS"}), JobStatus.FAILED)
    scene.retry(job.id)
    job = scene.tick_until(job.id, JobStatus.COMPLETED)
    assert (scene.attempt(job.id).resume or {})["epoch"] == 1


def test_says_why_it_waits_if_all_slots_are_taken(scene: Scene) -> None:
    first = scene.start("wait", "waiting")
    second, third = scene.submit("complete"), scene.submit("complete", priority=1)
    scene.tick()
    assert scene.job(third).pending_reason == f"waiting for a CPU slot: 1 of 1 in use by job {first}"
    assert scene.job(second).pending_reason == f"waiting behind job {third}, which is next in line"
    scene.cancel(first)
    scene.tick_until(third, JobStatus.COMPLETED)
    assert scene.tick_until(second, JobStatus.COMPLETED).pending_reason is None


def test_never_launched_if_cancelled_while_waiting(scene: Scene) -> None:
    scene.start("wait", "waiting")
    waiting = scene.submit("complete")
    scene.tick()
    scene.cancel(waiting)
    scene.tick()
    assert (scene.job(waiting).status, scene.job(waiting).attempt) == (JobStatus.CANCELLED, 0)


def test_cancelled_if_trainer_heeds_sigterm(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    scene.cancel(job_id)
    job = scene.tick_until(job_id, JobStatus.CANCELLED)
    attempt = scene.attempt(job_id)
    assert (job.failure, job.stop_intent) == (None, None)
    assert (attempt.exit_code, attempt.outcome, attempt.failure) == (3, "stopped", None)
    assert scene.timeline(job_id, "stop") == [{"signal": "SIGTERM"}]


def test_cancelled_with_everything_killed_if_trainer_ignores_sigterm(settings: Settings) -> None:
    scene = Scene(settings.model_copy(update={"grace_period_seconds": 1}))
    job_id = scene.start("ignore_term", "ignoring SIGTERM")
    child = int((scene.folder(job_id) / "work" / "child.pid").read_text())
    scene.cancel(job_id)
    scene.tick_until(job_id, JobStatus.CANCELLED)
    attempt = scene.attempt(job_id)
    assert (attempt.exit_signal, attempt.outcome, attempt.failure) == (signal.SIGKILL, "stopped", None)
    assert gone(child)()
    scene.close()


def test_flag_comes_before_the_signal(scene: Scene, settings: Settings) -> None:
    patient = replace(scene.platform, settings=settings.model_copy(update={"stop_flag_seconds": 3600}))
    scene.reconciler = Reconciler(patient)
    job_id = scene.start("wait", "waiting")
    scene.cancel(job_id)
    scene.tick(seconds=1)
    assert scene.timeline(job_id, "stop") == []
    assert scene.platform.launcher.observe(job_id, 1, None).alive


def test_stopped_and_retried_if_stalled(scene: Scene, settings: Settings) -> None:
    impatient = replace(scene.platform, settings=settings.model_copy(update={"stall_seconds": 20}))
    scene.reconciler = Reconciler(impatient)
    job_id = scene.start("wait", "waiting")
    scene.change_attempt(job_id, heartbeat_at=datetime.now(UTC) + timedelta(seconds=29))
    scene.tick(seconds=30)
    assert scene.job(job_id).stop_intent == StopIntent.STALL
    scene.ticking(lambda: scene.attempt(job_id, 1).outcome, seconds=31)
    first = scene.attempt(job_id, 1)
    assert (first.outcome, (first.failure or {})["code"]) == ("stopped", "STALLED")
    asked, signalled = scene.timeline(job_id, "stop")
    assert asked["intent"] == "stall" and asked["reason"].startswith("no progress for 3")
    assert signalled == {"signal": "SIGTERM"}
    assert (scene.job(job_id).retries, scene.job(job_id).stop_intent) == (1, None)


def test_left_alone_and_told_once_if_silent_and_alive(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    for seconds in (59, 100, 110, 120):
        scene.tick(seconds=seconds)
    [warning] = scene.timeline(job_id, "warning")
    assert warning["code"] == "UNREACHABLE" and "the trainer is alive" in warning["message"]
    assert scene.job(job_id).status == JobStatus.STARTING


def test_not_told_if_the_machine_slept(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    scene.tick(hours=8)
    assert scene.timeline(job_id, "warning") == []


def test_lost_and_retried_if_supervisor_was_killed(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    os.kill((scene.attempt(job_id).handle or {})["pid"], signal.SIGKILL)
    scene.ticking(lambda: scene.job(job_id).attempt == 2)
    first = scene.attempt(job_id, 1)
    assert (first.outcome, (first.failure or {})["code"], first.exit_code) == ("lost", "TRAINER_LOST", None)


def test_not_retried_if_killed_for_memory(scene: Scene) -> None:
    with small_cgroup() as cgroup:
        job = scene.tick_until(scene.submit("exhaust_memory", script={"cgroup": str(cgroup)}), JobStatus.FAILED)
    assert job.failure and job.failure["code"] == "OUT_OF_MEMORY"
    assert (job.attempt, scene.attempt(job.id).exit_signal) == (1, signal.SIGKILL)


def test_reports_in_flight_count_if_trainer_was_killed(scene: Scene) -> None:
    """It said running and failed to its outbox alone; the verdict knows."""
    job_id = scene.submit("kill_itself", max_retries=0)
    job = scene.tick_until(job_id, JobStatus.FAILED)
    assert job.started_at is not None
    assert job.failure and job.failure["code"] == "TRAINER_KILLED"


def test_damaged_report_is_told_in_the_timeline(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    with (scene.folder(job_id) / "work" / "outbox.jsonl").open("ab") as outbox:
        outbox.write(b"00000000 {}\n")
    scene.cancel(job_id)
    scene.tick_until(job_id, JobStatus.CANCELLED)
    assert [warning["code"] for warning in scene.timeline(job_id, "warning")] == ["OUTBOX_DAMAGED"]


def test_launch_failed_if_framework_left_the_catalogue(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("complete", framework="gone", max_retries=1), JobStatus.FAILED)
    assert job.failure and job.failure["code"] == "LAUNCH_FAILED"
    assert job.failure["message"] == "its framework 'gone' is no longer in the catalogue"
    assert job.attempt == 2


def test_launch_failed_if_dataset_version_is_gone(scene: Scene) -> None:
    job = scene.tick_until(scene.submit("complete", dataset_version=7, max_retries=0), JobStatus.FAILED)
    assert job.failure and job.failure["message"] == f"version 7 of its dataset {job.dataset_id!r} is gone"


def test_launch_failed_if_interpreter_is_missing(scene: Scene) -> None:
    trainers = scene.platform.catalogue.trainers
    trainers["scripted"] = replace(trainers["scripted"], commands={"train": ["/nonexistent/python", "train.py"]})
    job = scene.tick_until(scene.submit("complete", max_retries=0), JobStatus.FAILED)
    assert job.failure and job.failure["code"] == "LAUNCH_FAILED"
    assert "/nonexistent/python" in job.failure["message"]


def test_adopted_if_backend_died_before_it_recorded_the_handle(scene: Scene) -> None:
    job_id = scene.start("wait", "waiting")
    scene.change_attempt(job_id, handle=None, launched_at=None)
    scene.reconciler = Reconciler(scene.platform)
    scene.tick(seconds=3600)
    adopted = scene.attempt(job_id)
    assert adopted.handle and adopted.launched_at and scene.job(job_id).attempt == 1


@pytest.mark.parametrize(("moment", "attempts_made"), [("before", 2), ("after", 1)])
def test_one_trainer_if_backend_was_killed_around_the_start(scene: Scene, moment: str, attempts_made: int) -> None:
    """A backend process that is killed between two steps of a launch; the next one finds what is there."""
    job_id = scene.submit("wait")
    _tick_in_a_process_that_is_killed(scene.platform.settings, moment)
    assert (scene.job(job_id).status, scene.attempt(job_id).handle) == (JobStatus.STARTING, None)
    scene.tick()
    assert scene.job(job_id).attempt == 1, "the first might still be starting"
    scene.ticking(lambda: "waiting" in scene.output(job_id), seconds=15)
    assert scene.job(job_id).attempt == attempts_made
    alive = [number for number in (1, 2) if scene.platform.launcher.observe(job_id, number, None).alive]
    assert alive == [attempts_made]


class Moody(SubprocessLauncher):
    """Cannot look at one job."""

    unseen = 0

    def observe(self, job_id: int, attempt: int, handle: Handle | None) -> Observation:
        if job_id == self.unseen:
            raise OSError("the folder is on a disk that is gone")
        return super().observe(job_id, attempt, handle)


def test_one_jobs_trouble_is_not_anothers(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(settings.model_copy(update={"slots": "cpu:2"}))
    launcher = Moody(settings.data_dir)
    scene.reconciler = Reconciler(replace(scene.platform, launcher=launcher))
    troubled = scene.start("wait", "waiting")
    launcher.unseen = troubled
    scene.tick_until(scene.submit("complete"), JobStatus.COMPLETED)
    assert "a disk that is gone" in caplog.text
    assert scene.job(troubled).status in ACTIVE
    scene.close()


def test_thread_survives_what_goes_wrong(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(settings.model_copy(update={"tick_seconds": 0.01}))
    ticks: list[datetime] = []

    def tick(now: datetime) -> None:
        ticks.append(now)
        raise RuntimeError("the database is away")

    assert not scene.reconciler.is_alive
    scene.reconciler.tick = tick  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        scene.reconciler.start()
        until(lambda: len(ticks) > 2)
    assert scene.reconciler.is_alive and "the database is away" in caplog.text
    scene.reconciler.stop()
    assert not scene.reconciler.is_alive
    scene.close()


def test_looks_at_once_if_woken(settings: Settings) -> None:
    scene = Scene(settings.model_copy(update={"tick_seconds": 3600}))
    scene.reconciler.start()
    job_id = scene.submit("complete")

    def completed() -> bool:
        scene.reconciler.wake()
        return scene.job(job_id).status == JobStatus.COMPLETED

    until(completed)
    scene.close()


def _tick_in_a_process_that_is_killed(settings: Settings, moment: str) -> None:
    """The process kills itself right before or right after it starts the trainer."""
    program = f"""
import os, signal
from datetime import UTC, datetime
from app.context import build_platform
from app.launchers.subprocess import SubprocessLauncher
from app.reconciler import Reconciler
from app.settings import Settings

launch = SubprocessLauncher.launch

def launch_and_die(self, spec):
    if {moment!r} == "after":
        launch(self, spec)
    os.kill(os.getpid(), signal.SIGKILL)

SubprocessLauncher.launch = launch_and_die
Reconciler(build_platform(Settings.model_validate_json({settings.model_dump_json()!r}))).tick(datetime.now(UTC))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=BACKEND, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
