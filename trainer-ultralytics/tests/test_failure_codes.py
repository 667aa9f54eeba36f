"""Failures that only a real machine produces: a disk that is full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tinysets import store_dataset
from trainings import environment_for, train


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """With less space than one checkpoint takes. Skips the test where nothing can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_disk_full_is_reported_though_nothing_more_can_be_written(tmp_path: Path, small_disk: Path) -> None:
    """The outbox lies on the full disk too: the report of it comes from memory."""
    store_dataset(tmp_path / "bucket", "object_detection")
    training = train(tmp_path, environment_for(tmp_path, WORK_DIR=str(small_disk / "work")))
    assert (training.exit_code, training.statuses[-1]) == (1, "failed"), training.output
    assert training.failure["code"] == "DISK_FULL"
    assert "No space left on device" in training.failure["message"] + training.failure.get("traceback", "")
    assert not (tmp_path / "bucket/checkpoints").exists()
