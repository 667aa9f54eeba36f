"""Every (status, trigger) pair, and what each change does to the job's row."""

import threading
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from app.db import Database
from app.errors import Conflict, Invalid, NotFound, StaleTransition
from app.models import Job
from app.services import history, jobs
from app.words import JobStatus, StopIntent, TaskType, Trigger
from tests import factories

EXPECTED = {
    "pending": {"launch": "starting", "cancel": "cancelled", "fail": "failed"},
    "starting": {
        "run": "running",
        "complete": "completed",
        "fail": "failed",
        "requeue": "pending",
        "cancel": "stopping",
    },
    "running": {"complete": "completed", "fail": "failed", "requeue": "pending", "cancel": "stopping"},
    "stopping": {"stopped": "cancelled", "complete": "completed", "fail": "failed", "requeue": "pending"},
    "completed": {},
    "failed": {"retry": "pending"},
    "cancelled": {"retry": "pending"},
}


@pytest.mark.parametrize(("status", "trigger"), list(product(JobStatus, Trigger)))
def test_follows_the_table_if_trigger_is_allowed_else_refuses(
    database: Database, now: datetime, status: JobStatus, trigger: Trigger
) -> None:
    target = EXPECTED[status].get(trigger)
    with database.write_session() as session:
        job_id = factories.job(session, status=status, attempt=2).id
    if target is None:
        with pytest.raises(StaleTransition, match=f"job {job_id} is {status}"), database.write_session() as session:
            jobs.transition(session, job_id, trigger, now=now, reason="test")
    else:
        with database.write_session() as session:
            assert jobs.transition(session, job_id, trigger, now=now, reason="test") == target
    with database.read_session() as session:
        assert jobs.get(session, job_id).status == (target or status)
        payloads = [(entry.attempt, entry.payload) for entry in history.timeline(session, job_id)]
    expected = {"from": status, "to": target, "trigger": trigger, "reason": "test"}
    assert payloads == ([] if target is None else [(2, expected)])


def test_raises_if_there_is_no_such_job(database: Database, now: datetime) -> None:
    with pytest.raises(NotFound, match="there is no job 7"), database.write_session() as session:
        jobs.transition(session, 7, Trigger.LAUNCH, now=now, reason="test")


def test_sets_further_columns_if_they_are_given(database: Database, now: datetime) -> None:
    failure = {"code": "STALLED", "message": "no progress"}
    changed = change(database, Trigger.FAIL, now, status=JobStatus.RUNNING, failure=None, given={"failure": failure})
    assert (changed.failure, changed.ended_at, changed.updated_at) == (failure, now, now)


def test_launch_starts_afresh_if_the_job_ran_before(database: Database, now: datetime) -> None:
    old = {"progress": {"phase": "train"}, "pending_reason": "waiting", "not_before": now}
    changed = change(database, Trigger.LAUNCH, now, status=JobStatus.PENDING, **old, given={"attempt": 3})
    assert (changed.progress, changed.pending_reason, changed.not_before, changed.attempt) == (None, None, None, 3)


def test_started_at_stays_if_a_later_attempt_runs(database: Database, now: datetime) -> None:
    first = now - timedelta(hours=1)
    assert change(database, Trigger.RUN, now, status=JobStatus.STARTING).started_at == now
    assert change(database, Trigger.RUN, now, status=JobStatus.STARTING, started_at=first).started_at == first


def test_cancel_asks_the_trainer_to_stop_if_it_runs(database: Database, now: datetime) -> None:
    changed = change(database, Trigger.CANCEL, now, status=JobStatus.RUNNING)
    assert (changed.stop_intent, changed.stop_requested_at, changed.ended_at) == (StopIntent.CANCEL, now, None)


def test_cancel_keeps_the_ladder_if_a_stop_was_asked_before(database: Database, now: datetime) -> None:
    earlier = now - timedelta(seconds=9)
    stalled = {"stop_intent": StopIntent.STALL, "stop_requested_at": earlier}
    changed = change(database, Trigger.CANCEL, now, status=JobStatus.RUNNING, **stalled)
    assert (changed.stop_intent, changed.stop_requested_at) == (StopIntent.CANCEL, earlier)


@pytest.mark.parametrize("trigger", [Trigger.REQUEUE, Trigger.STOPPED, Trigger.COMPLETE])
def test_stop_intent_goes_if_the_attempt_is_over(database: Database, now: datetime, trigger: Trigger) -> None:
    asked = {"stop_intent": StopIntent.CANCEL, "stop_requested_at": now}
    changed = change(database, trigger, now, status=JobStatus.STOPPING, **asked)
    assert (changed.stop_intent, changed.stop_requested_at) == (None, None)
    assert changed.ended_at == (None if trigger is Trigger.REQUEUE else now)


def test_retry_counts_from_zero_if_a_person_asks(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        failure = {"code": "STALLED", "message": "no progress"}
        job_id = factories.job(session, status=JobStatus.FAILED, retries=2, failure=failure, ended_at=now).id
        job = jobs.retry(session, job_id, now)
        assert (job.status, job.retries, job.failure, job.ended_at) == (JobStatus.PENDING, 0, None, None)


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.FAILED, JobStatus.CANCELLED}))
def test_retry_is_refused_if_the_job_did_not_fail(database: Database, now: datetime, status: JobStatus) -> None:
    with database.write_session() as session:
        job_id = factories.job(session, status=status).id
        with pytest.raises(Conflict, match=f"job {job_id} is {status}; only a failed or cancelled job"):
            jobs.retry(session, job_id, now)


@pytest.mark.parametrize("status", [JobStatus.STOPPING, JobStatus.CANCELLED])
def test_cancel_changes_nothing_if_asked_again(database: Database, now: datetime, status: JobStatus) -> None:
    with database.write_session() as session:
        job_id = factories.job(session, status=status).id
        assert jobs.cancel(session, job_id, now).status == status
        assert history.timeline(session, job_id) == []


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_cancel_is_refused_if_the_job_has_ended(database: Database, now: datetime, status: JobStatus) -> None:
    with database.write_session() as session:
        job_id = factories.job(session, status=status).id
        with pytest.raises(Conflict, match=f"job {job_id} is {status}"):
            jobs.cancel(session, job_id, now)


@pytest.mark.parametrize("round", range(5))
def test_one_wins_if_two_change_a_job_at_once(database: Database, now: datetime, round: int) -> None:
    with database.write_session() as session:
        job_id = factories.job(session, status=JobStatus.PENDING).id
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def apply(trigger: Trigger) -> None:
        barrier.wait(30)
        try:
            with database.write_session() as session:
                outcomes.append(jobs.transition(session, job_id, trigger, now=now, reason="race"))
        except StaleTransition:
            outcomes.append("stale")

    threads = [threading.Thread(target=apply, args=(trigger,)) for trigger in (Trigger.FAIL, Trigger.FAIL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["failed", "stale"]
    with database.read_session() as session:
        assert len(history.timeline(session, job_id)) == 1


def test_is_refused_in_sql_if_the_status_changed_unseen(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is the UPDATE itself: reading a stale status must not be enough to change it."""
    with database.write_session() as session:
        job = factories.job(session, status=JobStatus.COMPLETED)
        stale = Job(id=job.id, status=JobStatus.RUNNING, attempt=1)
    monkeypatch.setattr(jobs, "_locked", lambda _session, _job_id: stale)
    with pytest.raises(StaleTransition, match="changed meanwhile"), database.write_session() as session:
        jobs.transition(session, stale.id, Trigger.FAIL, now=now, reason="race")


def test_history_is_undone_if_the_transaction_fails(database: Database, now: datetime) -> None:
    with database.write_session() as session:
        job_id = factories.job(session, status=JobStatus.RUNNING).id
    with pytest.raises(RuntimeError), database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=now, reason="test")
        raise RuntimeError("crash")
    with database.read_session() as session:
        assert jobs.get(session, job_id).status == JobStatus.RUNNING
        assert history.timeline(session, job_id) == []


def test_lists_newest_first_if_paged(database: Database) -> None:
    with database.write_session() as session:
        ids = [factories.job(session).id for _ in range(5)]
    found: list[int] = []
    cursor = None
    with database.read_session() as session:
        for size in (2, 2, 1):
            page, cursor = jobs.list_jobs(session, cursor=cursor, limit=2)
            assert len(page) == size
            found += [job.id for job in page]
    assert (found, cursor) == (ids[::-1], None)


def test_lists_the_matching_if_filtered(database: Database) -> None:
    with database.write_session() as session:
        factories.job(session, status=JobStatus.RUNNING)
        wanted = factories.job(session, framework="timm", task_type="image_classification", status=JobStatus.FAILED).id
    filters: list[dict[str, Any]] = [
        {"statuses": [JobStatus.FAILED, JobStatus.PENDING]},
        {"framework": "timm"},
        {"task_type": TaskType.IMAGE_CLASSIFICATION},
    ]
    with database.read_session() as session:
        for chosen in filters:
            page, cursor = jobs.list_jobs(session, **chosen)
            assert ([job.id for job in page], cursor) == ([wanted], None)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 40, "²"])
def test_names_the_cursor_if_it_is_invented(database: Database, cursor: str) -> None:
    with database.read_session() as session, pytest.raises(Invalid, match="is not one that this list gave"):
        jobs.list_jobs(session, cursor=cursor)


def change(database: Database, trigger: Trigger, now: datetime, *, given: Any = None, **columns: Any) -> Job:
    """A job with these columns after the trigger."""
    with database.write_session() as session:
        job_id = factories.job(session, **columns).id
        jobs.transition(session, job_id, trigger, now=now, reason="test", **given or {})
    with database.read_session() as session:
        return jobs.get(session, job_id)
