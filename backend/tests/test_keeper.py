"""Logs of ended attempts reach the storage, whatever is away in between, and are read from there."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from app.context import Platform
from app.errors import StorageUnavailable
from app.keeper import Keeper
from app.models import Attempt, Job
from app.services import attempts, log_archive
from app.words import JobStatus
from tests import factories

LINES = b"epoch 1\nepoch 2\n"


def make_attempt(platform: Platform, now: datetime | None, *pieces: bytes, start: int = 0) -> Attempt:
    """An attempt that has ended at `now`, with this log, if there are any pieces."""
    with platform.database.write_session() as session:
        job = factories.job(session, status=JobStatus.COMPLETED if now else JobStatus.RUNNING)
        attempt = factories.attempt(session, job_id=job.id, ended_at=now)
    folder = folder_of(platform, attempt) / "log"
    for piece in pieces:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{start:016d}.log").write_bytes(piece)
        start += len(piece)
    return attempt


def folder_of(platform: Platform, attempt: Attempt) -> Path:
    return attempts.attempt_dir(platform.settings, attempt.job_id, attempt.number)


def again(platform: Platform, attempt: Attempt) -> Attempt:
    with platform.database.read_session() as session:
        return session.get_one(Attempt, attempt.id)


def test_log_is_stored_and_read_from_there_once_the_folder_is_gone(
    client: TestClient, platform: Platform, now: datetime
) -> None:
    attempt = make_attempt(platform, now, LINES[:5], LINES[5:], start=100)
    url = f"/api/v1/jobs/{attempt.job_id}/logs"
    before = client.get(url, params={"offset": 0}).json()
    Keeper(platform).keep(now)
    shutil.rmtree(folder_of(platform, attempt))
    assert platform.storage.get_bytes(f"artifacts/job-{attempt.job_id}/attempt-1.log") == LINES
    assert client.get(url, params={"offset": 0}).json() == before
    assert client.get(url, params={"offset": 108, "limit": 5}).json()["text"] == "epoch"
    assert client.get(url, params={"tail": 1}).json()["text"] == "epoch 2\n"


def test_log_of_a_running_attempt_is_left(platform: Platform, now: datetime) -> None:
    attempt = make_attempt(platform, None, LINES)
    Keeper(platform).keep(now)
    assert again(platform, attempt).log_size is None and list(platform.storage.list("artifacts")) == []


def test_attempt_without_a_log_is_done_with(client: TestClient, platform: Platform, now: datetime) -> None:
    attempt = make_attempt(platform, now)
    Keeper(platform).keep(now)
    assert log_archive.waiting(platform.database) == [] and again(platform, attempt).log_size == 0
    assert client.get(f"/api/v1/jobs/{attempt.job_id}/logs").status_code == 404


def test_log_is_stored_later_if_the_storage_is_away(platform: Platform, now: datetime) -> None:
    attempt, keeper = make_attempt(platform, now, LINES), Keeper(platform)
    bucket = platform.settings.storage_folder / platform.settings.storage_bucket
    away = bucket.rename(bucket.with_name("away"))
    bucket.write_text("not a folder")
    with pytest.raises(StorageUnavailable):
        keeper.keep(now)
    assert again(platform, attempt).log_size is None
    bucket.unlink()
    away.rename(bucket)
    keeper.keep(now)
    assert again(platform, attempt).log_size == len(LINES)


def test_one_bad_log_keeps_no_other_back(platform: Platform, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (make_attempt(platform, now + timedelta(seconds=number), LINES) for number in range(2))
    (folder_of(platform, bad) / "log" / f"{0:016d}.log").unlink()
    (folder_of(platform, bad) / "log" / f"{0:016d}.log").mkdir()
    keeper = Keeper(platform)
    for _ in range(2):
        with pytest.raises((OSError, StorageUnavailable)):
            keeper.keep(now)
    assert again(platform, good).log_size == len(LINES)


def test_nothing_stays_if_the_job_is_deleted_meanwhile(platform: Platform, now: datetime) -> None:
    attempt = make_attempt(platform, now, LINES)
    with platform.database.write_session() as session:
        session.execute(delete(Job))
    log_archive.store(platform.database, platform.storage, platform.settings, attempt)
    assert list(platform.storage.list("artifacts")) == []


def test_collects_when_it_is_time(platform: Platform, now: datetime) -> None:
    attempt, keeper = make_attempt(platform, now - timedelta(days=30), LINES), Keeper(platform)
    keeper.keep(datetime.now(now.tzinfo))
    assert folder_of(platform, attempt).exists()
    keeper.keep(datetime.now(now.tzinfo) + timedelta(hours=1))
    assert not folder_of(platform, attempt).exists()
    assert again(platform, attempt).log_size == len(LINES)


def test_ends_with_the_platform(platform: Platform) -> None:
    keeper = Keeper(platform)
    keeper.start()
    keeper.stop()
    assert not keeper._thread.is_alive()
