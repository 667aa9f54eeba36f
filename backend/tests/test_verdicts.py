"""Every row of what is decided about a job, in one table."""

import signal
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.launchers.base import Observation
from app.models import Attempt, Job
from app.verdicts import Adopt, Decision, End, Policy, Signal, StopStalled, Unreachable, decide
from app.words import JobStatus, StopIntent, Trigger
from tests.factories import NOW

ALIVE = Observation(alive=True, handle={"pid": 1}, wrote=True)
MUTE = Observation(alive=True, handle={"pid": 1})
NOT_FOUND = Observation(alive=False, found=False)
LOST = Observation(alive=False)
POLICY = Policy(
    watching_since=NOW - timedelta(days=1),
    stop_flag=timedelta(seconds=5),
    grace=timedelta(seconds=30),
    stall=timedelta(minutes=30),
    backoff=timedelta(seconds=10),
)


def exited(code: int, **fields: Any) -> Observation:
    return Observation(alive=False, exit_code=code, **fields)


def killed_by(number: int, **fields: Any) -> Observation:
    return Observation(alive=False, signal=number, **fields)


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def make_job(**fields: Any) -> Job:
    values = {"id": 1, "status": JobStatus.RUNNING, "attempt": 1, "retries": 0, "max_retries": 2}
    return Job(**values | fields)


def make_attempt(**fields: Any) -> Attempt:
    values = {"job_id": 1, "number": 1, "handle": {"pid": 1}, "created_at": ago(hours=1), "launched_at": ago(hours=1)}
    return Attempt(**values | fields)


def asked(intent: StopIntent, seconds: float = 1, **fields: Any) -> dict[str, Any]:
    status = JobStatus.STOPPING if intent is StopIntent.CANCEL else JobStatus.RUNNING
    return {"status": status, "stop_intent": intent, "stop_requested_at": ago(seconds=seconds)} | fields


CANCEL, PREEMPT, STALL = asked(StopIntent.CANCEL), asked(StopIntent.PREEMPT), asked(StopIntent.STALL)
SAID_COMPLETED = {"reported": {"status": "completed", "failure": None}}
SAID_STOPPED = {"reported": {"status": "stopped", "failure": None}}
HEARD = {"heartbeat_at": ago(seconds=5), "progress_at": ago(seconds=5)}


def said_failed(code: str) -> dict[str, Any]:
    return {"reported": {"status": "failed", "failure": {"code": code, "message": "so it said", "hint": None}}}


LIVING: list[tuple[str, dict[str, Any], dict[str, Any], Decision | None]] = [
    ("all is well", {}, HEARD, None),
    ("its handle was never recorded", {}, HEARD | {"handle": None}, Adopt({"pid": 1})),
    ("asked to stop a moment ago", CANCEL, HEARD, None),
    ("asked to stop, flag not heeded", asked(StopIntent.CANCEL, 5), HEARD, Signal(kill=False)),
    ("asked to stop, within the grace", asked(StopIntent.CANCEL, 34), HEARD, Signal(kill=False)),
    ("asked to stop, grace over", asked(StopIntent.CANCEL, 35), HEARD, Signal(kill=True)),
    ("a stalled one is stopped alike", asked(StopIntent.STALL, 35), HEARD, Signal(kill=True)),
    ("a preempted one is stopped alike", asked(StopIntent.PREEMPT, 35), HEARD, Signal(kill=True)),
    ("heartbeats without progress", {}, HEARD | {"progress_at": ago(minutes=31)}, StopStalled("")),
    ("heartbeats and never any progress", {}, HEARD | {"progress_at": None}, StopStalled("")),
    (
        "its last minute was silent",
        {},
        {"heartbeat_at": ago(seconds=50), "progress_at": ago(minutes=30, seconds=40)},
        None,
    ),
    ("little time without progress", {}, HEARD | {"progress_at": ago(minutes=29)}, None),
    ("silent", {}, {"heartbeat_at": ago(minutes=2), "progress_at": ago(minutes=2)}, Unreachable("")),
    (
        "silent for long is not stalled",
        {},
        {"heartbeat_at": ago(hours=1), "progress_at": ago(hours=1)},
        Unreachable(""),
    ),
    ("never heard, though it writes", {}, {}, Unreachable("")),
    ("never heard, just started", {}, {"launched_at": ago(seconds=20)}, None),
]


@pytest.mark.parametrize(("_name", "job", "attempt", "expected"), LIVING, ids=[row[0] for row in LIVING])
def test_living_attempt(_name: str, job: dict[str, Any], attempt: dict[str, Any], expected: Decision | None) -> None:
    fresh = {"launched_at": ago(minutes=40)}
    decided = decide(make_job(**job), make_attempt(**fresh | attempt), ALIVE, NOW, POLICY)
    assert type(decided) is type(expected)
    if isinstance(expected, Adopt | Signal):
        assert decided == expected


COMPLETE, FAIL, REQUEUE, END_STOPPED = Trigger.COMPLETE, Trigger.FAIL, Trigger.REQUEUE, Trigger.STOPPED
Ending = tuple[str, dict[str, Any], dict[str, Any], Observation, Trigger, str, str | None]

ENDINGS: list[Ending] = [
    # what happened, the job, the attempt, what is observed, then: the trigger, the outcome, the failure's code
    ("completed", {}, SAID_COMPLETED, exited(0), COMPLETE, "completed", None),
    ("exit 0 and silence", {}, {}, exited(0), FAIL, "failed", "NO_COMPLETION_REPORT"),
    ("exit 0 after stopped", {}, SAID_STOPPED, exited(0), FAIL, "failed", "NO_COMPLETION_REPORT"),
    ("exit 0 after failed", {}, said_failed("NAN_LOSS"), exited(0), FAIL, "failed", "NAN_LOSS"),
    ("completed, then exit 1", {}, SAID_COMPLETED, exited(1), REQUEUE, "failed", "FRAMEWORK_CRASH"),
    ("completed, then a crash", {}, SAID_COMPLETED, killed_by(11), REQUEUE, "failed", "FRAMEWORK_CRASH"),
    ("failed for good", {}, said_failed("NAN_LOSS"), exited(1), FAIL, "failed", "NAN_LOSS"),
    ("failed for now", {}, said_failed("DISK_FULL"), exited(1), REQUEUE, "failed", "DISK_FULL"),
    ("failed for now, last time", {"retries": 2}, said_failed("DISK_FULL"), exited(1), FAIL, "failed", "DISK_FULL"),
    ("no retries wanted", {"max_retries": 0}, said_failed("DISK_FULL"), exited(1), FAIL, "failed", "DISK_FULL"),
    ("failed with its own code", {}, said_failed("LENS_DIRTY"), exited(1), FAIL, "failed", "LENS_DIRTY"),
    ("failed, then crashed", {}, said_failed("OUT_OF_MEMORY"), killed_by(11), FAIL, "failed", "OUT_OF_MEMORY"),
    ("failed, then exit 3", {}, said_failed("NAN_LOSS"), exited(3), FAIL, "failed", "NAN_LOSS"),
    ("exit 1 and silence", {}, {}, exited(1), REQUEUE, "failed", "FRAMEWORK_CRASH"),
    ("exit 137 and silence", {}, {}, exited(137), REQUEUE, "failed", "FRAMEWORK_CRASH"),
    ("worker killed for memory", {}, {}, exited(1, oom_killed=True), FAIL, "failed", "OUT_OF_MEMORY"),
    (
        "crash that was a worker killed for memory",
        {},
        said_failed("FRAMEWORK_CRASH"),
        exited(1, oom_killed=True),
        FAIL,
        "failed",
        "OUT_OF_MEMORY",
    ),
    ("bad configuration", {}, {}, exited(2), FAIL, "failed", "BAD_CONFIGURATION"),
    ("superseded", {}, {}, exited(4), REQUEUE, "lost", "TRAINER_LOST"),
    ("stopped by nobody we know", {}, SAID_STOPPED, exited(3), REQUEUE, "stopped", "TRAINER_KILLED"),
    ("killed for memory", {}, {}, killed_by(9, oom_killed=True), FAIL, "failed", "OUT_OF_MEMORY"),
    ("killed by somebody", {}, {}, killed_by(9), REQUEUE, "failed", "TRAINER_KILLED"),
    ("terminated by somebody", {}, {}, killed_by(15), REQUEUE, "failed", "TRAINER_KILLED"),
    ("terminated, last time", {"retries": 2}, {}, killed_by(15), FAIL, "failed", "TRAINER_KILLED"),
    ("segmentation fault", {}, {}, killed_by(11), REQUEUE, "failed", "FRAMEWORK_CRASH"),
    ("real-time signal", {}, {}, killed_by(40), REQUEUE, "failed", "TRAINER_KILLED"),
    ("gone without a word", {}, {}, LOST, REQUEUE, "lost", "TRAINER_LOST"),
    ("gone after completed", {}, SAID_COMPLETED, LOST, REQUEUE, "lost", "TRAINER_LOST"),
    ("gone after failed", {}, said_failed("NAN_LOSS"), LOST, FAIL, "failed", "NAN_LOSS"),
    ("never started", {}, {"handle": None}, NOT_FOUND, REQUEUE, "failed", "LAUNCH_FAILED"),
    ("could not start", {}, {"handle": {"error": "no python"}}, NOT_FOUND, REQUEUE, "failed", "LAUNCH_FAILED"),
    ("could not start, recorded", {}, {}, Observation(alive=False, error="x"), REQUEUE, "failed", "LAUNCH_FAILED"),
    ("could not start again", {"retries": 2}, {"handle": {"error": "x"}}, NOT_FOUND, FAIL, "failed", "LAUNCH_FAILED"),
    ("never started, no retry left", {"retries": 2}, {"handle": None}, NOT_FOUND, REQUEUE, "failed", "LAUNCH_FAILED"),
    ("host drained", {}, SAID_STOPPED, exited(3, stopped=True), REQUEUE, "stopped", None),
    ("host drained, no retry left", {"retries": 2}, SAID_STOPPED, exited(3, stopped=True), REQUEUE, "stopped", None),
    ("host drained in haste", {}, {}, killed_by(9, stopped=True, killed=True), REQUEUE, "stopped", None),
    ("host drained, failed first", {}, said_failed("NAN_LOSS"), exited(1, stopped=True), FAIL, "failed", "NAN_LOSS"),
    # a person wanted it to end
    ("cancel: stopped", CANCEL, SAID_STOPPED, exited(3), END_STOPPED, "stopped", None),
    ("cancel: completed first", CANCEL, SAID_COMPLETED, exited(0), COMPLETE, "completed", None),
    ("cancel: killed by us", CANCEL, {}, killed_by(9, killed=True), END_STOPPED, "stopped", None),
    ("cancel: terminated early", CANCEL, {}, killed_by(15), END_STOPPED, "stopped", None),
    ("cancel: failed meanwhile", CANCEL, said_failed("NAN_LOSS"), exited(1), END_STOPPED, "failed", "NAN_LOSS"),
    ("cancel: killed for memory", CANCEL, {}, killed_by(9, oom_killed=True), END_STOPPED, "failed", "OUT_OF_MEMORY"),
    ("cancel: exit 0 and silence", CANCEL, {}, exited(0), END_STOPPED, "failed", "NO_COMPLETION_REPORT"),
    ("cancel: gone", CANCEL, {}, LOST, END_STOPPED, "stopped", None),
    ("cancel: never started", CANCEL, {"handle": None}, NOT_FOUND, END_STOPPED, "failed", "LAUNCH_FAILED"),
    # the platform needed its place
    ("preempt: stopped", PREEMPT, SAID_STOPPED, exited(3), REQUEUE, "stopped", None),
    ("preempt: killed by us", PREEMPT, {}, killed_by(9, killed=True), REQUEUE, "stopped", None),
    ("preempt: gone", PREEMPT, {}, LOST, REQUEUE, "stopped", None),
    ("preempt: completed first", PREEMPT, SAID_COMPLETED, exited(0), COMPLETE, "completed", None),
    ("preempt: failed meanwhile", PREEMPT, said_failed("NAN_LOSS"), exited(1), FAIL, "failed", "NAN_LOSS"),
    ("preempt: killed for memory", PREEMPT, {}, killed_by(9, oom_killed=True), FAIL, "failed", "OUT_OF_MEMORY"),
    # it made no progress
    ("stall: stopped", STALL, SAID_STOPPED, exited(3), REQUEUE, "stopped", "STALLED"),
    ("stall: killed by us", STALL, {}, killed_by(9, killed=True), REQUEUE, "stopped", "STALLED"),
    ("stall: again and again", STALL | {"retries": 2}, SAID_STOPPED, exited(3), FAIL, "stopped", "STALLED"),
    ("stall: completed first", STALL, SAID_COMPLETED, exited(0), COMPLETE, "completed", None),
    ("stall: failed meanwhile", STALL, said_failed("DISK_FULL"), exited(1), REQUEUE, "failed", "DISK_FULL"),
]


@pytest.mark.parametrize("row", ENDINGS, ids=[row[0] for row in ENDINGS])
def test_ending(row: Ending) -> None:
    _, job, attempt, observed, trigger, outcome, code = row
    decided = decide(make_job(**job), make_attempt(**attempt), observed, NOW, POLICY)
    assert isinstance(decided, End)
    got = decided.failure["code"] if decided.failure else None
    assert (decided.trigger, decided.outcome, got) == (trigger, outcome, code)
    assert (decided.changes.get("failure") is not None) == (trigger is FAIL)


def test_nothing_yet_if_it_may_be_starting_just_now() -> None:
    attempt = make_attempt(handle=None, created_at=ago(seconds=3))
    assert decide(make_job(status=JobStatus.STARTING), attempt, NOT_FOUND, NOW, POLICY) is None


@pytest.mark.parametrize(("retries", "seconds"), [(0, 10), (1, 20), (2, 40), (9, 600)])
def test_waits_longer_if_it_failed_more_often(retries: int, seconds: int) -> None:
    job = make_job(retries=retries, max_retries=20)
    decided = decide(job, make_attempt(), killed_by(int(signal.SIGKILL)), NOW, POLICY)
    assert isinstance(decided, End)
    assert decided.changes == {"retries": retries + 1, "not_before": NOW + timedelta(seconds=seconds)}


@pytest.mark.parametrize(("retries", "seconds"), [(0, 120), (1, 240), (9, 600)])
def test_waits_longer_if_the_storage_is_away(retries: int, seconds: int) -> None:
    job, said = make_job(retries=retries, max_retries=20), make_attempt(**said_failed("STORAGE_ERROR"))
    decided = decide(job, said, exited(1), NOW, POLICY)
    assert isinstance(decided, End) and decided.not_before == NOW + timedelta(seconds=seconds)


def test_no_retry_counted_if_preempted() -> None:
    decided = decide(make_job(**PREEMPT, retries=1), make_attempt(), exited(3), NOW, POLICY)
    assert isinstance(decided, End) and decided.changes == {"retries": 1, "not_before": None}


@pytest.mark.parametrize("observed", [exited(3, stopped=True), NOT_FOUND], ids=["host drained", "never started"])
def test_no_retry_counted_but_a_pause_if_nobody_is_at_fault(observed: Observation) -> None:
    decided = decide(make_job(retries=1), make_attempt(handle=None), observed, NOW, POLICY)
    assert isinstance(decided, End) and decided.changes == {"retries": 1, "not_before": NOW + timedelta(seconds=10)}


def test_log_lines_are_the_message_if_configuration_is_bad() -> None:
    attempt = make_attempt(log_tail=["EPOCHS='0' is below 1", "DATASET_ID is missing"])
    decided = decide(make_job(), attempt, exited(2), NOW, POLICY)
    assert isinstance(decided, End) and decided.failure
    assert decided.failure["message"] == "EPOCHS='0' is below 1\nDATASET_ID is missing"


def test_stalled_if_it_never_wrote_one_report() -> None:
    """Silence alone may be the network's fault; an outbox without a line is the trainer's."""
    never = make_attempt(launched_at=ago(minutes=31))
    assert isinstance(decide(make_job(), never, MUTE, NOW, POLICY), StopStalled)
    assert isinstance(decide(make_job(), never, ALIVE, NOW, POLICY), Unreachable)
    young = make_attempt(launched_at=ago(minutes=29))
    assert isinstance(decide(make_job(), young, MUTE, NOW, POLICY), Unreachable)
    just_watched = replace(POLICY, watching_since=ago(minutes=29))
    assert isinstance(decide(make_job(), never, MUTE, NOW, just_watched), Unreachable)


def test_neither_stalled_nor_silent_if_the_platform_was_away() -> None:
    policy = replace(POLICY, watching_since=ago(seconds=30))
    quiet = make_attempt(heartbeat_at=ago(hours=1), progress_at=ago(hours=1))
    assert decide(make_job(), quiet, ALIVE, NOW, policy) is None
    back = make_attempt(heartbeat_at=ago(seconds=1), progress_at=ago(hours=1))
    assert decide(make_job(), back, ALIVE, NOW, policy) is None


def test_failure_explains_itself_if_trainer_gave_no_hint() -> None:
    decided = decide(make_job(), make_attempt(**said_failed("OUT_OF_MEMORY")), exited(1), NOW, POLICY)
    assert isinstance(decided, End) and decided.failure
    assert decided.failure["message"] == "so it said"
    assert "batch_size" in decided.failure["hint"] and "memory" in decided.failure["cause"]
