"""The checker itself: it must notice each kind of damage, else its silence proves nothing."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from chaos.database import Rows
from chaos.invariants import check
from chaos.truth import Told

Damage = Callable[[Told, Rows], object]


def metrics(sequence: int) -> dict[str, Any]:
    return {"time": "now", "type": "metrics", "epoch": 1, "step": sequence, "values": {"loss": 1.0 / sequence}}


def make_truth() -> Told:
    return Told(job=1, attempt=1, pid=7, begun={n: metrics(n) for n in (1, 2, 3)}, done={1, 2, 3}, end=0)


def make_rows() -> Rows:
    common: dict[str, Any] = {"job_id": 1, "attempt": 1}
    trainer = {"source": "trainer", "type": "metrics"} | common
    events = [trainer | {"position": n, "sequence": n, "payload": _payload(n)} for n in (1, 2, 3)]
    ending = {"position": 4, "source": "platform", "type": "status", "sequence": None, "payload": {"to": "completed"}}
    return Rows(
        jobs=[{"id": 1, "status": "completed"}],
        attempts=[{"job_id": 1, "number": 1, "ended_at": "now", "outcome": "completed"}],
        events=[*events, common | ending],
        metrics=[common | {"epoch": 1, "step": n, "name": "loss", "value": 1.0 / n} for n in (1, 2, 3)],
        validations=[],
        checkpoints=[],
    )


def _payload(sequence: int) -> dict[str, Any]:
    return {name: value for name, value in metrics(sequence).items() if name not in ("time", "type")}


DAMAGES: dict[str, tuple[Damage, str]] = {
    "lost event": (lambda told, rows: rows.events.pop(2), "lost 1 events: [3]"),
    "event twice": (lambda told, rows: rows.events.append(rows.events[0] | {"position": 5}), "events twice: [1]"),
    "invented event": (lambda told, rows: told.done.discard(told.begun.popitem()[0]), "never emitted"),
    "changed event": (lambda told, rows: rows.events[0].update(payload={}), "another event 1"),
    "wrong order": (lambda told, rows: rows.events[0].update(sequence=9), "out of order"),
    "gap": (lambda told, rows: rows.events[3].update(position=9), "has gaps"),
    "lost metric": (lambda told, rows: rows.metrics.pop(), "lost 1 metric points"),
    "metric twice": (lambda told, rows: rows.metrics.append(rows.metrics[0]), "1 metric points too many"),
    "two trainers at once": (lambda told, rows: setattr(told, "alone", False), "while another trainer"),
    "no row": (lambda told, rows: rows.attempts.clear(), "has no row"),
    "never ended": (lambda told, rows: rows.attempts[0].update(ended_at=None), "has no end"),
    "wrong outcome": (lambda told, rows: rows.attempts[0].update(outcome="lost"), "exited with 0"),
    "wrong status": (lambda told, rows: rows.jobs[0].update(status="running"), "job 1 is running"),
    "ended twice": (lambda told, rows: rows.events[2].update(type="status", payload={"to": "failed"}), "ended 2 times"),
}


def test_nothing_found_if_all_is_well() -> None:
    verdict = check([make_truth()], make_rows(), {1: frozenset({"completed"})})
    assert (verdict.problems, verdict.sent, verdict.found) == ([], 3, 3)


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_told_in_words_if_something_is_broken(damage: Damage, words: str) -> None:
    told, rows = make_truth(), deepcopy(make_rows())
    damage(told, rows)
    assert words in "\n".join(check([told], rows).problems)


def test_told_if_an_attempt_was_started_twice() -> None:
    twins = [make_truth(), make_truth()]
    assert "attempt 1 of job 1 was started 2 times" in check(twins, make_rows()).problems


def test_not_lost_if_the_trainer_died_before_it_was_emitted() -> None:
    told = make_truth()
    told.begun[4] = metrics(4)
    assert check([told], make_rows()).problems == []
