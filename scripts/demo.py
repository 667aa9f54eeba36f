"""`make demo`: starts the platform, makes a dataset of real handwriting, trains a detector and shows what it learned.

Everything goes through the public API, as a person would do it with the `vision` command. Nothing is prepared
beforehand: the model starts from random weights, and the demo fails when it has not learned.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from run_platform import REPOSITORY, Choices, Platform, StartError, read_choices, refuse_taken_ports, why_not
from vision_client import formatting, imports
from vision_client.access import find_access
from vision_client.api import Client
from vision_client.archive import dataset_archive
from vision_client.cli.common import byte_bars
from vision_client.drawing import annotate, save
from vision_client.errors import ApiError, VisionError
from vision_client.models import HistoryEntry, Import, Job, Validation
from vision_client.output import note, say, terminal
from vision_client.view import View, headlines
from vision_client.watch import PlainScreen, Screen, live_screen, watch

NAME = "digits"
IMAGES, CANVAS, CLASSES = 320, 160, 3
NEEDED_MAP50 = 0.9
ANY_HOST = {"0.0.0.0", "::"}
READY_SECONDS = 90.0
CANCEL_SECONDS = 60.0
POLL_SECONDS = 0.2
TRAINING: dict[str, Any] = {
    "name": "demo: three handwritten digits",
    "framework": "ultralytics",
    "task_type": "object_detection",
    "model_name": "yolo11n",
    "weights": "scratch",
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 0.003,
    "image_size": 128,
    "seed": 0,
    "hyperparameters": {"optimizer": "AdamW", "mosaic": 0.5},
}


class DemoFailed(Exception):
    """The demo did not show what it promises; the message says what happened."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the platform at the end instead of staying up")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where a script started us with it ignored
        signal.signal(number, _interrupt)
    try:
        with running_platform() as (client, platform):
            job, image = show(client, platform)
            _try_next(job, image, stays=not options.once or platform is None)
            if not options.once:
                _stay(platform)
        return 0
    except (KeyboardInterrupt, BrokenPipeError):
        with suppress(OSError):
            note("The demo was stopped.")
        return 130
    except (DemoFailed, VisionError, StartError) as error:
        for line in error.lines() if isinstance(error, ApiError) else [str(error)]:
            note(f"demo: {line}", style="red")
        return 1


def show(client: Client, platform: Platform | None) -> tuple[Job, Path]:
    """The whole story: the job and the held-out image. Raises DemoFailed unless the model has learned."""
    _step(2, "making a dataset: scikit-learn's handwritten digits on canvases")
    image, folder = sample_dataset(_demo_folder())
    _step(3, "registering it")
    dataset = register(client, folder)
    _step(4, f"training {TRAINING['model_name']} from random weights")
    job = train(client, platform, dataset)
    metrics = kept_metrics(client, job)
    _step(5, "predicting on an image that was not trained on")
    picture = predict(client, job, image)
    report(client, job, metrics, picture)
    map50 = metrics.get("mAP50") or 0.0
    if map50 < NEEDED_MAP50:
        raise DemoFailed(f"the model reached mAP50 {map50:.3f}; at least {NEEDED_MAP50} was expected")
    return job, image


@contextmanager
def running_platform() -> Iterator[tuple[Client, Platform | None]]:
    """The platform that already runs on this data, left running, or one of our own, ended at the end."""
    choices = read_choices(os.environ)
    access_file = choices.data_dir / "access.json"
    running = _running_client(access_file)
    if running:
        _step(1, f"the platform is already running at {running.url}")
        with running:
            yield running, None
        return
    choices = _free_ports(choices)
    refuse_taken_ports(choices)
    platform = Platform(choices)
    try:
        _step(1, f"starting the platform; its data is in {choices.data_dir}")
        platform.start()
        with _wait_until_ready(platform, access_file) as client:
            yield client, platform
    finally:
        platform.stop()


def sample_dataset(folder: Path) -> tuple[Path, Path]:
    """The held-out image and the dataset's folder, made once."""
    target, description = folder / NAME, folder / f"{NAME}.json"
    if not description.is_file():
        shutil.rmtree(target, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        sizes = ["--images", str(IMAGES), "--canvas", str(CANVAS), "--classes", str(CLASSES), "--seed", "0"]
        command = [f"{REPOSITORY}/samples/.venv/bin/python", "-m", "digits", "--task", TRAINING["task_type"], *sizes]
        command += ["--out", str(target)]
        made = subprocess.run(command, cwd=REPOSITORY / "samples", stdout=subprocess.PIPE, check=False)
        if made.returncode:
            raise DemoFailed(f"samples could not make the dataset (exit code {made.returncode})")
        description.write_bytes(made.stdout)  # last: without it the folder is made anew
    return Path(json.loads(description.read_text(encoding="utf-8"))["test_image"]), target


def register(client: Client, folder: Path) -> Import:
    with byte_bars() as start, dataset_archive(folder, start) as archive:
        advance = start("uploading", archive.stat().st_size)
        brought = imports.bring(client, archive, {"name": NAME, "task_type": TRAINING["task_type"]}, advance)
    version = client.dataset_version(NAME, brought.version or 1)
    counts = ", ".join(f"{count} {split}" for split, count in version.counts["images"].items())
    state = "registered" if brought.is_new else "registered before"
    say(f"    {NAME!r} version {version.version}, {state}: {counts} images")
    return brought


def train(client: Client, platform: Platform | None, dataset: Import) -> Job:
    """Submits the job and shows the live display until it has ended; raises DemoFailed unless it completed."""
    wanted = {**TRAINING, "dataset_id": dataset.dataset_id, "dataset_version": dataset.version}
    job = client.create_job(wanted)
    try:
        job = _watch(client, platform, job)
    except (KeyboardInterrupt, OSError):  # OSError: the terminal or pipe that showed it is gone
        _cancel(client, job)
        raise
    if job.status != "completed":
        failure = f" with {job.failure.code}: {job.failure.message}" if job.failure else ""
        log = "".join(f"\n    {line}" for line in client.logs(job.id, tail=20).text.splitlines())
        raise DemoFailed(f"job {job.id} {job.status}{failure}{log}")
    return job


def kept_metrics(client: Client, job: Job) -> dict[str, float | None]:
    """What the kept (best) checkpoint reached on the validation images."""
    validations: dict[int, Validation] = {found.epoch: found for found in client.validations(job.id)}
    if job.best is None or job.best.epoch not in validations:
        raise DemoFailed(f"job {job.id} completed without a validation of its best epoch")
    kept = validations[job.best.epoch]
    return headlines(kept.metrics, kept.primary)


def predict(client: Client, job: Job, image: Path) -> Path:
    prediction = client.predict(job.id, image)
    picture = _demo_folder() / f"prediction-job-{job.id}.png"
    save(annotate(image, prediction.result), picture)
    seen = ", ".join(f"{one.class_name} ({one.confidence:.2f})" for one in prediction.result.predictions)
    say(f"    seen: {seen or 'nothing'}")
    return picture


def report(client: Client, job: Job, metrics: dict[str, float | None], picture: Path) -> None:
    system = client.system()
    assert job.best is not None
    lines = {
        "job": f"{job.id} {job.status} after {formatting.between(job.started_at, job.ended_at)}",
        "metrics": f"{formatting.scores(metrics)} (epoch {job.best.epoch}, on validation images)",
        "checkpoint": _checkpoint(client, job),
        "picture": str(picture),
        "API docs": system.docs_url or f"{client.url}/docs",
        "MLflow": job.mlflow_url or system.mlflow_url or "not running",
    }
    say("")
    for label, value in lines.items():
        say(f"  {label:11} {value}")


def _checkpoint(client: Client, job: Job) -> str:
    """Its file where the storage is the embedded folder, else its key."""
    best = next(found for found in client.checkpoints(job.id) if found.kind == "best" and found.current)
    file = _data_dir() / "storage" / os.environ.get("STORAGE_BUCKET", "vision") / best.key
    return f"{file if file.is_file() else f'{best.key} in storage'} ({formatting.size(best.size)})"


def _try_next(job: Job, image: Path, *, stays: bool) -> None:
    say("\nTry next:" if stays else "\nTry next, after `make run` in another terminal:")
    if _data_dir() != REPOSITORY / "var":
        say(f"  export VISION_ACCESS_FILE={_data_dir() / 'access.json'}")
    for command in (
        "./vision status",
        f"./vision job {job.id}",
        f"./vision checkpoints {job.id} --download best",
        f"./vision predict {_short(image)} --job {job.id} --save seen.png",
        f"./vision train --dataset {NAME} --model yolov8n --weights scratch --epochs 3 --image-size 128 --watch",
    ):
        say(f"  {command}")


def _watch(client: Client, platform: Platform | None, job: Job) -> Job:
    view = View(job)
    if not sys.stdout.isatty():
        return watch(client, job, _Guarded(PlainScreen(), platform), view)
    with live_screen(view, terminal()) as screen:
        return watch(client, job, _Guarded(screen, platform), view)


class _Guarded:
    """A screen that gives up when our own backend has ended: nothing would ever arrive."""

    def __init__(self, screen: Screen, platform: Platform | None) -> None:
        self._screen = screen
        self._platform = platform

    def update(self, view: View, entry: HistoryEntry | None) -> None:
        self._screen.update(view, entry)
        _refuse_dead_backend(self._platform)


def _cancel(client: Client, job: Job) -> None:
    """A demo that is stopped leaves no training behind."""
    client.cancel_job(job.id)
    with suppress(OSError):
        note(f"Job {job.id} is being stopped first; Ctrl-C again leaves it.")
    deadline = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < deadline and not client.job(job.id).ended:
        time.sleep(POLL_SECONDS)


def _stay(platform: Platform | None) -> None:
    if platform is None:
        return
    say("\nThe platform stays up. Ctrl-C ends it.")
    try:
        while True:
            _refuse_dead_backend(platform)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        note("Stopping the platform; the data stays in var/ and `make run` starts it again.")


def _refuse_dead_backend(platform: Platform | None) -> None:
    code = platform.check() if platform else None
    if code is not None:
        raise DemoFailed(f"the backend ended by itself with exit code {code}")


def _wait_until_ready(platform: Platform, access_file: Path) -> Client:
    host = platform.choices.host
    url = f"http://{'127.0.0.1' if host in ANY_HOST else host}:{platform.choices.port}"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        _refuse_dead_backend(platform)
        client = _running_client(access_file, url)
        if client:
            return client
        time.sleep(POLL_SECONDS)
    raise DemoFailed(f"the platform was not ready at {url} after {READY_SECONDS:.0f} s")


def _running_client(access_file: Path, url: str | None = None) -> Client | None:
    """A client of the platform that this file opens, where it runs and is ready."""
    try:
        access = find_access({"VISION_ACCESS_FILE": str(access_file)})
    except VisionError:
        return None
    client = Client(url or access.url, access.token)
    try:
        if client.is_ready() and client.system():
            return client
    except VisionError:
        pass  # nobody, or another platform, answers there
    client.close()
    return None


def _free_ports(choices: Choices) -> Choices:
    """Another port where the default one is taken; a port that was asked for stays."""
    if "PORT" not in os.environ and why_not(choices.host, choices.port):
        choices = dataclasses.replace(choices, port=_free_port(choices.host))
    if choices.starts_mlflow and "MLFLOW_PORT" not in os.environ and why_not("127.0.0.1", choices.mlflow_port):
        port = _free_port("127.0.0.1")
        choices = dataclasses.replace(choices, mlflow_port=port, mlflow_uri=f"http://127.0.0.1:{port}")
    return choices


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _data_dir() -> Path:
    return read_choices(os.environ).data_dir


def _demo_folder() -> Path:
    return _data_dir() / "demo"


def _short(path: Path) -> str:
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def _step(number: int, words: str) -> None:
    say(f"[{number}/5] {words}")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
