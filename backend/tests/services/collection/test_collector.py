"""Collecting for real: files, locks and objects, with a database of each kind where rows decide."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from app.db import Database
from app.launchers import records
from app.models import Attempt, Checkpoint, Dataset, Job
from app.services import access, collection
from app.services.collection import Place, objects
from app.services.ownership import CLAIM, Ownership
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import JobStatus
from tests import factories

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=30)


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path / "var", "cache_limit_bytes": 100}
    settings = Settings(**values)
    settings.data_dir.mkdir()
    access.ensure_access(database, settings, NOW)
    storage = open_storage(settings)
    return Place(settings, database, storage, Ownership(database, storage))


def collect(place: Place, *, dry_run: bool = False, now: datetime = NOW) -> list[str]:
    """What went; both kinds of run must say the same."""
    seen = collection.collect(place, now, dry_run=True)
    assert seen.problems == []
    done = seen if dry_run else collection.collect(place, now, dry_run=False)
    assert (done.items, done.problems) == (seen.items, [])
    return [f"{item.kind} {item.what}" for item in done.items]


def attempt(place: Place, *, status: JobStatus = JobStatus.COMPLETED, **fields: Any) -> Attempt:
    """An ended attempt whose log is stored, with a work folder."""
    values = {"ended_at": LONG_AGO, "log_start": 0, "log_size": 3}
    with place.database.write_session() as session:
        job = factories.job(session, status=status)
        row = factories.attempt(session, job_id=job.id, **values | fields)
    folder = records.attempt_folder(place.data_dir, row.job_id, row.number)
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "outbox.jsonl").write_bytes(b"x" * 1000)
    place.storage.put_bytes(f"artifacts/job-{row.job_id}/attempt-1.log", b"log")
    return row


def age(path: Path, days: float = 30) -> Path:
    then = time.time() - days * 86400
    for found in (path, *path.rglob("*")):
        os.utime(found, (then, then), follow_symlinks=False)
    return path


# work folders


def test_work_folder_of_an_attempt_that_ended_long_ago_goes_alone(place: Place) -> None:
    old, running = attempt(place), attempt(place, ended_at=None, status=JobStatus.RUNNING, log_size=None)
    young, unstored = attempt(place, ended_at=NOW), attempt(place, log_size=None)
    assert collect(place) == [f"work_folder work/job-{old.job_id}/attempt-1"]
    for row in (running, young, unstored):
        assert (place.data_dir / "work" / f"job-{row.job_id}" / "attempt-1" / "work" / "outbox.jsonl").exists()
    assert collect(place) == []


def test_work_folder_stays_while_a_supervisor_lives_in_it(place: Place) -> None:
    row = attempt(place)
    lock = records.take_lock(records.attempt_folder(place.data_dir, row.job_id, 1))
    assert lock is not None and collect(place) == []
    os.close(lock)
    assert collect(place)


def test_dry_run_says_what_and_why_and_removes_nothing(place: Place) -> None:
    row = attempt(place)
    [item] = collection.collect(place, NOW, dry_run=True).items
    assert item.bytes >= 1000 and item.reason == "its attempt ended 30 days ago (RETENTION_WORK_DAYS)"
    assert (place.data_dir / item.what).is_dir() and item.what == f"work/job-{row.job_id}/attempt-1"


def test_links_are_not_followed(place: Place, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"x" * 10**6)
    row = attempt(place)
    (records.attempt_folder(place.data_dir, row.job_id, 1) / "work" / "link").symlink_to(precious)
    (place.data_dir / "work" / f"job-{row.job_id}" / "attempt-2").symlink_to(precious)
    [item] = collection.collect(place, NOW, dry_run=False).items
    assert item.bytes < 10**5 and (precious / "file").exists()


def test_work_folder_of_a_deleted_job_goes_and_that_of_an_unknown_one_stays(place: Place) -> None:
    row = attempt(place)
    with place.database.write_session() as session:
        session.execute(delete(Job))
    unknown = place.data_dir / "work" / "job-4711" / "attempt-1"
    unknown.mkdir(parents=True)
    assert collect(place) == []
    age(place.data_dir / "work")
    assert collect(place) == [f"work_folder work/job-{row.job_id}"]
    assert unknown.is_dir()


def test_leftovers_of_requests_go_after_a_day(place: Place) -> None:
    for name in ("uploads/upload-old", "uploads/upload-slow", "work/predictions/tmp1", "work/predictions/tmp2"):
        folder = place.data_dir / name
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(b"x")
    place.storage.put_bytes("uploads/old.png", b"x")
    for old in (place.data_dir / "uploads", place.data_dir / "work", place.settings.storage_folder):
        age(old)
    os.utime(place.data_dir / "uploads/upload-slow/data")
    os.utime(place.data_dir / "work/predictions/tmp2")
    place.storage.put_bytes("uploads/new.png", b"x")
    assert collect(place) == [
        "leftover work/predictions/tmp1",
        "upload uploads/upload-old",
        "upload uploads/old.png",
    ]


# caches


def cached(place: Place, name: str, size: int = 60, days: float = 3) -> Path:
    """A dataset as utils.py keeps it; gives its lock."""
    datasets = place.data_dir / "cache" / "datasets"
    folder = datasets / name
    folder.mkdir(parents=True)
    (folder / "data.yaml").write_bytes(b"x" * size)
    lock = datasets / f"{name}.lock"
    lock.write_bytes(b"%d" % size)
    (datasets / f"{name}.fetching").touch()
    age(lock, days)
    return lock


@pytest.fixture
def used(place: Place) -> Iterator[Path]:
    """The dataset that was not used for longest, held as a training holds it."""
    lock = cached(place, "a" * 64, days=9)
    with lock.open("a+b") as use:
        fcntl.flock(use, fcntl.LOCK_SH)
        yield lock


def test_cache_over_its_limit_loses_the_least_recently_used(place: Place) -> None:
    cached(place, "a" * 64, days=1), cached(place, "b" * 64, days=3), cached(place, "c" * 64, days=2)
    assert collect(place) == [f"cache cache/datasets/{'b' * 64}", f"cache cache/datasets/{'c' * 64}"]
    left = {path.name for path in (place.data_dir / "cache" / "datasets").iterdir() if path.is_dir()}
    assert left == {"a" * 64}
    assert (place.data_dir / "cache" / "datasets" / f"{'b' * 64}.lock").read_bytes() == b""
    assert collect(place) == []


def test_dataset_in_use_stays(place: Place, used: Path) -> None:
    cached(place, "b" * 64, days=1)
    assert collect(place) == [f"cache cache/datasets/{'b' * 64}"]
    assert used.with_suffix("").is_dir()


def test_dataset_that_comes_into_use_meanwhile_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = cached(place, "a" * 64, size=200)
    monkeypatch.setattr(collection.collector, "_remove", _use_first(lock, collection.collector._remove))
    assert collection.collect(place, NOW, dry_run=False).items == []
    assert lock.with_suffix("").is_dir()


def _use_first(lock: Path, remove: Any) -> Any:
    def use_and_remove(*arguments: Any) -> None:
        with lock.open("a+b") as use:
            fcntl.flock(use, fcntl.LOCK_SH)
            remove(*arguments)

    return use_and_remove


def test_half_made_dataset_goes_unless_somebody_makes_it(place: Place, used: Path) -> None:
    for lock in (used, cached(place, "b" * 64, size=1)):
        (lock.with_suffix(".incoming") / "data").mkdir(parents=True)
        age(lock.with_suffix(".incoming"))
    report = collection.collect(place, NOW, dry_run=False)
    assert [item.what for item in report.items] == [f"cache/datasets/{'b' * 64}.incoming"]


def test_weights_go_only_while_nothing_trains(place: Place) -> None:
    old, new = (place.data_dir / "cache/weights/ultralytics" / name for name in ("yolo11n.pt", "yolo11s.pt"))
    old.parent.mkdir(parents=True)
    for path in (old, new):
        path.write_bytes(b"x" * 90)
    age(old)
    training = attempt(place, status=JobStatus.RUNNING, ended_at=None, log_size=None)
    assert collect(place) == []
    with place.database.write_session() as session:
        session.get_one(Job, training.job_id).status = JobStatus.COMPLETED
    assert collect(place) == ["cache cache/weights/ultralytics/yolo11n.pt"]
    assert new.exists()


# objects


def test_objects_of_deleted_jobs_and_datasets_go_after_a_week(place: Place) -> None:
    kept, gone = attempt(place, ended_at=NOW), attempt(place)
    with place.database.write_session() as session:
        session.execute(delete(Job).where(Job.id == gone.job_id))
        dataset = factories.dataset(session, id="ds-00000001").id
    foreign = ["checkpoints/job-4711/best.json", "datasets/digits/latest", "weights/x.pt", "artifacts/mine.txt"]
    ours = [f"checkpoints/job-{kept.job_id}/best.json", f"datasets/{dataset}/latest"]
    lost = [f"checkpoints/job-{gone.job_id}/best.json", "datasets/ds-ffffffff/1/data.zip"]
    for key in foreign + ours + lost:
        place.storage.put_bytes(key, b"x")
    assert [what for what in collect(place, dry_run=True) if not what.startswith("work_folder")] == []
    age(place.settings.storage_folder)
    age(place.data_dir / "work", days=1)
    assert collect(place) == [
        f"checkpoints checkpoints/job-{gone.job_id}",
        f"artifacts artifacts/job-{gone.job_id}",
        "dataset datasets/ds-ffffffff",
    ]
    left = {found.key for found in place.storage.list("")}
    assert left == {*foreign, *ours, CLAIM, f"artifacts/job-{kept.job_id}/attempt-1.log"}


def test_objects_stay_if_one_of_them_is_young(place: Place) -> None:
    gone = attempt(place)
    with place.database.write_session() as session:
        session.execute(delete(Job))
    age(place.settings.storage_folder)
    place.storage.put_bytes(f"artifacts/job-{gone.job_id}/late.txt", b"x")
    assert collect(place) == []


def stored_checkpoint(place: Place, row: Attempt, epoch: int, kind: str | None = None) -> str:
    """An object as a trainer stores it, a month ago; of a `kind` where the database has its report, too."""
    key = f"checkpoints/job-{row.job_id}/attempt-{row.number}/{epoch}-{epoch:012x}.pt"
    place.storage.put_bytes(key, b"weights")
    age(place.settings.storage_folder)
    if kind:
        fields = {"sha256": factories.SHA256, "size": 7, "metrics": {}, "time": LONG_AGO}
        with place.database.write_session() as session:
            session.add(Checkpoint(job_id=row.job_id, attempt=row.number, kind=kind, key=key, epoch=epoch, **fields))
    return key


def point(place: Place, row: Attempt, kind: str, content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else json.dumps({"key": content}).encode()
    place.storage.put_bytes(f"checkpoints/job-{row.job_id}/{kind}.json", data)


def killed_attempt(place: Place, **fields: Any) -> Attempt:
    """Of a job that goes on. Its log is not stored yet, so that its work folder stays."""
    return attempt(place, log_size=None, status=JobStatus.RUNNING, **fields)


def test_checkpoint_goes_if_a_kill_left_it_and_nothing_names_it(place: Place) -> None:
    row = killed_attempt(place)
    stored_checkpoint(place, row, 3, "last")  # superseded as the next lines say, but not deleted in time
    listed = [stored_checkpoint(place, row, 4, "last"), stored_checkpoint(place, row, 2, "best")]
    pointed = stored_checkpoint(place, row, 5)  # its report was never written
    point(place, row, "last", pointed)
    point(place, row, "best", listed[1])
    stored_checkpoint(place, row, 6)  # complete, and never committed
    assert sorted(collect(place)) == [
        f"checkpoints checkpoints/job-{row.job_id}/attempt-1/{epoch}-{epoch:012x}.pt" for epoch in (3, 6)
    ]
    left = {found.key for found in place.storage.list("checkpoints")}
    assert left == {*listed, pointed, *(f"checkpoints/job-{row.job_id}/{kind}.json" for kind in ("best", "last"))}


@pytest.mark.parametrize("fields", [{"ended_at": None}, {"ended_at": NOW}], ids=["runs", "ended a moment ago"])
def test_checkpoint_stays_if_its_attempt_may_still_write(place: Place, fields: dict[str, Any]) -> None:
    stored_checkpoint(place, killed_attempt(place, **fields), 3)
    assert collect(place) == []


def test_checkpoint_stays_if_it_is_young_or_somebody_trains_from_it(place: Place) -> None:
    row = killed_attempt(place)
    weights, resumed = stored_checkpoint(place, row, 1), stored_checkpoint(place, row, 2)
    with place.database.write_session() as session:
        factories.job(session, config=factories.job_config(weights=weights))
        resume = {"key": resumed, "sha256": factories.SHA256, "epoch": 2}
        factories.attempt(session, job_id=row.job_id, number=2, resume=resume)
    young = f"checkpoints/job-{row.job_id}/attempt-1/3-{3:012x}.pt"
    place.storage.put_bytes(young, b"weights")
    assert collect(place) == []


def test_checkpoints_stay_if_a_pointer_is_damaged(place: Place) -> None:
    row = killed_attempt(place)
    stored_checkpoint(place, row, 3)
    point(place, row, "last", b"{")
    assert collect(place) == []


def test_half_written_object_in_a_folder_goes_after_a_day(place: Place) -> None:
    row = killed_attempt(place)
    folder = place.settings.storage_folder / "vision" / f"checkpoints/job-{row.job_id}/attempt-1"
    folder.mkdir(parents=True)
    for name in ("3-0123456789ab.pt#17", "4-0123456789ab.pt#18"):
        (folder / name).write_bytes(b"half")
    age(folder / "3-0123456789ab.pt#17")
    assert collect(place) == [f"leftover checkpoints/job-{row.job_id}/attempt-1/3-0123456789ab.pt#17"]
    assert [path.name for path in folder.iterdir()] == ["4-0123456789ab.pt#18"]


def test_old_log_goes_and_says_so(place: Place) -> None:
    old, young = attempt(place, ended_at=NOW - timedelta(days=91)), attempt(place, ended_at=NOW)
    assert f"log artifacts/job-{old.job_id}/attempt-1.log" in collect(place)
    with place.database.read_session() as session:
        assert session.get_one(Attempt, old.id).log_removed_at == NOW
        assert session.get_one(Attempt, young.id).log_removed_at is None
    assert place.storage.size(f"artifacts/job-{old.job_id}/attempt-1.log") is None
    assert collect(place) == []


def test_nothing_of_the_storage_goes_if_it_is_anothers(place: Place) -> None:
    attempt(place)
    with place.database.write_session() as session:
        session.execute(delete(Job))
        session.execute(delete(Dataset))
    age(place.data_dir)
    place.storage.put_bytes(CLAIM, json.dumps({"installation_id": "another"}).encode())
    report = collection.collect(place, NOW, dry_run=False)
    assert [item.kind for item in report.items] == ["work_folder"]
    assert "belongs to installation another" in report.problems[0]
    assert list(place.storage.list("artifacts"))


def test_rest_is_collected_if_the_storage_is_away(place: Place) -> None:
    row = attempt(place)
    place.settings.storage_folder.rename(place.data_dir / "away")
    place.settings.storage_folder.write_text("not a folder")
    report = collection.collect(place, NOW, dry_run=False)
    assert [item.what for item in report.items] == [f"work/job-{row.job_id}/attempt-1"]
    assert len(report.problems) == 1


def test_what_cannot_be_removed_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = attempt(place), attempt(place)
    with place.database.write_session() as session:
        session.execute(delete(Job))
    age(place.data_dir)
    real = objects._delete_all

    def delete_all(storage: Storage, prefix: str) -> None:
        if prefix.endswith(f"job-{gone.job_id}"):
            raise OSError("the disk says no")
        real(storage, prefix)

    monkeypatch.setattr(objects, "_delete_all", delete_all)
    report = collection.collect(place, NOW, dry_run=False)
    assert report.problems == [f"artifacts/job-{gone.job_id}: the disk says no"]
    assert f"artifacts/job-{other.job_id}" in [item.what for item in report.items]
