"""Real trainings: `python train.py` in a process of its own, as a person or a launcher starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from recorder import Recorder

TRAINER = Path(__file__).resolve().parents[1]
DEADLINE = 240.0
ONE_EPOCH = {"EPOCHS": "1", "SEED": "5"}
PLAIN = {"warmup_epochs": 0, "hflip": 0, "color_jitter": 0, "scale_min": 1.0, "label_smoothing": 0}
Event = dict[str, Any]


@dataclass
class Training:
    """A training that ended, and everything that it left behind."""

    exit_code: int
    seconds: float
    output: str
    events: list[Event]
    bucket: Path
    work_dir: Path
    times: dict[str, float] = field(default_factory=dict)

    def of_type(self, *types: str) -> list[Event]:
        return [event for event in self.events if event["type"] in types]

    @property
    def failure(self) -> Event:
        [failed] = [event for event in self.of_type("status") if event["status"] == "failed"]
        assert self.exit_code == 1, self.output
        failure: Event = failed["failure"]
        return failure

    @property
    def losses(self) -> list[float]:
        """Of each epoch that was trained."""
        values = [event["values"] for event in self.of_type("metrics") if "lr" in event["values"]]
        return [value["train/loss"] for value in values]

    @property
    def statuses(self) -> list[str]:
        return [event["status"] for event in self.of_type("status")]

    def pointer(self, kind: str, job: int = 12) -> Event:
        pointer: Event = json.loads((self.bucket / f"checkpoints/job-{job}/{kind}.json").read_text())
        return pointer


def environment_for(folder: Path, **changes: str) -> dict[str, str]:
    """What a launcher would set for a tiny training from scratch, and nothing else of this process' environment."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "JOB_ID": "12",
        "TASK_TYPE": "image_classification",
        "MODEL_NAME": "test_convnext",
        "DATASET_ID": "tiny",
        "EPOCHS": "2",
        "BATCH_SIZE": "4",
        "LEARNING_RATE": "0.003",
        "IMAGE_SIZE": "32",
        "WEIGHTS": "scratch",
        "DEVICE": "cpu",
        "STORAGE_TYPE": "local",
        "STORAGE_PATH": str(folder),
        "STORAGE_BUCKET": "bucket",
        "WORK_DIR": str(folder / f"work-{changes.get('ATTEMPT', '1')}"),
        "CACHE_DIR": str(folder / "cache"),
        **changes,
    }


def train(
    folder: Path,
    environment: Mapping[str, str],
    stop_if: Callable[[list[Event]], bool] | None = None,
    stop: Callable[["subprocess.Popen[str]", Recorder], None] | None = None,
    recorder: Recorder | None = None,
) -> Training:
    """Run to the end. When `stop_if` holds for the events so far, `stop` is called once."""
    backend = recorder or Recorder()
    environment = {**environment, "CALLBACK_URL": backend.url, "INTERNAL_AUTH_TOKEN": "token"}
    started, log = time.monotonic(), folder / "output.txt"
    try:
        with open(log, "w+") as output:
            process = subprocess.Popen(
                [sys.executable, str(TRAINER / "train.py")],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                text=True,
            )
            times = _attend(process, backend, stop_if, stop)
        seconds = time.monotonic() - started
        bucket, work_dir = folder / "bucket", Path(environment["WORK_DIR"])
        return Training(process.returncode, seconds, log.read_text(), backend.events, bucket, work_dir, times)
    finally:
        backend.close()


def train_here(folder: Path, environment: Mapping[str, str]) -> Training:
    """In this process, one after another: importing torch for each would take most of the time. Nothing may stop it."""
    from attempt import Attempt
    from train import parameters_of, read_config
    from train import train as train_it

    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        config = read_config()
        code = Attempt(config, train_it, parameters_of(config)).run()
    lines = (config.work_dir / "outbox.jsonl").read_text().splitlines()
    events = [json.loads(line.partition(" ")[2]) for line in lines]
    return Training(code, time.monotonic() - started, "", events, folder / "bucket", config.work_dir)


def interrupt(process: "subprocess.Popen[str]", backend: Recorder) -> None:
    process.send_signal(signal.SIGTERM)


def kill(process: "subprocess.Popen[str]", backend: Recorder) -> None:
    process.kill()


def ask_to_stop(process: "subprocess.Popen[str]", backend: Recorder) -> None:
    backend.should_stop = True


def _attend(
    process: "subprocess.Popen[str]",
    backend: Recorder,
    stop_if: Callable[[list[Event]], bool] | None,
    stop: Callable[["subprocess.Popen[str]", Recorder], None] | None,
) -> dict[str, float]:
    times: dict[str, float] = {}
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(f"still training after {DEADLINE} s")
        if stop and stop_if and "stopped" not in times and stop_if(backend.events):
            times["stopped"] = time.monotonic()
            stop(process, backend)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    times["ended"] = time.monotonic()
    return times
