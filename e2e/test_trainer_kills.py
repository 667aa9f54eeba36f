"""The real trainer is killed in each phase of its work; the next attempt goes on from what was committed."""

import hashlib
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.backend import running_backend
from e2e.conftest import Stack
from e2e.gate import Gate, Hold, Request
from e2e.outbox import Event, find_trainer, kill_when, outbox_of, read_outbox
from e2e.sample import Sample, make_sample
from e2e.stores import minio_settings, s3_server, s3_witness
from e2e.training import submit
from e2e.waiting import eventually

pytestmark = pytest.mark.slow

EPOCHS, SAVE_PERIOD = 9, 3
CHECKPOINT = re.compile(r"checkpoints/job-\d+/attempt-\d+/\d+-([0-9a-f]{12})\.pt")


@dataclass(frozen=True)
class Scene:
    """A platform whose storage lies behind a gate."""

    stack: Stack
    gate: Gate
    dataset_id: str

    def submit(self) -> int:
        return submit(
            self.stack.api,
            SAMPLE_IS_REGISTERED,
            dataset_id=self.dataset_id,
            epochs=EPOCHS,
            save_period=SAVE_PERIOD,
            batch_size=2,
        )

    def kill_held(self, hold: Hold) -> None:
        """Kill the trainer whose request is held."""
        hold.wait()
        find_trainer(self.stack.data_dir).kill()
        hold.over.set()

    def kill_when(self, job_id: int, moment: Any) -> list[Event]:
        outbox = outbox_of(self.stack.data_dir, job_id, 1)
        return kill_when(find_trainer(self.stack.data_dir), outbox, moment)


SAMPLE_IS_REGISTERED = Sample("object_detection", Path(), Path(), Path())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("kills")
    sample = make_sample(sample_folder, "object_detection", images=16)
    with s3_server("us-east-1") as credentials:
        port = urlsplit(credentials["endpoint"]).port
        assert port is not None
        with Gate(port) as gate:
            settings = minio_settings(credentials | {"endpoint": gate.url})
            with running_backend(folder, **settings) as api:
                dataset = api.add_dataset(sample.archive, "digits", "object_detection")
                yield Scene(Stack("minio", api, folder, s3_witness(credentials)), gate, dataset["id"])


def test_training_starts_again_if_it_was_killed_while_it_downloaded(scene: Scene) -> None:
    hold = scene.gate.hold(lambda request: request.method == "GET" and request.path.endswith("/data.zip"))
    job_id = scene.submit()
    hold.wait()
    eventually(lambda: (scene.stack.api.job(job_id)["progress"] or {}).get("phase") == "download", "the download")
    scene.kill_held(hold)

    resumed_from = assert_completed_by_the_second(scene, job_id)
    assert resumed_from == 0


def test_training_goes_on_if_it_was_killed_while_it_trained(scene: Scene) -> None:
    job_id = scene.submit()
    scene.stack.api.wait_for_checkpoint(job_id, "last", SAVE_PERIOD)
    events = scene.kill_when(job_id, trains)

    resumed_from = assert_completed_by_the_second(scene, job_id)
    assert completed_epochs(events) - SAVE_PERIOD <= resumed_from


def test_training_goes_on_if_it_was_killed_while_it_validated(scene: Scene) -> None:
    job_id = scene.submit()
    scene.stack.api.wait_for_checkpoint(job_id, "last", SAVE_PERIOD)
    events = scene.kill_when(job_id, validates)

    resumed_from = assert_completed_by_the_second(scene, job_id)
    assert completed_epochs(events) - SAVE_PERIOD <= resumed_from


def is_part_of_checkpoint(request: Request) -> bool:
    """The second part of the second `last`: some of it is stored already."""
    return "/attempt-1/6-" in request.path and "partNumber=2" in request.path


def is_pointer(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith("/last.json") and b'"epoch":6' in request.body


@pytest.mark.parametrize(
    ("matches", "answered", "pointed_to"),
    [(is_part_of_checkpoint, False, 3), (is_pointer, False, 3), (is_pointer, True, 6)],
    ids=["object half sent", "pointer half sent", "pointer stored and not reported"],
)
def test_training_goes_on_if_it_was_killed_while_it_stored_a_checkpoint(
    scene: Scene, matches: Any, answered: bool, pointed_to: int
) -> None:
    hold = scene.gate.hold(matches, answered=answered)
    job_id = scene.submit()
    hold.wait()
    pointer = json.loads(scene.stack.witness.read(f"checkpoints/job-{job_id}/last.json"))
    scene.kill_held(hold)

    assert pointer["epoch"] == pointed_to
    resumed_from = assert_completed_by_the_second(scene, job_id)
    assert resumed_from == SAVE_PERIOD  # what the platform was told, and no torn or untold one


def test_results_are_finished_if_it_was_killed_while_it_stored_them(scene: Scene) -> None:
    hold = scene.gate.hold(lambda request: request.method == "PUT" and request.path.endswith("/curves.json"))
    job_id = scene.submit()
    scene.kill_held(hold)

    resumed_from = assert_completed_by_the_second(scene, job_id)
    assert resumed_from == EPOCHS
    assert [item["kind"] for item in scene.stack.api.items(f"/api/v1/jobs/{job_id}/artifacts")].count("curves") == 1


def trains(events: list[Event]) -> bool:
    """In the middle of an epoch, after the first `last` was committed."""
    newest = newest_progress(events)
    return newest["phase"] == "train" and newest.get("epoch", 0) > SAVE_PERIOD and not trained(events, newest["epoch"])


def validates(events: list[Event]) -> bool:
    newest = newest_progress(events)
    return newest["phase"] == "validate" and completed_epochs(events) < int(newest["epoch"])


def newest_progress(events: list[Event]) -> Event:
    return next(event for event in reversed(events) if event["type"] == "progress")


def trained(events: list[Event], epoch: int) -> bool:
    metrics = (event for event in events if event["type"] == "metrics" and event["epoch"] == epoch)
    return any("lr" in event["values"] for event in metrics)


def completed_epochs(events: list[Event]) -> int:
    return max((event["epoch"] for event in events if event["type"] == "validation"), default=0)


def assert_completed_by_the_second(scene: Scene, job_id: int) -> int:
    """The epoch that it was resumed from. What holds wherever the first attempt was killed."""
    stack = scene.stack
    job = stack.api.wait_for(job_id, "completed")
    first, second = job["attempts"]
    assert (first["exit_signal"], first["failure"]["code"]) == (signal.SIGKILL, "TRAINER_KILLED")
    assert (second["outcome"], job["failure"]) == ("completed", None)
    resume = second["resume"] or {"epoch": 0, "key": None, "sha256": None}
    history = stack.api.history(job_id)
    assert_resumed_from_the_last_committed(history, resume)
    assert_nothing_is_missing_in(history, outbox_of(stack.data_dir, job_id, 1))
    assert_curves_join(stack, job_id, resume["epoch"])
    assert_stored_checkpoints_are_whole(stack, job_id)
    return int(resume["epoch"])


def assert_resumed_from_the_last_committed(history: list[Event], resume: Event) -> None:
    committed = [
        entry["payload"]
        for entry in history
        if entry["type"] == "checkpoint" and entry["attempt"] == 1 and entry["payload"]["kind"] == "last"
    ]
    newest = committed[-1] if committed else {"epoch": 0, "key": None, "sha256": None}
    assert {name: newest[name] for name in resume} == resume


def assert_nothing_is_missing_in(history: list[Event], outbox: Path) -> None:
    kept = [
        (entry["sequence"], entry["type"])
        for entry in history
        if entry["source"] == "trainer" and entry["attempt"] == 1
    ]
    assert kept == [(event["sequence"], event["type"]) for event in read_outbox(outbox)]


def assert_curves_join(stack: Stack, job_id: int, resumed_from: int) -> None:
    series = stack.api.series(job_id)
    assert {"lr", "train/box_loss", "val/box_loss"} <= set(series)
    for points in series.values():
        assert [point["epoch"] for point in points] == list(range(1, EPOCHS + 1))
        assert [point["attempt"] for point in points] == [1 if epoch <= resumed_from else 2 for epoch in range(1, 10)]
    validations = stack.api.items(f"/api/v1/jobs/{job_id}/validations")
    assert sorted({row["epoch"] for row in validations}) == list(range(1, EPOCHS + 1))


def assert_stored_checkpoints_are_whole(stack: Stack, job_id: int) -> None:
    current = {row["kind"]: row for row in stack.api.checkpoints(job_id)}
    for kind in ("best", "last"):
        pointer = json.loads(stack.witness.read(f"checkpoints/job-{job_id}/{kind}.json"))
        assert {name: current[kind][name] for name in ("key", "sha256", "epoch")}.items() <= pointer.items()
        assert hashlib.sha256(stack.witness.read(pointer["key"])).hexdigest() == pointer["sha256"]
    for key in stack.witness.keys(f"checkpoints/job-{job_id}/attempt-"):
        match = CHECKPOINT.fullmatch(key)
        assert match and hashlib.sha256(stack.witness.read(key)).hexdigest().startswith(match[1])
    assert stack.api.job(job_id)["best"]["epoch"] == current["best"]["epoch"]
