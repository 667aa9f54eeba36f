"""What must hold whatever was killed: the database and the trainers' own logs tell the same story."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chaos.database import Row, Rows
from chaos.truth import Told

ENDED = frozenset({"completed", "failed", "cancelled"})
OUTCOMES = {0: "completed", 1: "failed", 3: "stopped"}
Key = tuple[int, int]
SHOWN = 20


@dataclass
class Verdict:
    """`sent` counts what trainers surely emitted, `found` what of it is stored."""

    sent: int = 0
    found: int = 0
    lost: int = 0
    duplicates: int = 0
    attempts: int = 0
    problems: list[str] = field(default_factory=list)

    def raise_if_any(self) -> None:
        shown = "\n".join(self.problems[:SHOWN])
        assert not self.problems, f"{len(self.problems)} invariants are broken:\n{shown}"


def check(truth: list[Told], rows: Rows, expected: dict[int, frozenset[str]] | None = None) -> Verdict:
    """Every broken invariant in words. `expected` are the endings that each job may have; without it, any."""
    verdict = Verdict(attempts=len(rows.attempts))
    _check_alone(truth, rows, verdict)
    stored = _by_attempt(rows.events)
    for told in truth:
        _check_events(told, stored.get((told.job, told.attempt), []), verdict)
        _check_metrics(told, rows, verdict)
    _check_order(rows, verdict)
    _check_endings(truth, rows, expected, verdict)
    return verdict


def _check_alone(truth: list[Told], rows: Rows, verdict: Verdict) -> None:
    started = Counter((told.job, told.attempt) for told in truth)
    known = {(row["job_id"], row["number"]) for row in rows.attempts}
    verdict.problems += [f"{_name(key)} was started {count} times" for key, count in started.items() if count > 1]
    verdict.problems += [f"{_name(key)} ran and has no row" for key in started if key not in known]
    verdict.problems += [
        f"{_name((told.job, told.attempt))} started while another trainer of its job lived"
        for told in truth
        if not told.alone
    ]


def _by_attempt(events: list[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for event in events:
        if event["source"] == "trainer":
            found.setdefault((event["job_id"], event["attempt"]), []).append(event)
    return found


def _check_events(told: Told, stored: list[Row], verdict: Verdict) -> None:
    """0 lost, 0 duplicated, none invented, none changed."""
    name, counted = _name((told.job, told.attempt)), Counter(row["sequence"] for row in stored)
    lost, twice = told.done - set(counted), {number for number, count in counted.items() if count > 1}
    verdict.sent += len(told.done)
    verdict.found += len(told.done) - len(lost)
    verdict.lost += len(lost)
    verdict.duplicates += sum(counted[number] - 1 for number in twice)
    if lost:
        verdict.problems.append(f"{name} lost {len(lost)} events: {sorted(lost)[:SHOWN]}")
    if twice:
        verdict.problems.append(f"{name} has events twice: {sorted(twice)[:SHOWN]}")
    for row in stored:
        if row["sequence"] not in told.begun:
            verdict.problems.append(f"{name} has event {row['sequence']}, which was never emitted")
        elif row["payload"] | {"type": row["type"]} != _content(told.begun[row["sequence"]]):
            verdict.problems.append(f"{name} has another event {row['sequence']} than was emitted: {row['payload']}")


def _content(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "time"}


def _check_metrics(told: Told, rows: Rows, verdict: Verdict) -> None:
    """Each number once in the table that curves are drawn from."""
    begun, done = _points(told, set(told.begun)), _points(told, told.done)
    own = [row for row in rows.metrics if (row["job_id"], row["attempt"]) == (told.job, told.attempt)]
    found = Counter((row["epoch"], row["step"], row["name"], row["value"]) for row in own)
    name = _name((told.job, told.attempt))
    if missing := done - found:
        verdict.problems.append(f"{name} lost {missing.total()} metric points: {list(missing)[:3]}")
    if extra := found - begun:
        verdict.problems.append(f"{name} has {extra.total()} metric points too many: {list(extra)[:3]}")


def _points(told: Told, sequences: set[int]) -> Counter[tuple[Any, ...]]:
    events = [told.begun[sequence] for sequence in sequences if told.begun[sequence]["type"] == "metrics"]
    return Counter((event["epoch"], event.get("step"), *item) for event in events for item in event["values"].items())


def _check_order(rows: Rows, verdict: Verdict) -> None:
    """A job's history has no gap, and what its trainers told stands in the order in which they told it."""
    positions: dict[int, list[Row]] = {}
    for event in rows.events:
        positions.setdefault(event["job_id"], []).append(event)
    for job, events in positions.items():
        if [event["position"] for event in events] != list(range(1, len(events) + 1)):
            verdict.problems.append(f"the history of job {job} has gaps")
        told = [(event["attempt"], event["sequence"]) for event in events if event["source"] == "trainer"]
        wrong = [after for before, after in pairwise(told) if after <= before]
        if wrong:
            verdict.problems.append(f"the history of job {job} is out of order at (attempt, sequence) {wrong[0]}")


def _check_endings(truth: list[Told], rows: Rows, expected: dict[int, frozenset[str]] | None, verdict: Verdict) -> None:
    """Each job ended as it may, once; each attempt as its trainer did."""
    told = {(each.job, each.attempt): each.end for each in truth}
    for row in rows.attempts:
        key = row["job_id"], row["number"]
        if row["ended_at"] is None:
            verdict.problems.append(f"{_name(key)} has no end")
        elif (code := told.get(key)) is not None and row["outcome"] != OUTCOMES.get(code, row["outcome"]):
            verdict.problems.append(f"{_name(key)} exited with {code} and counts as {row['outcome']}")
    for job in rows.jobs:
        allowed = ENDED if expected is None else expected.get(job["id"], ENDED)
        if job["status"] not in allowed:
            why = f" ({job['failure']})" if job.get("failure") else ""
            verdict.problems.append(f"job {job['id']} is {job['status']}{why}, not {' or '.join(sorted(allowed))}")
        if len(changes := _final_changes(rows, job["id"])) > 1:
            verdict.problems.append(f"job {job['id']} ended {len(changes)} times: {changes}")


def _final_changes(rows: Rows, job_id: int) -> list[str]:
    changes = [row["payload"] for row in rows.events if row["job_id"] == job_id and row["type"] == "status"]
    return [str(payload["to"]) for payload in changes if payload.get("to") in ENDED]


def _name(key: Key) -> str:
    return f"attempt {key[1]} of job {key[0]}"
