"""Taking in reports: once, in order, each judged alone, and only the newest attempt moves the job."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import NotFound, Superseded
from app.models import Artifact, Attempt, Checkpoint, Event, Job, Metric, Validation
from app.schemas.events import Answer
from app.services import events, jobs
from app.words import JobStatus, StopIntent, Trigger
from tests import factories
from tests.factories import INSTANCE, event


@pytest.fixture
def job_id(database: Database) -> int:
    """A starting job with attempt 1."""
    with database.write_session() as session:
        return factories.attempt(session).job_id


@pytest.fixture
def report(database: Database, job_id: int, now: datetime) -> Callable[..., Answer]:
    """Ingests events of the job, by default as its attempt 1."""

    def report(*reports: Any, attempt: int = 1, instance: str | None = INSTANCE, at: datetime = now) -> Answer:
        with database.write_session() as session:
            return events.ingest(session, job_id, attempt, instance, list(reports), at)

    return report


Report = Callable[..., Answer]


def read_job(database: Database, job_id: int) -> Job:
    with database.read_session() as session:
        return session.get_one(Job, job_id)


def read_attempt(database: Database, job_id: int, number: int = 1) -> Attempt:
    with database.read_session() as session:
        return session.scalars(select(Attempt).filter_by(job_id=job_id, number=number)).one()


def stored(database: Database, job_id: int) -> list[tuple[int, int | None]]:
    """The (attempt, sequence) of the trainer's rows, in the order of the history."""
    with database.read_session() as session:
        query = select(Event).where(Event.job_id == job_id, Event.source == "trainer").order_by(Event.position)
        return [(row.attempt, row.sequence) for row in session.scalars(query)]


def test_acknowledges_the_highest_if_all_are_stored(database: Database, job_id: int, report: Report) -> None:
    answer = report(event(1), event(2), event(7))
    assert answer == Answer(acknowledged=7, rejected=[], should_stop=False)
    assert stored(database, job_id) == [(1, 1), (1, 2), (1, 7)]
    assert read_attempt(database, job_id).acknowledged == 7


def test_stores_in_the_order_of_sequences_if_a_batch_is_shuffled(
    database: Database, job_id: int, report: Report
) -> None:
    report(event(3), event(1), event(2))
    assert stored(database, job_id) == [(1, 1), (1, 2), (1, 3)]


def test_changes_nothing_if_events_come_again(database: Database, job_id: int, report: Report) -> None:
    report(event(1), event(2))
    answer = report(event(1), event(2), event(2), event(3))
    assert answer.acknowledged == 3
    assert stored(database, job_id) == [(1, 1), (1, 2), (1, 3)]
    with database.read_session() as session:
        assert len(session.scalars(select(Metric)).all()) == 3


def test_stores_a_late_event_if_its_number_was_a_gap(database: Database, job_id: int, report: Report) -> None:
    report(event(1), event(5))
    assert report(event(3)).acknowledged == 5
    assert stored(database, job_id) == [(1, 1), (1, 5), (1, 3)]


def test_keeps_sequences_apart_if_attempts_share_numbers(database: Database, job_id: int, report: Report) -> None:
    report(event(1))
    with database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2)
    report(event(1), attempt=2)
    assert stored(database, job_id) == [(1, 1), (2, 1)]


BAD: dict[str, tuple[Any, int | None, str]] = {
    "list": ([1], None, "an event must be an object, not [1]"),
    "null": (None, None, "an event must be an object, not None"),
    "text": ("x" * 1000, None, "an event must be an object"),
    "empty": ({}, None, "discriminator"),
    "no sequence": ({"time": "2026-11-23T10:00:00Z", "type": "run"}, None, "sequence: Field required"),
    "text sequence": (event(sequence="2"), None, "sequence: Input should be a valid integer, not '2'"),  # type: ignore[arg-type]
    "true sequence": (event(sequence=True), None, "sequence"),
    "zero sequence": (event(sequence=0), 0, "greater than or equal to 1"),
    "negative sequence": (event(sequence=-(10**30)), -(10**30), "greater than or equal to 1"),
    "huge sequence": (event(sequence=10**30), 10**30, "less than or equal to 9007199254740991"),
    "infinite sequence": (event(sequence=float("inf")), None, "sequence"),  # type: ignore[arg-type]
    "unknown type": (event(2) | {"type": "gossip"}, 2, "does not match any of the expected tags"),
    "type of the wrong kind": (event(2) | {"type": ["metrics"]}, 2, "tag"),
    "no time": ({"sequence": 2, "type": "run"}, 2, "time: Field required"),
    "time without a zone": (event(2, time="2026-11-23T10:00:00"), 2, "time with its zone"),
    "time as a number": (event(2, time=1), 2, "time with its zone"),
    "time before all time": (event(2, time="0001-01-01T00:00:00+14:00"), 2, "between the years"),
    "day that is not": (event(2, time="2026-02-30T00:00:00Z"), 2, "day value is outside"),
    "NaN": (event(2, values={"loss": float("nan")}), 2, "values.loss: Input should be a finite number, not nan"),
    "infinity": (event(2, values={"loss": float("inf")}), 2, "finite"),
    "number beyond floats": (event(2, values={"loss": 10**400}), 2, "beyond 1.8e308"),
    "text number": (event(2, values={"loss": "1"}), 2, "valid number"),
    "true number": (event(2, values={"loss": True}), 2, "valid number"),
    "huge epoch": (event(2, epoch=2**31), 2, "less than or equal to 2147483647"),
    "huge step": (event(2, step=2**53), 2, "less than or equal to 9007199254740991"),
    "NUL in a name": (event(2, values={"lo\x00ss": 1}), 2, "NUL"),
    "NUL in a message": (event(2, "warning", message="a\x00b"), 2, "NUL"),
    "half a surrogate pair": (event(2, "warning", message="\ud800"), 2, "surrogates not allowed"),
    "half a surrogate pair as a field": (event(2) | {"\ud800": 1}, 2, "unicode"),
    "unknown field": (event(2, mood="good"), 2, "mood: Extra inputs are not permitted, not 'good'"),
    "too many numbers": (event(2, values={str(n): n for n in range(201)}), 2, "at most 200 items"),
    "failed without failure": (event(2, "status", status="failed"), 2, "`failure` goes with 'failed'"),
    "escaping key": (event(2, "artifact", key="artifacts/../secrets"), 2, "relative storage key"),
    "digest of the wrong length": (event(2, "checkpoint", sha256="ab"), 2, "sha256"),
}


@pytest.mark.parametrize(("bad", "sequence", "reason"), BAD.values(), ids=BAD.keys())
def test_rejects_by_number_and_stores_the_others_if_one_is_malformed(
    database: Database, job_id: int, report: Report, bad: Any, sequence: int | None, reason: str
) -> None:
    answer = report(event(1), bad, event(3))
    assert [item.sequence for item in answer.rejected] == [sequence]
    assert reason in answer.rejected[0].reason
    assert len(answer.rejected[0].reason) < 600
    assert answer.acknowledged == 3
    assert stored(database, job_id) == [(1, 1), (1, 3)]
    answer.model_dump_json().encode()  # the reason can travel, whatever the event held


def test_acknowledges_the_rejected_if_it_is_the_last(job_id: int, report: Report) -> None:
    assert report(event(1), event(2, epoch=-1)).acknowledged == 2


def test_does_not_acknowledge_a_number_that_no_event_can_have(job_id: int, report: Report) -> None:
    assert report(event(1), event(10**30)).acknowledged == 1


def test_rejects_one_if_the_database_refuses_it(database: Database, job_id: int, report: Report) -> None:
    refuse_metrics_named_poison(database)
    poison = event(2, values={"good": 1.0, "poison": 2.0})
    answer = report(event(1), poison, event(3, "status", status="running"))
    assert [item.sequence for item in answer.rejected] == [2]
    assert answer.rejected[0].reason.startswith("the database refused it: ")
    assert answer.acknowledged == 3
    assert stored(database, job_id) == [(1, 1), (1, 3)]
    assert read_job(database, job_id).status == JobStatus.RUNNING
    assert read_attempt(database, job_id).acknowledged == 3
    with database.read_session() as session:
        assert session.scalars(select(Metric.name)).all() == ["train/box_loss"]


def test_moves_the_heartbeat_if_there_are_no_events(database: Database, job_id: int, report: Report) -> None:
    at = factories.NOW + timedelta(seconds=10)
    assert report(at=at) == Answer(acknowledged=0)
    attempt = read_attempt(database, job_id)
    assert (attempt.heartbeat_at, attempt.progress_at) == (at, None)


@pytest.mark.parametrize(
    ("reports", "moved"),
    [
        ([event(2)], True),
        ([event(2, "validation")], True),
        ([event(2, "progress", step=3)], True),
        ([event(2, "progress", phase="validate")], True),
        ([event(2, "progress")], False),
        ([event(2, "system"), event(3, "warning"), event(4, "run")], False),
    ],
)
def test_counts_as_progress_only_if_the_training_moved(
    database: Database, job_id: int, report: Report, reports: list[Any], moved: bool
) -> None:
    report(event(1, "progress"))
    later = factories.NOW + timedelta(hours=1)
    report(*reports, at=later)
    assert read_attempt(database, job_id).progress_at == (later if moved else factories.NOW)


def test_runs_the_job_if_the_trainer_says_so(database: Database, job_id: int, report: Report, now: datetime) -> None:
    report(event(1, "status", status="running"), event(2, "progress"))
    job = read_job(database, job_id)
    assert (job.status, job.started_at) == (JobStatus.RUNNING, now)
    assert job.progress is not None and job.progress["epoch"] == 1
    with database.read_session() as session:
        query = select(Event).where(Event.source == "platform")
        assert [entry.payload["to"] for entry in session.scalars(query)] == ["running"]


@pytest.mark.parametrize("status", ["completed", "stopped", "failed"])
def test_keeps_the_status_if_the_trainer_reports_its_end(
    database: Database, job_id: int, report: Report, status: str
) -> None:
    failure = {"failure": {"code": "NAN_LOSS", "message": "loss is NaN"}} if status == "failed" else {}
    report(event(1, "status", status=status, **failure))
    assert read_job(database, job_id).status == JobStatus.STARTING
    assert read_attempt(database, job_id).reported == {"status": status, "failure": failure.get("failure")}


def test_shows_the_newest_progress_if_several_come(database: Database, job_id: int, report: Report) -> None:
    report(event(1, "progress", step=1), event(2, "progress", step=9), event(3, "progress", phase="prepare", seconds=2))
    progress = read_job(database, job_id).progress
    expected = {"phase": "train", "epoch": 1, "epochs": 3, "step": 9, "steps": 10, "eta_seconds": 12.5}
    assert progress == expected | {"time": "2026-11-23T10:00:00+00:00"}


@pytest.mark.parametrize(("phase", "epoch"), [("upload", 3), ("validate", 3), ("download", None)])
def test_keeps_the_epoch_only_if_the_next_phase_follows_training(
    database: Database, job_id: int, report: Report, phase: str, epoch: int | None
) -> None:
    report(event(1, "progress", epoch=3))
    report({"sequence": 2, "time": "2026-11-23T10:00:01Z", "type": "progress", "phase": phase})
    progress = read_job(database, job_id).progress or {}
    assert (progress["phase"], progress.get("epoch")) == (phase, epoch)


def test_fills_each_table_if_one_of_each_type_comes(database: Database, job_id: int, report: Report) -> None:
    types = list(factories.EVENT_FIELDS)
    answer = report(*(event(number, type) for number, type in enumerate(types, 1)))
    assert answer.rejected == []
    with database.read_session() as session:
        metric, validation = session.scalars(select(Metric)).one(), session.scalars(select(Validation)).one()
        checkpoint, artifact = session.scalars(select(Checkpoint)).one(), session.scalars(select(Artifact)).one()
        assert session.scalars(select(Event.type).filter_by(source="trainer").order_by(Event.position)).all() == types
    assert (metric.name, metric.epoch, metric.step, metric.value) == ("train/box_loss", 1, None, 1.5)
    assert (validation.primary_name, validation.primary_value, validation.per_class) == ("mAP50-95", 0.5, [])
    assert (checkpoint.kind, checkpoint.size, checkpoint.metrics) == ("last", 9, {})
    assert (artifact.kind, artifact.name, artifact.epoch) == ("plot", "PR curve", None)
    job = read_job(database, job_id)
    assert job.mlflow_run_id == "f" * 32
    assert job.best == {"metric": "mAP50-95", "value": 0.5, "epoch": 1}


def test_stores_null_if_a_number_was_not_finite(database: Database, job_id: int, report: Report) -> None:
    report(event(1, values={"loss": None}))
    with database.read_session() as session:
        assert session.scalars(select(Metric.value)).all() == [None]


def test_replaces_the_row_if_an_epoch_is_validated_again(database: Database, job_id: int, report: Report) -> None:
    report(event(1, "validation"), event(2, "validation", artifact="artifacts/job-1/curves.json"))
    with database.read_session() as session:
        assert session.scalars(select(Validation.artifact)).all() == ["artifacts/job-1/curves.json"]


def test_replaces_the_row_if_an_artifact_is_uploaded_again(database: Database, job_id: int, report: Report) -> None:
    report(event(1, "artifact"))
    report(event(2, "artifact", size=10))
    with database.read_session() as session:
        assert session.scalars(select(Artifact.size)).all() == [10]


def validation(sequence: int, epoch: int, value: float | None) -> dict[str, Any]:
    return event(sequence, "validation", epoch=epoch, primary={"name": "mAP50-95", "value": value})


def test_best_is_the_highest_value_if_epochs_differ(database: Database, job_id: int, report: Report) -> None:
    report(validation(1, 1, 0.25), validation(2, 2, 0.75), validation(3, 3, 0.5), validation(4, 4, None))
    assert read_job(database, job_id).best == {"metric": "mAP50-95", "value": 0.75, "epoch": 2}


@pytest.mark.parametrize(
    ("resume", "best"),
    [({"key": "k", "sha256": "s", "epoch": 1}, {"value": 0.5, "epoch": 1}), (None, {"value": 0.25, "epoch": 2})],
)
def test_best_forgets_the_epochs_that_nobody_continued(
    database: Database, job_id: int, report: Report, resume: Any, best: dict[str, Any]
) -> None:
    report(validation(1, 1, 0.5), validation(2, 2, 0.75))
    with database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2, resume=resume)
    report(validation(1, 2, 0.25), attempt=2)
    assert read_job(database, job_id).best == best | {"metric": "mAP50-95"}


def checkpoint(sequence: int, epoch: int, value: float | None, kind: str = "best") -> dict[str, Any]:
    metrics = {} if value is None else {"mAP50-95": value, "mAP50": 0.99}
    key = f"checkpoints/job-1/attempt-1/{epoch}-ab.pt"
    return event(sequence, "checkpoint", kind=kind, key=key, epoch=epoch, metrics=metrics)


def test_best_is_the_checkpoint_if_another_epoch_measures_higher(
    database: Database, job_id: int, report: Report
) -> None:
    """A trainer may choose by its own number, or its upload of a better epoch may be on its way."""
    report(validation(1, 1, 0.5), validation(2, 2, 0.75), checkpoint(3, 1, 0.5), checkpoint(4, 2, 0.75, kind="last"))
    assert read_job(database, job_id).best == {"metric": "mAP50-95", "value": 0.5, "epoch": 1}
    report(checkpoint(5, 2, 0.75))
    assert read_job(database, job_id).best == {"metric": "mAP50-95", "value": 0.75, "epoch": 2}


@pytest.mark.parametrize(
    ("of_epoch", "best"), [(2, {"value": 0.5, "epoch": 2}), (3, {"value": 0.75, "epoch": 1})], ids=["known", "unknown"]
)
def test_best_is_measured_by_the_validation_if_the_checkpoint_says_nothing(
    database: Database, job_id: int, report: Report, of_epoch: int, best: dict[str, Any]
) -> None:
    report(validation(1, 1, 0.75), validation(2, 2, 0.5), checkpoint(3, of_epoch, None))
    assert read_job(database, job_id).best == best | {"metric": "mAP50-95"}


def test_best_stays_an_earlier_attempts_if_it_is_still_the_checkpoint(
    database: Database, job_id: int, report: Report
) -> None:
    report(validation(1, 1, 0.5), checkpoint(2, 1, 0.5), validation(3, 2, 0.75), checkpoint(4, 2, 0.75))
    with database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2, resume={"key": "k", "sha256": "s", "epoch": 1})
    report(validation(1, 2, 0.25), attempt=2)
    assert read_job(database, job_id).best == {"metric": "mAP50-95", "value": 0.75, "epoch": 2}


def test_refuses_another_process_if_the_attempt_is_bound(database: Database, job_id: int, report: Report) -> None:
    report(event(1))
    with pytest.raises(Superseded, match="belongs to another process, 'instance-1'"):
        report(event(2), instance="instance-2")
    assert stored(database, job_id) == [(1, 1)]


@pytest.mark.parametrize("reports", [[], [event(9)]])
def test_refuses_an_attempt_if_a_newer_one_exists(
    database: Database, job_id: int, report: Report, reports: list[Any]
) -> None:
    with database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2)
    with pytest.raises(Superseded, match=r"attempt 1 of job \d+ was superseded by attempt 2"):
        report(*reports)


def test_refuses_an_attempt_if_it_has_ended(database: Database, job_id: int, report: Report, now: datetime) -> None:
    with database.write_session() as session:
        session.scalars(select(Attempt)).one().ended_at = now
    with pytest.raises(Superseded, match="ended at"):
        report(event(1))


def test_refuses_if_there_is_no_such_attempt(job_id: int, report: Report) -> None:
    with pytest.raises(NotFound, match="no attempt 3 of job"):
        report(event(1), attempt=3)


def test_adds_history_and_leaves_the_job_if_an_older_attempt_is_drained(
    database: Database, job_id: int, report: Report, now: datetime
) -> None:
    with database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2)
    before = columns(read_job(database, job_id))
    every_type = [event(number, type) for number, type in enumerate(factories.EVENT_FIELDS, 1)]
    answer = report(*every_type, instance=None, at=now + timedelta(hours=1))
    assert answer.rejected == []
    assert stored(database, job_id) == [(1, number) for number in range(1, 10)]
    assert columns(read_job(database, job_id)) == before | {"next_position": 10}


def test_leaves_the_job_if_it_has_ended(database: Database, job_id: int, report: Report, now: datetime) -> None:
    with database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=now, reason="test")
    before = columns(read_job(database, job_id))
    report(event(1, "status", status="running"), event(2, "progress"), event(3, "validation"), instance=None)
    assert columns(read_job(database, job_id)) == before | {"next_position": 5}


def test_binds_nothing_and_beats_nothing_if_an_outbox_is_drained(
    database: Database, job_id: int, report: Report
) -> None:
    report(event(1), instance=None)
    attempt = read_attempt(database, job_id)
    assert (attempt.instance, attempt.heartbeat_at, attempt.acknowledged) == (None, None, 1)


def test_drains_if_another_process_is_bound_and_the_attempt_has_ended(
    database: Database, job_id: int, report: Report, now: datetime
) -> None:
    report(event(1))
    with database.write_session() as session:
        session.scalars(select(Attempt)).one().ended_at = now
    assert report(event(1), event(2), instance=None).acknowledged == 2
    assert stored(database, job_id) == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("status", "intent", "should_stop"),
    [
        (JobStatus.STARTING, None, False),
        (JobStatus.RUNNING, None, False),
        (JobStatus.RUNNING, StopIntent.PREEMPT, True),
        (JobStatus.STARTING, StopIntent.STALL, True),
        (JobStatus.STOPPING, StopIntent.CANCEL, True),
        (JobStatus.CANCELLED, None, True),
    ],
)
def test_says_stop_if_the_platform_wants_it(
    database: Database, job_id: int, report: Report, status: JobStatus, intent: StopIntent | None, should_stop: bool
) -> None:
    with database.write_session() as session:
        job = session.get_one(Job, job_id)
        job.status, job.stop_intent = status, intent
    assert report().should_stop is should_stop


def test_positions_increase_strictly_if_many_write_at_once(database: Database, job_id: int, now: datetime) -> None:
    def write(first: int) -> None:
        for sequence in range(first, first + 10, 2):
            with database.write_session() as session:
                events.ingest(session, job_id, 1, INSTANCE, [event(sequence), event(sequence + 1)], now)

    run_together(*(lambda first=first: write(first) for first in (1, 101, 201, 301)))
    with database.read_session() as session:
        rows = session.execute(select(Event.position, Event.sequence).order_by(Event.position)).all()
    assert [row.position for row in rows] == list(range(1, 41))
    assert {row.sequence for row in rows} == {first + n for first in (1, 101, 201, 301) for n in range(10)}


def test_stores_once_if_the_same_batch_arrives_twice_at_once(database: Database, job_id: int, now: datetime) -> None:
    batch = [event(number) for number in range(1, 21)]
    answers: list[Answer] = []

    def write() -> None:
        with database.write_session() as session:
            answers.append(events.ingest(session, job_id, 1, INSTANCE, batch, now))

    run_together(write, write)
    assert answers == [Answer(acknowledged=20)] * 2
    assert stored(database, job_id) == [(1, number) for number in range(1, 21)]


def test_binds_one_process_if_two_start_at_once(database: Database, job_id: int, now: datetime) -> None:
    outcomes: list[str] = []

    def write(instance: str, sequence: int) -> None:
        try:
            with database.write_session() as session:
                events.ingest(session, job_id, 1, instance, [event(sequence)], now)
            outcomes.append("bound")
        except Superseded:
            outcomes.append("superseded")

    run_together(lambda: write("instance-1", 1), lambda: write("instance-2", 2))
    assert sorted(outcomes) == ["bound", "superseded"]
    assert len(stored(database, job_id)) == 1


def run_together(*tasks: Callable[[], None]) -> None:
    """Runs the tasks at the same time, each in a thread, and raises what any of them raised."""
    barrier = threading.Barrier(len(tasks))
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            barrier.wait(30)
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def columns(job: Job) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in Job.__table__.columns}


def refuse_metrics_named_poison(database: Database) -> None:
    """Makes the database itself refuse a row that Python finds valid."""
    with database.write_session() as session:
        session.execute(text(_poison(session)))


def _poison(session: Session) -> str:
    if session.get_bind().dialect.name == "postgresql":
        return "ALTER TABLE metrics ADD CONSTRAINT no_poison CHECK (name <> 'poison')"
    return (
        "CREATE TRIGGER no_poison BEFORE INSERT ON metrics WHEN NEW.name = 'poison'"
        " BEGIN SELECT RAISE(ABORT, 'no poison'); END"
    )
