import logging
from pathlib import Path

import pytest

from app.launchers.gpus import visible_gpus


@pytest.mark.parametrize(
    ("named", "gpus"),
    [("", []), ("-1", []), ("0", ["0"]), ("2, 3", ["2", "3"]), ("GPU-8f6a,1", ["GPU-8f6a", "1"]), ("0,-1,1", ["0"])],
)
def test_visible_ones_are_those_that_cuda_would_see(named: str, gpus: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == gpus


def test_none_if_there_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == []


def test_as_the_driver_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_nvidia_smi(tmp_path, monkeypatch, 'test "$1" = --query-gpu=index && printf "0\\n1\\n"')
    assert visible_gpus({}) == ["0", "1"]


def test_said_aloud_if_the_driver_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _put_nvidia_smi(tmp_path, monkeypatch, "echo 'Driver/library version mismatch'; exit 18")
    with caplog.at_level(logging.WARNING):
        assert visible_gpus({}) == []
    assert "SLOTS=gpu:N" in caplog.text


def _put_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
