"""Trainings that are cancelled, killed or left alone by their backend, and go on from where they were."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from e2e.backend import backend_process, end_trainers, free_port, trainer_processes
from e2e.conftest import Stack, local_stack
from e2e.sample import Sample
from e2e.training import submit

EPOCHS = 12
SAVED = 2


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with local_stack(tmp_path) as stack:
        yield stack


def test_retry_continues_from_the_last_checkpoint_if_cancelled(stack: Stack, detection: Sample) -> None:
    api = stack.api
    job_id = submit(api, detection, epochs=EPOCHS)
    waiting = submit(api, detection, epochs=EPOCHS)
    api.wait_for_checkpoint(job_id, "last", SAVED)
    reason = api.job(waiting)["pending_reason"]
    api.post(f"/api/v1/jobs/{waiting}/cancel")

    api.post(f"/api/v1/jobs/{job_id}/cancel")
    cancelled = api.wait_for(job_id, "cancelled", seconds=60)
    last = api.wait_for_checkpoint(job_id, "last", SAVED)
    api.post(f"/api/v1/jobs/{job_id}/retry")
    completed = api.wait_for(job_id, "completed")

    assert f"job {job_id}" in reason and api.job(waiting)["status"] == "cancelled"
    assert [attempt["outcome"] for attempt in completed["attempts"]] == ["stopped", "completed"]
    assert cancelled["attempts"][0]["exit_code"] == 3, cancelled["attempts"]
    assert last["epoch"] < EPOCHS
    assert completed["attempts"][1]["resume"]["sha256"] == last["sha256"]
    _assert_joined_curve(stack, job_id, last["epoch"])


@pytest.mark.slow
def test_job_is_retried_by_itself_if_its_trainer_is_killed(stack: Stack, detection: Sample) -> None:
    api = stack.api
    job_id = submit(api, detection, epochs=EPOCHS)
    api.wait_for_checkpoint(job_id, "last", SAVED)

    for process in _trainers(stack.data_dir):
        process.send_signal(signal.SIGKILL)
    completed = api.wait_for(job_id, "completed")

    first, second = completed["attempts"]
    assert (first["exit_signal"], first["failure"]["code"]) == (signal.SIGKILL, "TRAINER_KILLED")
    assert second["resume"]["epoch"] >= SAVED
    _assert_joined_curve(stack, job_id, second["resume"]["epoch"])


@pytest.mark.slow
def test_training_goes_on_if_the_backend_is_killed_and_started_again(tmp_path: Path, detection: Sample) -> None:
    port = str(free_port())
    try:
        with backend_process(tmp_path, PORT=port) as (api, process):
            job_id = submit(api, detection, epochs=EPOCHS)
            api.wait_for_checkpoint(job_id, "last", SAVED)
            [trainer] = _trainers(tmp_path)
            process.kill()
            process.wait()
        assert trainer.is_running()

        with backend_process(tmp_path, PORT=port) as (api, _process):
            completed = api.wait_for(job_id, "completed")

        assert [attempt["outcome"] for attempt in completed["attempts"]] == ["completed"]
    finally:
        end_trainers(tmp_path)


def _assert_joined_curve(stack: Stack, job_id: int, resumed_from: int) -> None:
    points = stack.api.series(job_id)["train/box_loss"]
    assert [point["epoch"] for point in points] == list(range(1, EPOCHS + 1))
    assert all(point["attempt"] == (1 if point["epoch"] <= resumed_from else 2) for point in points)


def _trainers(data_dir: Path) -> list[psutil.Process]:
    """The trainers themselves: neither their supervisors nor what they started."""
    return [process for process in trainer_processes(data_dir) if process.cmdline()[1:] == ["train.py"]]
