"""`make soak`: kill everything at random for as long as wanted, then compare and print one table.

SECONDS (1800), SEED (drawn, and printed) and JOBS at a time (4) come from the environment. The exit code is 1 where an
invariant does not hold.
"""

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from chaos.invariants import ENDED, Verdict, check
from chaos.relay import Relay
from chaos.servers import Postgres, postgres, storage
from chaos.world import World, world
from e2e.waiting import eventually

SECONDS, JOBS = 1800, 4
PAUSES = (0.5, 5.0)  # between two faults
OUTAGES = (0.5, 8.0)  # of storage and database
KINDS = {"backend": 4, "trainer": 4, "supervisor": 2, "storage": 2, "database": 1, "cancel": 1}
ENDINGS = {"complete": 4, "fail": 1}
CALM_SECONDS = 600.0  # for everything to end once nothing is broken any more
SHOWN = 50
RETRIES = 100  # a job never runs out of them
TROUBLE = (httpx.HTTPError, AssertionError, OSError)


@dataclass
class Soak:
    """One run. `expected` are the endings that each job may have."""

    world: World
    relay: Relay
    database: Postgres
    chance: random.Random
    jobs: int
    kills: Counter[str] = field(default_factory=Counter)
    expected: dict[int, frozenset[str]] = field(default_factory=dict)

    def run(self, seconds: float) -> Verdict:
        self.world.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._keep_running()
            self._keep_busy()
            time.sleep(self.chance.uniform(*PAUSES))
            self._break(self.chance.choices(list(KINDS), list(KINDS.values()))[0])
        self._wait_for_calm()
        rows = self.world.database.rows()
        verdict = check(self.world.truth(), rows, self.expected)
        verdict.problems += [f"job {row['id']} is unknown to us" for row in rows.jobs if row["id"] not in self.expected]
        verdict.problems += self._unreadable_checkpoints()
        return verdict

    def statuses(self) -> Counter[str]:
        return Counter(str(row["status"]) for row in self.world.database.rows().jobs)

    def _keep_running(self) -> None:
        """What a service manager does: start a backend that ended."""
        if self.world.process is None or self.world.process.poll() is not None:
            self.world.spawn()

    def _keep_busy(self) -> None:
        with suppress(*TROUBLE):
            listed = self.world.api.items("/api/v1/jobs?limit=200")
            for job in listed:  # a submission whose answer was lost is a job all the same
                self.expected.setdefault(job["id"], self._ending(job["config"]["hyperparameters"]))
            for _ in range(self.jobs - sum(job["status"] not in ENDED for job in listed)):
                self._submit()

    def _submit(self) -> None:
        ending = self.chance.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        script = {"ending": ending, "steps": self.chance.randint(20, 60), "pause": self.chance.uniform(0.01, 0.1)}
        job = self.world.submit(self.chance.randint(2, 8), RETRIES, pace=0.05, **script)
        self.expected[job] = self._ending(script)

    def _ending(self, script: dict[str, object]) -> frozenset[str]:
        return frozenset({"failed" if script["ending"] == "fail" else "completed"})

    def _break(self, kind: str) -> None:
        breaking: dict[str, Callable[[], bool]] = {
            "backend": self._kill_backend,
            "trainer": lambda: self._kill_trainer(supervisor=False),
            "supervisor": lambda: self._kill_trainer(supervisor=True),
            "storage": self._cut_storage,
            "database": self._kill_database,
            "cancel": self._cancel,
        }
        self.kills[kind] += breaking[kind]()

    def _kill_backend(self) -> bool:
        self.world.kill()
        return True

    def _kill_trainer(self, *, supervisor: bool) -> bool:
        with suppress(psutil.Error, OSError, IndexError):
            trainer = self.chance.choice(list(self.world.trainers().values()))
            pid = trainer.ppid() if supervisor else trainer.pid
            self.world.send(pid, signal.SIGKILL)
            return True
        return False

    def _cut_storage(self) -> bool:
        self.relay.cut()
        time.sleep(self.chance.uniform(*OUTAGES))
        self.relay.mend()
        return True

    def _kill_database(self) -> bool:
        self.database.kill()
        time.sleep(self.chance.uniform(*OUTAGES))
        self.database.start()
        return True

    def _cancel(self) -> bool:
        """Cancelling races with the end, so that the job may end as it would have."""
        active = [job for job, ends in self.expected.items() if "cancelled" not in ends]
        with suppress(*TROUBLE, IndexError):
            job = self.chance.choice(active[-self.jobs :])
            self.expected[job] |= {"cancelled"}
            self.world.api.post(f"/api/v1/jobs/{job}/cancel")
            return True
        return False

    def _wait_for_calm(self) -> None:
        """Nothing is broken any more: every job comes to its end by itself."""

        def calm() -> bool:
            self._keep_running()
            with suppress(*TROUBLE):
                listed = self.world.api.items("/api/v1/jobs?limit=200")
                return all(job["status"] in ENDED for job in listed)
            return False

        with suppress(AssertionError):  # what has not ended is told by the verdict
            eventually(calm, "calm", CALM_SECONDS)

    def _unreadable_checkpoints(self) -> list[str]:
        """What is listed always loads, and is what was uploaded."""
        problems = []
        for job in self.expected:
            for row in self.world.api.checkpoints(job):
                data = self.world.api.download(f"/api/v1/jobs/{job}/checkpoints/{row['kind']}")
                if hashlib.sha256(data).hexdigest() != row["sha256"]:
                    problems.append(f"checkpoint {row['kind']} of job {job} is not what was uploaded")
        return problems


def main() -> int:
    seconds = float(os.environ.get("SECONDS", SECONDS))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**31))
    jobs = int(os.environ.get("JOBS", JOBS))
    print(f"soak: seed {seed}, {seconds:g} s, {jobs} jobs at a time (again: make soak SEED={seed})", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-soak-") as folder,
        postgres() as database,
        storage() as (relay, found),
    ):
        settings = found | {"DATABASE_URL": database.url, "SLOTS": f"cpu:{jobs}"}
        with world(Path(folder) / "world", **settings) as platform:
            soak = Soak(platform, relay, database, random.Random(seed), jobs)
            verdict = soak.run(seconds)
            print(table(soak, verdict))
            if verdict.problems:
                kept = Path(tempfile.mkdtemp(prefix="chaos-soak-kept-")) / "backend.log"
                kept.write_text(platform.log())
                print(f"the backend's log is in {kept}")
    return 1 if verdict.problems else 0


def table(soak: Soak, verdict: Verdict) -> str:
    lines = [
        ("killed or cut", _counts(soak.kills)),
        ("jobs", _counts(soak.statuses())),
        ("attempts", str(verdict.attempts)),
        ("events sent", str(verdict.sent)),
        ("events found", f"{verdict.found} (lost {verdict.lost}, duplicates {verdict.duplicates})"),
        ("invariants", f"{len(verdict.problems)} broken:" if verdict.problems else "all hold"),
        *(("", problem) for problem in verdict.problems[:SHOWN]),
    ]
    return "\n".join(f"  {name:<16} {value}" for name, value in lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
