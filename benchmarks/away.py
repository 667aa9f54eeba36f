"""What an absent backend costs the epoch loop: the same loop with it there and away, in turns (A B A B)."""

import json
import os
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.api import Api
from e2e.backend import REPOSITORY, running_backend
from e2e.sample import make_sample
from e2e.waiting import eventually

LOOP = Path(__file__).parent / "epochs.py"
WAITING = Path(__file__).parent / "waiting_trainer"
REAL_TRAINER = REPOSITORY / "trainer-ultralytics"
NOBODY = "http://127.0.0.1:9/internal/training/1"  # the discard port: connections are refused
STEPS, WORK = 400, 100_000
THERE, AWAY = "backend there", "backend away"


def measure(scale: Scale, scratch: Path) -> Report:
    steps = STEPS if scale.epochs > 2 else 20
    samples: dict[str, list[float]] = {THERE: [], AWAY: []}
    with running_backend(scratch, SLOTS=f"cpu:{scale.pairs}", TRAINERS_PATH=str(WAITING)) as api:
        for number, environment in enumerate(_attempts(api, scratch, scale)):
            for name, change in ((THERE, {}), (AWAY, {"CALLBACK_URL": NOBODY})):
                work_dir = scratch / f"{name.replace(' ', '-')}-{number}"
                samples[name] += _train(environment | change, work_dir, scale.epochs, steps, away=name == AWAY)
    return Report(
        name="away",
        title="The epoch loop while the backend is away",
        columns=["side", "epoch s, median", "min", "max", "ratio of medians"],
        rows=[_row(name, found, samples[THERE]) for name, found in samples.items()],
        notes=[f"{scale.pairs} rounds in turns, {scale.epochs} epochs of {steps} steps each, plain Python on one core"],
        settings={"pairs": scale.pairs, "epochs": scale.epochs, "steps": steps, "work": WORK},
        samples=samples,
    )


def _attempts(api: Api, scratch: Path, scale: Scale) -> list[dict[str, str]]:
    """The environment of one attempt a round; its own trainer waits and reports nothing."""
    sample = make_sample(scratch, "object_detection")
    dataset = api.add_dataset(sample.archive, "away", sample.task_type)
    request = {"framework": "waiting", "task_type": sample.task_type, "model_name": "none", "dataset_id": dataset["id"]}
    jobs = [api.submit(**request) for _ in range(scale.pairs)]
    files = [scratch / f"work/job-{job}/attempt-1/work/environment.json" for job in jobs]
    for path in files:
        eventually(path.is_file, f"{path}")
    return [json.loads(path.read_text()) for path in files]


def _train(given: dict[str, str], work_dir: Path, epochs: int, steps: int, *, away: bool) -> list[float]:
    loop = {"EPOCHS": str(epochs), "STEPS": str(steps), "WORK": str(WORK), "WORK_DIR": str(work_dir)}
    paths = {"PYTHONPATH": str(REAL_TRAINER), "PATH": os.environ["PATH"]}
    python = str(REAL_TRAINER / ".venv/bin/python")
    done = subprocess.run([python, str(LOOP)], env=given | loop | paths, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if result["superseded"] or (away and not result["unsent"]):
        raise RuntimeError(f"this run measured something else: {result}\n{done.stderr}")
    seconds: list[float] = result["seconds"]
    return seconds


def _row(name: str, seconds: list[float], there: list[float]) -> list[Cell]:
    return [name, median(seconds), min(seconds), max(seconds), median(seconds) / median(there)]
