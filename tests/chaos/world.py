"""A platform that may be killed at any instant: real backend processes on one port, and scripted trainers."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import psutil

from chaos.database import Database
from chaos.truth import Told, read_truth
from e2e.api import ENDED, Api
from e2e.backend import BACKEND, PASSED_ON, REPOSITORY, end_trainers, free_port, trainer_processes
from e2e.sample import Sample, make_sample
from e2e.waiting import eventually

TRAINER = Path(__file__).parent / "trainers/trainer-chaos"
REAL_TRAINER = REPOSITORY / "trainer-ultralytics"
START_SECONDS = 60.0
ADOPTED = re.compile(r"adopted attempt (\d+) of job (\d+): process (\d+) lives")


class World:
    """One data folder, one port, one backend process at a time."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data_dir, self.told, self.port = folder / "var", folder / "truth", free_port()
        self.finish = self.told / "finish"
        self.settings = self._settings(folder) | settings
        self.process: subprocess.Popen[bytes] | None = None
        self._api: Api | None = None
        self._log = folder / "backend.log"
        for path in (self.data_dir, self.told, folder / "home"):
            path.mkdir()
        self._dataset = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Database:
        return Database(self.settings.get("DATABASE_URL") or str(self.data_dir / "vision.sqlite"))

    @property
    def api(self) -> Api:
        """The running backend; asks for a token only once, since it is the same after every restart."""
        if self._api is None:
            access = json.loads((self.data_dir / "access.json").read_text())
            self._api = Api(self.url, access["token"])
        return self._api

    def spawn(self, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a backend and do not wait for it."""
        assert self.process is None or self.process.poll() is not None, "one backend at a time"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BACKEND / ".venv/bin/python"), "-m", "app", "serve"],
                cwd=BACKEND,
                env=self.settings | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start(self, **settings: str) -> Api:
        """Start a backend and wait until it works."""
        process = self.spawn(**settings)

        def ready() -> bool:
            assert process.poll() is None, f"The backend ended while starting:\n{self.log()[-4000:]}"
            return self.answers("/readyz")

        try:
            eventually(ready, "the backend", START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None
        return self.api

    def answers(self, path: str = "/healthz") -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}{path}", trust_env=False, timeout=5).is_success
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Nothing of it outlives the test."""
        self.kill()
        end_trainers(self.data_dir)
        if self._api is not None:
            self._api.close()

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def submit(self, epochs: int = 3, max_retries: int = 2, **script: Any) -> int:
        if not self._dataset:
            self._dataset = self.api.add_dataset(_sample().archive, "chaos", "object_detection")["id"]
        request = {"framework": "chaos", "task_type": "object_detection", "model_name": "nothing"}
        limits = {"epochs": epochs, "max_retries": max_retries}
        return self.api.submit(**request, **limits, dataset_id=self._dataset, hyperparameters=script)

    def truth(self) -> list[Told]:
        return read_truth(self.told)

    def status(self, job_id: int) -> str:
        return str(self.api.job(job_id)["status"])

    def wait_until_ended(self, *job_ids: int, seconds: float = 60.0) -> dict[int, str]:
        """The final status of each job."""
        waiting = set(job_ids)

        def ended() -> bool:
            waiting.difference_update([job for job in waiting if self.status(job) in ENDED])
            return not waiting

        eventually(ended, f"the ends of {len(job_ids)} jobs", seconds)
        return {job: self.status(job) for job in job_ids}

    def wait_for_events(self, job_id: int, count: int, attempt: int = 1) -> None:
        """Until the trainer itself says that it emitted that many."""

        eventually(lambda: self.emitted(job_id, attempt) >= count, f"{count} events of job {job_id}", 60)

    def emitted(self, job_id: int, attempt: int = 1) -> int:
        """How many events the attempt surely emitted, by its trainer's own log."""
        logs = self.told.glob(f"job-{job_id}/attempt-{attempt}-*.jsonl")
        return sum(log.read_bytes().count(b'{"done": ') for log in logs)

    def adopted(self, since: int) -> dict[tuple[int, int], int]:
        """(job, attempt) and the supervisor's process id, of those adopted since this place of the log."""
        return {(int(job), int(attempt)): int(pid) for attempt, job, pid in ADOPTED.findall(self.log()[since:])}

    def trainers(self) -> dict[int, psutil.Process]:
        """The living trainers themselves, by job."""
        found = {}
        for process in trainer_processes(self.data_dir):
            with suppress(psutil.Error):
                if process.cmdline()[1:] == ["train.py"]:
                    found[int(process.environ()["JOB_ID"])] = process
        return found

    def supervisor(self, job_id: int, attempt: int = 1) -> int:
        path = self.data_dir / f"work/job-{job_id}/attempt-{attempt}/supervisor.json"
        return int(json.loads(path.read_text())["pid"])

    def send(self, pid: int, number: signal.Signals) -> None:
        """From outside, as a service manager or a person would."""
        os.kill(pid, number)

    def pretend(self, job_id: int, pid: int) -> None:
        """As if the supervisor's process id had been given to another process; its start time stays."""
        path = self.data_dir / f"work/job-{job_id}/attempt-1/supervisor.json"
        identity = json.loads(path.read_text()) | {"pid": pid}
        path.write_text(json.dumps(identity))
        self.database.change(f"UPDATE attempts SET handle = '{json.dumps(identity)}' WHERE job_id = {job_id}")

    def _settings(self, folder: Path) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed_on | {
            "HOME": str(folder / "home"),
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "TRAINERS_PATH": str(_trainers(folder)),
            "TRAINER_ENVIRONMENT": "OMP_NUM_THREADS,CHAOS_TRUTH",
            "CHAOS_TRUTH": str(self.told),
            "OMP_NUM_THREADS": "1",
            "SLOTS": "cpu:10",
            "TICK_SECONDS": "0.2",
            "RETRY_BACKOFF_SECONDS": "0.2",
        }


@contextmanager
def world(folder: Path, **settings: str) -> Iterator[World]:
    """A platform that is not started yet; whatever it left running is killed at the end."""
    made = World(folder, **settings)
    try:
        yield made
    finally:
        made.close()


def _trainers(folder: Path) -> Path:
    """The scripted trainer as a folder of its own, with the real utils.py and the environment it needs."""
    trainer = folder / "trainers" / TRAINER.name
    shutil.copytree(TRAINER, trainer, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REAL_TRAINER / "utils.py", trainer)
    (trainer / ".venv").symlink_to(REAL_TRAINER / ".venv")
    return trainer.parent


@cache
def _sample() -> Sample:
    """Two tiny images, made once."""
    folder = Path(mkdtemp(prefix="chaos-sample-"))
    atexit.register(shutil.rmtree, folder)
    return make_sample(folder, "object_detection", 4, 64)
