import json
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.models import Attempt, Event, Job
from app.services import outbox
from app.services.outbox import Drained
from app.words import JobStatus
from tests import factories


def line(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def metrics(*sequences: int) -> list[bytes]:
    return [line(factories.event(sequence)) for sequence in sequences]


def write(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "outbox.jsonl"
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture
def attempt(database: Database) -> Attempt:
    with database.write_session() as session:
        return factories.attempt(session)


def stored(database: Database) -> list[int | None]:
    with database.read_session() as session:
        query = select(Event.sequence).where(Event.sequence.is_not(None)).order_by(Event.position)
        return list(session.scalars(query))


def test_undelivered_reports_are_stored(database: Database, attempt: Attempt, tmp_path: Path, now: datetime) -> None:
    path = write(tmp_path, *metrics(1, 2, 3, 4))
    assert outbox.drain(database, attempt.job_id, 1, path, 2, now) == Drained(taken=2, damaged=0, rejected=0)
    assert stored(database) == [3, 4]


def test_nothing_changes_if_drained_again(database: Database, attempt: Attempt, tmp_path: Path, now: datetime) -> None:
    path = write(tmp_path, *metrics(1, 2))
    for _ in range(2):
        outbox.drain(database, attempt.job_id, 1, path, 0, now)
    assert stored(database) == [1, 2]


def test_status_counts_if_it_was_never_delivered(
    database: Database, attempt: Attempt, tmp_path: Path, now: datetime
) -> None:
    running, completed = (factories.event(n, "status", status=s) for n, s in ((1, "running"), (2, "completed")))
    outbox.drain(database, attempt.job_id, 1, write(tmp_path, line(running), line(completed)), 0, now)
    with database.read_session() as session:
        assert session.get_one(Job, attempt.job_id).status == JobStatus.RUNNING
        assert (session.get_one(Attempt, attempt.id).reported or {})["status"] == "completed"


@pytest.mark.parametrize(
    "damage",
    [
        b"00000000 {}\n",
        b"no record at all\n",
        b"\xff\xfe\x00\n",
        b"deadbeef\n",
        b"%08x [1]\n" % zlib.crc32(b"[1]"),
        b"%08x {'a'}\n" % zlib.crc32(b"{'a'}"),
        metrics(2)[0][:40] + b"\n",
        metrics(2)[0].replace(b"1.5", b"1.6"),
        b"x" * (outbox.MAX_RECORD_BYTES * 2 + 5) + b"\n",
    ],
)
def test_damaged_record_costs_itself_alone(sqlite_url: str, tmp_path: Path, now: datetime, damage: bytes) -> None:
    database = Database(sqlite_url)
    with database.write_session() as session:
        job_id = factories.attempt(session).job_id
    path = write(tmp_path, *metrics(1), damage, *metrics(3))
    assert outbox.drain(database, job_id, 1, path, 0, now) == Drained(taken=2, damaged=1, rejected=0)
    assert stored(database) == [1, 3]
    database.dispose()


def test_torn_last_record_is_left_out(database: Database, attempt: Attempt, tmp_path: Path, now: datetime) -> None:
    whole, torn = metrics(1, 2)
    path = write(tmp_path, whole, torn[:-20])
    assert outbox.drain(database, attempt.job_id, 1, path, 0, now) == Drained(taken=1, damaged=1, rejected=0)


def test_last_record_counts_without_its_newline(
    database: Database, attempt: Attempt, tmp_path: Path, now: datetime
) -> None:
    path = write(tmp_path, metrics(1)[0].rstrip(b"\n"))
    assert outbox.drain(database, attempt.job_id, 1, path, 0, now) == Drained(taken=1, damaged=0, rejected=0)


def test_refused_event_does_not_hold_back_others(
    database: Database, attempt: Attempt, tmp_path: Path, now: datetime
) -> None:
    wrong = line(factories.event(2, epoch=-1))
    unnumbered = line({"type": "metrics"})
    path = write(tmp_path, *metrics(1), wrong, unnumbered, *metrics(3))
    assert outbox.drain(database, attempt.job_id, 1, path, 0, now) == Drained(taken=2, damaged=0, rejected=2)
    assert stored(database) == [1, 3]


def test_empty_if_there_is_no_file(database: Database, attempt: Attempt, tmp_path: Path, now: datetime) -> None:
    assert outbox.drain(database, attempt.job_id, 1, tmp_path / "none", 0, now) == Drained(0, 0, 0)


def test_many_reports_go_in_batches(database: Database, attempt: Attempt, tmp_path: Path, now: datetime) -> None:
    path = write(tmp_path, *metrics(*range(1, 1203)))
    assert outbox.drain(database, attempt.job_id, 1, path, 0, now).taken == 1202
    with database.read_session() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 1202
