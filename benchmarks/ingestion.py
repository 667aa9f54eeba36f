"""Events a second through one backend process: 16 connections, batches of 20, every answer after its commit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.api import Api
from e2e.backend import running_backend
from e2e.sample import make_sample
from e2e.stores import postgresql
from e2e.waiting import eventually

CONNECTIONS = 16
BATCH = 20
LOAD = Path(__file__).parent / "load.py"
TRAINER = Path(__file__).parent / "waiting_trainer"


def measure(scale: Scale, scratch: Path) -> Report:
    samples: dict[str, list[float]] = {}
    rows: list[list[Cell]] = []
    for name in ("SQLite", "PostgreSQL"):
        result = _measure_on(name, scale, scratch / name.lower())
        samples[f"{name} latency, s"] = result["latencies"]
        rows.append([name, *_figures(result["latencies"], scale.load_seconds)])
    return Report(
        name="ingestion",
        title="Event ingestion with commits, one backend process",
        columns=["database", "events/s", "batches/s", "p50 ms", "p99 ms", "max ms"],
        rows=rows,
        notes=[
            f"{CONNECTIONS} connections, each a job; {BATCH} events a batch, half progress, half metrics of 4 numbers"
        ],
        settings={"connections": CONNECTIONS, "batch": BATCH, "seconds": scale.load_seconds},
        samples=samples,
    )


def _figures(latencies: list[float], seconds: float) -> list[Cell]:
    count = len(latencies)
    milliseconds = [1000 * latencies[min(count - 1, int(count * share))] for share in (0.5, 0.99, 1.0)]
    return [round(count * BATCH / seconds), round(count / seconds), *(round(value, 1) for value in milliseconds)]


def _measure_on(database: str, scale: Scale, folder: Path) -> dict[str, Any]:
    settings = {"SLOTS": f"cpu:{CONNECTIONS}", "TRAINERS_PATH": str(TRAINER)}
    with _database(database, folder) as url, running_backend(folder, **settings, **url) as api:
        jobs = _start_jobs(api, folder)
        plan = {"targets": [_target(folder, job_id) for job_id in jobs], "batch": BATCH}
        result = _load(plan | {"seconds": scale.load_seconds, "warm_up_seconds": scale.warm_up_seconds})
        for job_id, sent in zip(jobs, result["sent"], strict=True):
            _check_stored(api, job_id, sent)
        return result


@contextmanager
def _database(name: str, folder: Path) -> Iterator[dict[str, str]]:
    folder.mkdir(parents=True)
    with postgresql(folder / "pg") if name == "PostgreSQL" else nullcontext("") as url:
        yield {"DATABASE_URL": url} if url else {}


def _start_jobs(api: Api, folder: Path) -> list[int]:
    """A running attempt for each connection, of a trainer that leaves the reporting to us."""
    sample = make_sample(folder, "object_detection")
    dataset = api.add_dataset(sample.archive, "load", sample.task_type)
    request = {"framework": "waiting", "task_type": sample.task_type, "model_name": "none", "dataset_id": dataset["id"]}
    jobs = [api.submit(**request) for _ in range(CONNECTIONS)]
    for job_id in jobs:
        eventually(_environment_file(folder, job_id).is_file, f"the start of job {job_id}")
    return jobs


def _target(folder: Path, job_id: int) -> dict[str, Any]:
    environment = json.loads(_environment_file(folder, job_id).read_text())
    return {
        "callback_url": environment["CALLBACK_URL"],
        "token": environment["INTERNAL_AUTH_TOKEN"],
        "attempt": int(environment["ATTEMPT"]),
    }


def _environment_file(folder: Path, job_id: int) -> Path:
    return folder / f"work/job-{job_id}/attempt-1/work/environment.json"


def _load(plan: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(LOAD)], input=json.dumps(plan), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"The load failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _check_stored(api: Api, job_id: int, sent: int) -> None:
    """Fast and wrong is not fast: the newest metric must be the last that was acknowledged."""
    series = api.series(job_id)["lr"]
    last = sent - sent % 2
    if abs(series[-1]["value"] * last - 1.0) > 1e-9:
        raise SystemExit(f"job {job_id}: {sent} events were acknowledged, but the newest metric is {series[-1]}")
