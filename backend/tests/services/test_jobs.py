"""Every (status, trigger) pair, and what each change does to the job's row."""

from datetime import datetime
from itertools import product

import pytest

from app.db import Database
from app.errors import StaleTransition
from app.services import history, jobs
from app.words import JobStatus, Trigger
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
