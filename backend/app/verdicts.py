"""What should happen to a job, from what the database wants and what the launcher observes. Pure.

Three verdicts are kept apart: *dead* (no process: retry or fail), *unreachable* (silent, but the process lives: wait)
and *stalled* (heartbeats without progress: stop and retry).
"""

import signal
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app import failures
from app.launchers.base import Handle, Observation
from app.models import Attempt, Job
from app.settings import Settings
from app.words import StopIntent, Trigger

COMPLETED, FAILED, STOPPED, LOST = "completed", "failed", "stopped", "lost"
EXIT_COMPLETED, EXIT_BAD_CONFIGURATION, EXIT_STOPPED, EXIT_SUPERSEDED = 0, 2, 3, 4
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
SHOWN_LINES = 12


@dataclass(frozen=True)
class Policy:
    """`watching_since`: silence before it is nobody's fault, for the platform was not there to hear."""

    watching_since: datetime
    stop_flag: timedelta
    grace: timedelta
    stall: timedelta
    backoff: timedelta
    silence: timedelta = timedelta(seconds=60)
    launch: timedelta = timedelta(seconds=10)
    longest_backoff: timedelta = timedelta(minutes=10)

    @classmethod
    def of(cls, settings: Settings, watching_since: datetime) -> "Policy":
        return cls(
            watching_since=watching_since,
            stop_flag=timedelta(seconds=settings.stop_flag_seconds),
            grace=timedelta(seconds=settings.grace_period_seconds),
            stall=timedelta(seconds=settings.stall_seconds),
            backoff=timedelta(seconds=settings.retry_backoff_seconds),
        )


@dataclass(frozen=True)
class Adopt:
    """The trainer runs and nobody wrote down its handle."""

    handle: Handle


@dataclass(frozen=True)
class Signal:
    """The next step of the stop ladder, after `should_stop`."""

    kill: bool


@dataclass(frozen=True)
class StopStalled:
    reason: str


@dataclass(frozen=True)
class Unreachable:
    """Worth a line in the timeline; nothing else is done."""

    message: str


@dataclass(frozen=True)
class End:
    """The attempt is over, and what follows for the job. `retries` is the job's new count."""

    outcome: str
    trigger: Trigger
    reason: str
    failure: dict[str, Any] | None = None
    retries: int = 0
    not_before: datetime | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """Further columns of the job."""
        why = {"failure": self.failure} if self.trigger is Trigger.FAIL else {}
        return why | {"retries": self.retries, "not_before": self.not_before}


Decision = Adopt | Signal | StopStalled | Unreachable | End


def decide(job: Job, attempt: Attempt, observed: Observation, now: datetime, policy: Policy) -> Decision | None:
    """For the newest attempt of an active job. Its outbox must be drained if `observed` is not alive."""
    if observed.alive:
        return _while_alive(job, attempt, observed, now, policy)
    if not observed.found and attempt.handle is None and now - attempt.created_at < policy.launch:
        return None  # it may be starting just now
    outcome, failure = _judge(attempt, observed)
    if outcome == COMPLETED:
        return End(COMPLETED, Trigger.COMPLETE, "the trainer reported completed and exited with 0", None, job.retries)
    ended_as_asked = outcome in (STOPPED, LOST) or (observed.signal is not None and _code(failure) == "TRAINER_KILLED")
    match job.stop_intent:
        case StopIntent.CANCEL:
            failure = None if ended_as_asked else failure
            outcome = STOPPED if ended_as_asked else outcome
            return End(outcome, Trigger.STOPPED, "stopped as a person asked", failure, job.retries)
        case StopIntent.PREEMPT if ended_as_asked:
            return End(STOPPED, Trigger.REQUEUE, "stopped to make room; it will continue", None, job.retries)
        case StopIntent.STALL if ended_as_asked:
            message = f"no progress for {policy.stall.total_seconds():g} s; the trainer was stopped"
            return _retry_or_fail(job, STOPPED, failures.describe("STALLED", message), now, policy)
    if observed.stopped and ended_as_asked:
        reason = "stopped from outside, as when its host is drained; it will continue"
        return End(STOPPED, Trigger.REQUEUE, reason, None, job.retries, now + policy.backoff)
    if not observed.found and "error" not in (attempt.handle or {}):
        reason = "LAUNCH_FAILED; nothing was started, so no retry is used"
        return End(outcome, Trigger.REQUEUE, reason, failure, job.retries, now + policy.backoff)
    if failure is None:
        failure = failures.describe("TRAINER_KILLED", "the trainer was asked to stop, and not by the platform")
    return _retry_or_fail(job, outcome, failure, now, policy)


def _while_alive(job: Job, attempt: Attempt, observed: Observation, now: datetime, policy: Policy) -> Decision | None:
    if attempt.handle is None and observed.handle is not None:
        return Adopt(observed.handle)
    if job.stop_requested_at is not None:
        return _ladder(now - job.stop_requested_at, policy)
    begun = max(attempt.launched_at or attempt.created_at, policy.watching_since)
    silent = now - max(begun, attempt.heartbeat_at or begun)
    if silent > policy.stall and attempt.heartbeat_at is None and not observed.wrote:
        return StopStalled(f"it has not sent one report in {silent.total_seconds():.0f} s")
    if silent > policy.silence:
        return Unreachable(f"nothing was heard for {silent.total_seconds():.0f} s, but the trainer is alive: waiting")
    moved_at = max(begun, attempt.progress_at or begun)
    if attempt.heartbeat_at is not None and attempt.heartbeat_at - moved_at > policy.stall:  # silence does not count
        return StopStalled(f"no progress for {(now - moved_at).total_seconds():.0f} s")
    return None


def _ladder(waited: timedelta, policy: Policy) -> Signal | None:
    if waited < policy.stop_flag:
        return None
    return Signal(kill=waited >= policy.stop_flag + policy.grace)


def _judge(attempt: Attempt, observed: Observation) -> tuple[str, dict[str, Any] | None]:
    """The outcome of an attempt that has ended, and its failure; a trainer that stopped has none."""
    refusal = observed.error or (attempt.handle or {}).get("error")
    if refusal or not observed.found:
        return FAILED, failures.describe("LAUNCH_FAILED", refusal or "the platform ended before it was started")
    reported = attempt.reported or {}
    match observed.exit_code:
        case 0 if reported.get("status") == "completed":
            return COMPLETED, None
        case 3 if reported.get("status") != "failed":
            return STOPPED, None
    if reported.get("status") == "failed":
        return FAILED, _as_reported(reported.get("failure") or {}, observed)
    if observed.signal is not None:
        return FAILED, _of_signal(observed)
    if observed.exit_code is None:
        return LOST, failures.describe("TRAINER_LOST", "the trainer is gone, and nobody recorded how it ended")
    return _of_exit_code(observed.exit_code, attempt, observed)


def _as_reported(failure: dict[str, Any], observed: Observation) -> dict[str, Any]:
    """The trainer's own words; a framework that crashed because a worker was killed for memory says it wrongly."""
    code, message = failure.get("code", "FRAMEWORK_CRASH"), failure.get("message", "")
    if code == "FRAMEWORK_CRASH" and observed.oom_killed:
        return failures.describe("OUT_OF_MEMORY", f"the system killed a process for want of memory: {message}")
    return failures.describe(code, message, failure.get("hint"), failure.get("traceback"))


def _of_signal(observed: Observation) -> dict[str, Any]:
    if observed.oom_killed:
        return failures.describe("OUT_OF_MEMORY", "the system killed the trainer for want of memory")
    if observed.signal in CRASHES:
        return failures.describe("FRAMEWORK_CRASH", f"the trainer crashed with {_name(observed.signal)}")
    return failures.describe("TRAINER_KILLED", f"the trainer was ended by {_name(observed.signal)}")


def _name(number: int | None) -> str:
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")


def _of_exit_code(code: int, attempt: Attempt, observed: Observation) -> tuple[str, dict[str, Any]]:
    if code == EXIT_COMPLETED:
        return FAILED, failures.describe("NO_COMPLETION_REPORT", "the trainer exited with 0 and never said completed")
    if code == EXIT_BAD_CONFIGURATION:
        said = "\n".join((attempt.log_tail or [])[-SHOWN_LINES:])
        return FAILED, failures.describe("BAD_CONFIGURATION", said or "the trainer refused its variables")
    if code == EXIT_SUPERSEDED:
        return LOST, failures.describe("TRAINER_LOST", "the trainer was told that another process owns its attempt")
    if observed.oom_killed:
        return FAILED, failures.describe("OUT_OF_MEMORY", "the system killed a process for want of memory")
    return FAILED, failures.describe("FRAMEWORK_CRASH", f"the trainer ended with exit code {code} and no report")


def _retry_or_fail(job: Job, outcome: str, failure: dict[str, Any], now: datetime, policy: Policy) -> End:
    code = failure["code"]
    if not failures.lookup(code).retryable:
        return End(outcome, Trigger.FAIL, f"{code}; a retry cannot help", failure, job.retries)
    if job.retries >= job.max_retries:
        return End(
            outcome, Trigger.FAIL, f"{code}; {job.retries} of {job.max_retries} retries used", failure, job.retries
        )
    retries = job.retries + 1
    wait = min(policy.longest_backoff, policy.backoff * failures.lookup(code).pause * 2**job.retries)
    return End(outcome, Trigger.REQUEUE, f"{code}; retry {retries} of {job.max_retries}", failure, retries, now + wait)


def _code(failure: dict[str, Any] | None) -> str | None:
    return None if failure is None else failure["code"]
