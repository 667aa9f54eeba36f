"""The same training through the platform, seen from outside: the public API and the attempt's work folder."""

from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.bare import FIRST_BATCH, Run, loop_seconds
from benchmarks.scale import Scale
from e2e.api import Api
from e2e.sample import Sample
from e2e.training import submit
from e2e.waiting import eventually

MODEL = "yolo11n"
LONG = 3600.0


def request(scale: Scale) -> dict[str, Any]:
    return {
        "model_name": MODEL,
        "epochs": scale.epochs,
        "image_size": scale.image_size,
        "batch_size": 8,
        "learning_rate": 0.003,
        "seed": 0,
        "max_retries": 0,
        "hyperparameters": {"optimizer": "AdamW", "mosaic": 0.5},
        "save_period": None,  # the trainer's own default: a fair picture of what people get
    }


def train(api: Api, data_dir: Path, sample: Sample, scale: Scale) -> tuple[Run, Path]:
    """The seconds of a completed job, and its args.yaml."""
    job_id = submit(api, sample, **request(scale))
    job = api.wait_for(job_id, "completed", seconds=LONG)
    [attempt] = job["attempts"]
    process = datetime.fromisoformat(attempt["ended_at"]) - datetime.fromisoformat(attempt["launched_at"])
    arguments = _find(data_dir, job_id, "args.yaml")
    return Run(loop=loop_seconds(arguments.parent), process=process.total_seconds()), arguments


def time_of_first_batch(data_dir: Path, job_id: int) -> float:
    """The clock's time when the picture of the first batch was written: right after that batch."""
    return eventually(lambda: _time_of(data_dir, job_id, FIRST_BATCH), f"the first batch of job {job_id}", 600)


def _time_of(data_dir: Path, job_id: int, name: str) -> float | None:
    found = _all(data_dir, job_id, name)
    return found[0].stat().st_mtime if found else None


def _find(data_dir: Path, job_id: int, name: str) -> Path:
    found = _all(data_dir, job_id, name)
    if not found:
        raise SystemExit(f"job {job_id} left no {name} in its work folder")
    return found[0]


def _all(data_dir: Path, job_id: int, name: str) -> list[Path]:
    return sorted((data_dir / f"work/job-{job_id}/attempt-1/work").rglob(name))
