"""An attempt that was superseded hears 409, stops before it touches storage, and its token writes no more."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from chaos.invariants import check
from chaos.world import World
from e2e.waiting import eventually

SUPERSEDED = 4
IDLE: dict[str, Any] = {"ending": "idle", "pace": 0.02, "steps": 5}
LATE = {"sequence": 999, "time": "2026-11-23T10:00:00Z", "type": "warning", "code": "LATE", "message": "too late"}
STRANGER = "import signal; print('here', flush=True); signal.pause()"


def test_superseded_attempt_stops_and_writes_nothing_more(world: World) -> None:
    """Its machine froze, everybody gave it up, and it comes back while its successor works."""
    world.start()
    job = world.submit(epochs=2, **IDLE)
    eventually(lambda: _last_epoch(world, job) == 2, "the checkpoint")
    old = world.trainers()[job]
    environment = old.environ()
    old.suspend()
    _give_up(world, job)
    world.wait_for_events(job, 1, attempt=2)
    before = _objects(world), _events(world, job, 1), world.emitted(job)

    for events in ([], [LATE]):
        assert _report(environment, events) == 409
    old.resume()
    eventually(lambda: _end(world, job, 1) == SUPERSEDED, "the end of the superseded attempt")

    assert (_objects(world), _events(world, job, 1), world.emitted(job)) == before
    world.api.post(f"/api/v1/jobs/{job}/cancel")
    assert world.wait_until_ended(job) == {job: "cancelled"}


@pytest.mark.slow
def test_not_adopted_if_its_process_id_belongs_to_a_stranger(world: World) -> None:
    world.start()
    job = world.submit(epochs=1, max_retries=1, pause=0.05, pace=0.05, until_told=True)
    world.wait_for_events(job, 15)
    world.kill()
    supervisor, trainer = world.supervisor(job), world.trainers()[job]
    world.send(supervisor, signal.SIGKILL)
    trainer.wait(10)
    with _stranger() as stranger:
        world.pretend(job, pid=stranger.pid)
        world.start()
        world.wait_for_events(job, 5, attempt=2)
        assert stranger.poll() is None
    world.finish.touch()
    assert world.wait_until_ended(job) == {job: "completed"}
    first, _ = world.api.job(job)["attempts"]
    assert (first["outcome"], first["failure"]["code"]) == ("lost", "TRAINER_LOST")
    check(world.truth(), world.database.rows()).raise_if_any()


@contextmanager
def _stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with any of this."""
    with subprocess.Popen([sys.executable, "-c", STRANGER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def _give_up(world: World, job: int) -> None:
    """As if its end had been seen, by a backend that was wrong about it."""
    world.kill()
    world.database.change(f"UPDATE attempts SET ended_at = created_at WHERE job_id = {job}")
    world.database.change(f"UPDATE jobs SET status = 'pending', not_before = NULL WHERE id = {job}")
    world.start()


def _report(environment: dict[str, str], events: list[dict[str, object]]) -> int:
    """What a program with the attempt's own token is told."""
    headers = {"Authorization": f"Bearer {environment['INTERNAL_AUTH_TOKEN']}"}
    body = {"attempt": int(environment["ATTEMPT"]), "instance": "a" * 32, "events": events}
    url = f"{environment['CALLBACK_URL']}/events"
    return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=10).status_code


def _last_epoch(world: World, job: int) -> int:
    return max((row["epoch"] for row in world.api.checkpoints(job) if row["kind"] == "last"), default=0)


def _objects(world: World) -> set[str]:
    bucket = world.data_dir / "storage"
    return {str(path) for path in bucket.rglob("*") if path.is_file()}


def _events(world: World, job: int, attempt: int) -> int:
    where = f"job_id = {job} AND attempt = {attempt} AND source = 'trainer'"
    return len(world.database.select(f"SELECT position FROM events WHERE {where}"))


def _end(world: World, job: int, attempt: int) -> int | None:
    return next((told.end for told in world.truth() if (told.job, told.attempt) == (job, attempt)), None)
