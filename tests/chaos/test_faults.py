"""The backend dies between two steps of a launch: exactly one trainer works, or none, and never two."""

import signal

import pytest

from chaos.invariants import check
from chaos.world import World
from e2e.waiting import eventually

STEPS = [  # the step after which it dies, and which attempts had a trainer
    pytest.param("row-created", [2], id="row-created"),
    pytest.param("spawned", [1], id="spawned"),
    pytest.param("handle-recorded", [1], id="handle-recorded", marks=pytest.mark.slow),
    pytest.param("event-committed", [1], id="event-committed"),
]


@pytest.mark.parametrize(("step", "trained"), STEPS)
def test_one_trainer_at_most_if_backend_dies_at_a_step(world: World, step: str, trained: list[int]) -> None:
    process = world.spawn(VISION_FAULT=step)
    eventually(world.answers, "the backend")
    job = world.submit(epochs=2, max_retries=0, pace=0.02)
    assert process.wait(30) == -signal.SIGKILL
    world.start()
    assert world.wait_until_ended(job) == {job: "completed"}
    rows = world.database.rows()
    check(world.truth(), rows).raise_if_any()
    known = {row["number"]: row["handle"] for row in rows.attempts if row["handle"]}
    assert {number: handle["pid"] for number, handle in known.items()} == {
        number: world.supervisor(job, number) for number in trained
    }
    assert [told.attempt for told in world.truth() if told.job == job] == trained
