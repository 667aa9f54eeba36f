"""The backend is away for half an hour, with every wait of the reporting a hundred times shorter."""

from typing import Any

from chaos.invariants import check
from chaos.world import World

FASTER = 0.01
STEPS_AWAY = 1800  # one a second for half an hour
REPORTS: dict[str, Any] = {"pace": FASTER, "pause": 0.004, "steps": 100}


def test_nothing_lost_if_backend_is_away_for_half_an_hour(world: World) -> None:
    """One trainer works all the time; another dies and a third completes while nobody listens."""
    world.start()
    lasting = world.submit(epochs=1, until_told=True, **REPORTS)
    dying = world.submit(epochs=3, max_retries=1, **REPORTS)
    completing = world.submit(epochs=6, max_retries=0, **REPORTS)
    for job in (lasting, dying, completing):
        world.wait_for_events(job, 20)
    world.kill()
    away = {job: world.emitted(job) for job in (lasting, dying, completing)}

    trainers = world.trainers()
    trainers[dying].kill()
    trainers[completing].wait(60)
    world.wait_for_events(lasting, away[lasting] + STEPS_AWAY)
    world.start()
    world.finish.touch()

    assert set(world.wait_until_ended(*away).values()) == {"completed"}
    verdict = check(world.truth(), world.database.rows())
    verdict.raise_if_any()
    assert (verdict.lost, verdict.duplicates, verdict.attempts) == (0, 0, 4)
    assert world.emitted(completing) > away[completing] + 100
