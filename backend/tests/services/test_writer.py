"""The writer answers after the commit, batches what waits, and survives a request that fails."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.db import Database
from app.errors import Busy, NotFound, Superseded
from app.models import Event
from app.schemas.events import Answer
from app.services import events
from app.services import writer as writer_module
from app.services.writer import Writer
from tests import factories
from tests.factories import INSTANCE, event


@pytest.fixture
def writer(database: Database, now: datetime) -> Iterator[Writer]:
    """A writer that was not started: what is handed over before `start` waits for one transaction."""
    writer = Writer(database, clock=lambda: now)
    yield writer
    writer.stop()


@pytest.fixture
def job_ids(database: Database) -> list[int]:
    """Three jobs, each with attempt 1."""
    with database.write_session() as session:
        return [factories.attempt(session).job_id for _ in range(3)]


def count_commits(database: Database) -> list[None]:
    """Grows by one with each commit of the database."""
    commits: list[None] = []
    sqlalchemy_event.listen(database.engine, "commit", lambda _connection: commits.append(None))
    return commits


def count_events(database: Database, job_id: int) -> int:
    with database.read_session() as session:
        return len(session.scalars(select(Event).where(Event.job_id == job_id)).all())


def test_answer_is_committed_if_it_is_given(database: Database, writer: Writer, job_ids: list[int]) -> None:
    writer.start()
    assert writer.submit(job_ids[0], 1, INSTANCE, [event(1)]) == Answer(acknowledged=1)
    assert count_events(database, job_ids[0]) == 1


def test_one_transaction_serves_all_if_many_wait(database: Database, writer: Writer, job_ids: list[int]) -> None:
    waiting = [writer.enqueue(job_id, 1, INSTANCE, [event(1)]) for job_id in job_ids]
    waiting.append(writer.enqueue(job_ids[0], 1, INSTANCE, [event(2)]))
    commits = count_commits(database)
    assert not any(answer.done() for answer in waiting)
    writer.start()
    assert [answer.result(30).acknowledged for answer in waiting] == [1, 1, 1, 2]
    assert len(commits) == 1


def test_others_are_stored_if_one_is_refused(database: Database, writer: Writer, job_ids: list[int]) -> None:
    good = writer.enqueue(job_ids[0], 1, INSTANCE, [event(1)])
    unknown = writer.enqueue(999, 1, INSTANCE, [event(1)])
    other_process = writer.enqueue(job_ids[0], 1, "instance-2", [event(2)])
    last = writer.enqueue(job_ids[1], 1, INSTANCE, [event(1)])
    writer.start()
    assert (good.result(30).acknowledged, last.result(30).acknowledged) == (1, 1)
    assert isinstance(unknown.exception(30), NotFound)
    assert isinstance(other_process.exception(30), Superseded)
    assert [count_events(database, job_id) for job_id in job_ids] == [1, 1, 0]


def test_others_are_stored_if_one_breaks_the_transaction(
    database: Database, writer: Writer, job_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = events.ingest

    def break_second(session, job_id, *rest):  # type: ignore[no-untyped-def]
        if job_id == job_ids[1]:
            session.execute(text("SELECT * FROM no_such_table"))
        return ingest(session, job_id, *rest)

    monkeypatch.setattr(events, "ingest", break_second)
    waiting = [writer.enqueue(job_id, 1, INSTANCE, [event(1)]) for job_id in job_ids]
    writer.start()
    if database.is_sqlite:  # where such an error means that the file is locked or full: nobody's fault, all try again
        assert all(isinstance(answer.exception(30), DBAPIError) for answer in waiting)
    else:
        assert isinstance(waiting[1].exception(30), DBAPIError)
        assert [waiting[place].result(30).acknowledged for place in (0, 2)] == [1, 1]
    monkeypatch.undo()
    assert writer.submit(job_ids[1], 1, INSTANCE, [event(1)]).acknowledged == 1
    assert [count_events(database, job_id) for job_id in job_ids][1] == 1


def test_nothing_is_answered_if_the_commit_fails(database: Database, writer: Writer, job_ids: list[int]) -> None:
    def refuse(_connection: object) -> None:
        raise RuntimeError("the disk is gone")

    writer.start()
    sqlalchemy_event.listen(database.engine, "commit", refuse)
    answer = writer.enqueue(job_ids[0], 1, INSTANCE, [event(1)])
    assert isinstance(answer.exception(30), RuntimeError)
    sqlalchemy_event.remove(database.engine, "commit", refuse)
    assert count_events(database, job_ids[0]) == 0
    assert writer.submit(job_ids[0], 1, INSTANCE, [event(1)]).acknowledged == 1


def test_a_request_is_dropped_if_its_client_left(database: Database, writer: Writer, job_ids: list[int]) -> None:
    left = writer.enqueue(job_ids[0], 1, INSTANCE, [event(1)])
    stayed = writer.enqueue(job_ids[1], 1, INSTANCE, [event(1)])
    left.cancel()
    writer.start()
    assert stayed.result(30).acknowledged == 1
    assert count_events(database, job_ids[0]) == 0


def test_what_waits_is_written_if_it_stops(database: Database, writer: Writer, job_ids: list[int]) -> None:
    waiting = [writer.enqueue(job_ids[0], 1, INSTANCE, [event(number)]) for number in range(1, 101)]
    writer.start()
    writer.stop()
    assert not writer.alive
    assert [answer.result(0).acknowledged for answer in waiting] == list(range(1, 101))
    with pytest.raises(Busy, match="shutting down"):
        writer.enqueue(job_ids[0], 1, INSTANCE, [])


def test_is_busy_if_too_many_wait(writer: Writer, job_ids: list[int]) -> None:
    for _ in range(writer_module.MAX_WAITING):
        writer.enqueue(job_ids[0], 1, INSTANCE, [])
    with pytest.raises(Busy, match="reports are waiting"):
        writer.enqueue(job_ids[0], 1, INSTANCE, [])


def test_each_has_its_own_history_if_many_trainers_report_at_once(
    database: Database, writer: Writer, job_ids: list[int]
) -> None:
    writer.start()
    answers: list[Future[Answer]] = []

    def report(job_id: int) -> None:
        for number in range(1, 21):
            answers.append(writer.enqueue(job_id, 1, INSTANCE, [event(number)]))

    threads = [threading.Thread(target=report, args=(job_id,)) for job_id in job_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for answer in answers:
        assert answer.result(30).rejected == []
    with database.read_session() as session:
        for job_id in job_ids:
            query = select(Event.position, Event.sequence).where(Event.job_id == job_id).order_by(Event.position)
            assert [tuple(row) for row in session.execute(query)] == [(number, number) for number in range(1, 21)]
