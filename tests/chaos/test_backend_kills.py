"""The backend dies by SIGKILL while many jobs report: nothing is lost, nobody starts twice, every job ends right."""

import random
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from chaos.invariants import check
from chaos.world import World, world
from e2e.waiting import eventually

SEED = 20261123
ADOPTION_SECONDS = 10.0
LONGEST_LIFE = 2.5
REPORTS = {"pause": 0.05, "pace": 0.05, "until_told": True, "save": False}


def test_nothing_lost_if_backend_is_killed_while_jobs_report(tmp_path: Path) -> None:
    _survive_kills(tmp_path, kills=3, jobs=4)


@pytest.mark.slow
def test_nothing_lost_if_backend_is_killed_twenty_times_during_ten_jobs(tmp_path: Path) -> None:
    _survive_kills(tmp_path, kills=20, jobs=10)


def _survive_kills(folder: Path, kills: int, jobs: int) -> None:
    chance = random.Random(SEED)
    with world(folder / "world", SLOTS=f"cpu:{jobs}") as platform:
        platform.start()
        expected = _submit(platform, jobs)
        for _ in range(kills):
            platform.kill()
            seen = len(platform.log())
            process = platform.spawn()
            if chance.random() < 0.5:
                _wait_until_adopted(platform, seen)
            with pytest.raises(TimeoutExpired):
                process.wait(chance.uniform(0, LONGEST_LIFE))  # it may die while it starts
        platform.kill()
        seen = len(platform.log())
        platform.start()
        _wait_until_adopted(platform, seen)

        cancelled = next(job for job, ends in expected.items() if ends == {"cancelled"})
        platform.api.post(f"/api/v1/jobs/{cancelled}/cancel")
        platform.wait_until_ended(cancelled)
        platform.finish.touch()
        platform.wait_until_ended(*expected)
        verdict = check(platform.truth(), platform.database.rows(), expected)
        verdict.raise_if_any()
        assert verdict.attempts == jobs and verdict.found == verdict.sent > 100 * jobs / 4


def _submit(platform: World, jobs: int) -> dict[int, frozenset[str]]:
    """Most complete; one each fails for good, vanishes without a retry, and is cancelled."""
    endings = {"fail": "failed", "vanish": "failed", "idle": "cancelled"}
    wanted = [*endings, *["complete"] * (jobs - len(endings))]
    script = [("idle", {"until_told": False})]
    expected = {}
    for ending in wanted:
        job = platform.submit(epochs=1, max_retries=0, ending=ending, **REPORTS | dict(script).get(ending, {}))
        expected[job] = frozenset({endings.get(ending, "completed")})
    for job in expected:
        platform.wait_for_events(job, 3)
    return expected


def _wait_until_adopted(platform: World, seen: int) -> None:
    """Every living trainer, known again by process id, start time and boot id."""
    living = {(job, 1): platform.supervisor(job) for job in platform.trainers()}

    def adopted() -> bool:
        return living.items() <= platform.adopted(seen).items()

    eventually(adopted, f"the adoption of {len(living)} trainers", ADOPTION_SECONDS)
