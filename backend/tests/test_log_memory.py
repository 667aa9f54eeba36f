"""However much a trainer prints, the backend and the supervisor stay small, also while somebody reads along."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db import Database
from app.services import attempts
from app.settings import Settings
from tests import factories
from tests.conftest import ACCESS_TOKEN
from tests.launchers.scripted import TRAINERS
from tests.waiting import until

LIMIT_BYTES = 50 * 10**6
BACKEND = Path(__file__).resolve().parents[1]
RANGE_BYTES = 2**20


def peak(pid: int) -> int:
    """The most memory that the process had since `forget_peak`; 0 once it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def backend(settings: Settings) -> Iterator[tuple[int, httpx2.Client]]:
    """A backend in a process of its own; its process id, and a client."""
    database = Database(settings.database)
    with database.write_session() as session:
        factories.dataset(session, id="digits", name="digits")
    database.dispose()
    variables = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "PORT": "0"}
    variables |= {"ACCESS_TOKEN": ACCESS_TOKEN, "TRAINERS_PATH": str(TRAINERS), "SLOTS": "cpu:1", "TICK_SECONDS": "0.2"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(settings.data_dir.parent)} | variables
    with subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=BACKEND, env=environment) as process:
        try:
            until(settings.access_path.exists)
            url = until(lambda: str(json.loads(settings.access_path.read_text())["url"]))
            with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}, timeout=30) as client:
                until(lambda: _is_ready(client))
                yield process.pid, client
        finally:
            process.terminate()


@pytest.mark.parametrize("megabytes", [200, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.timeout(300)
def test_output_costs_little_memory(settings: Settings, megabytes: int) -> None:
    with backend(settings) as (pid, client):
        _read_everything(client, 1, 0)  # what a first request costs is not the log's
        forget_peak(pid)
        before = peak(pid)
        job_id = _submit(client, megabytes)
        supervisor = _follow(client, settings, job_id)
        folder = settings.data_dir / "work" / f"job-{job_id}" / "attempt-1"
        stored = settings.storage_folder / "vision" / f"artifacts/job-{job_id}/attempt-1.log"
        until(stored.exists)
        until(lambda: _is_stored(settings, job_id))
        shutil.rmtree(folder)
        total = _read_everything(client, job_id, 0)
        cost = peak(pid) - before
    assert total > megabytes * 10**6
    assert cost < LIMIT_BYTES, f"{megabytes} MB of output cost the backend {cost / 1e6:.1f} MB"
    assert 0 < supervisor < LIMIT_BYTES, f"the supervisor had {supervisor / 1e6:.1f} MB"
    print(f"{megabytes} MB printed: backend +{cost / 1e6:.1f} MB, supervisor {supervisor / 1e6:.1f} MB")


def _is_ready(client: httpx2.Client) -> bool:
    with suppress(httpx2.HTTPError):
        return client.get("/readyz").status_code == 200
    return False


def _submit(client: httpx2.Client, megabytes: int) -> int:
    request = {"framework": "scripted", "task_type": "object_detection", "model_name": "scripted-n", "gpus": 0}
    request |= {"dataset_id": "digits", "hyperparameters": {"behaviour": "flood", "megabytes": megabytes}}
    answer = client.post("/api/v1/jobs", json=request)
    assert answer.status_code == 201, answer.text
    job_id: int = answer.json()["id"]
    return job_id


def _follow(client: httpx2.Client, settings: Settings, job_id: int) -> int:
    """Read along until the job has completed; the most memory that the supervisor had."""
    most = 0
    identity = settings.data_dir / "work" / f"job-{job_id}" / "attempt-1" / "supervisor.json"

    def completed() -> bool:
        nonlocal most
        if identity.exists():
            most = max(most, peak(json.loads(identity.read_text())["pid"]))
        client.get(f"/api/v1/jobs/{job_id}/logs", params={"tail": 10_000})
        _read_everything(client, job_id, None)
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").json()
        assert job["status"] in ("pending", "starting", "running", "completed"), job
        return bool(job["status"] == "completed")

    until(completed, 240)
    return most


def _read_everything(client: httpx2.Client, job_id: int, offset: int | None) -> int:
    """The end of the log, read by ranges; from its last ten megabytes on where no offset is given."""
    while True:
        params: dict[str, Any] = {"tail": 1} if offset is None else {"offset": offset, "limit": RANGE_BYTES}
        answer = client.get(f"/api/v1/jobs/{job_id}/logs", params=params)
        if answer.status_code == 404:
            return 0
        piece = answer.json()
        if offset is None:
            offset = max(0, piece["total"] - 10 * RANGE_BYTES)
        elif piece["next_offset"] >= piece["total"]:
            return int(piece["total"])
        else:
            offset = piece["next_offset"]


def _is_stored(settings: Settings, job_id: int) -> bool:
    database = Database(settings.database)
    try:
        with database.read_session() as session:
            return attempts.get(session, job_id).log_size is not None
    finally:
        database.dispose()
