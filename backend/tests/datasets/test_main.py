"""The process: its files, its limits, its endings."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.datasets.__main__ import ProgressFile
from app.datasets.run import ARCHIVE, INDEX
from app.datasets.work import Outcome
from app.settings import REPOSITORY
from tests.datasets.imports import Imported, make, prepare, yolo
from tests.tmpfs import small_tmpfs

MIB = 2**20


def start(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.datasets", str(folder)]
    return subprocess.run(command, cwd=REPOSITORY / "backend", capture_output=True, text=True, timeout=60)


def test_outcome_and_version_are_files(tmp_path: Path) -> None:
    prepare(tmp_path / "one", yolo())
    ended = start(tmp_path / "one")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    outcome = Outcome.model_validate_json((tmp_path / "one" / "outcome.json").read_bytes())
    assert Imported(tmp_path / "one", outcome).packed == make(tmp_path / "other", yolo()).packed
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        *("request.json", "upload", "progress.json", "outcome.json", ARCHIVE, INDEX)
    }
    assert json.loads((tmp_path / "one" / "progress.json").read_text())["phase"] == "write"


def test_refusal_is_a_good_end(tmp_path: Path) -> None:
    prepare(tmp_path / "one", yolo(1))
    assert start(tmp_path / "one").returncode == 0
    assert json.loads((tmp_path / "one" / "outcome.json").read_text())["status"] == "refused"


@pytest.mark.parametrize("limit", [16 * MIB, 128 * MIB])
def test_process_fails_with_the_reason_if_it_gets_too_little_memory(limit: int, tmp_path: Path) -> None:
    prepare(tmp_path / "one", yolo(), max_memory_bytes=limit)
    ended = start(tmp_path / "one")
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith("MemoryError: the import needs more memory than it may have")
    assert not (tmp_path / "one" / "outcome.json").exists()


def test_process_fails_with_the_reason_if_the_disk_is_full(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "disk", "160k") as disk:
        prepare(disk / "one", yolo(30))
        ended = start(disk / "one")
    assert (ended.returncode, ended.stderr.strip()) == (1, "No space left on device for the import")


def test_request_that_nobody_can_read_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    ended = start(tmp_path)
    assert ended.returncode == 1
    assert "max_bytes" in ended.stderr


def test_progress_is_told_twice_a_second_and_of_each_phase(tmp_path: Path) -> None:
    now = [0.0]
    progress = ProgressFile(tmp_path / "progress.json", lambda: now[0])
    seen = []
    for at, phase, done in [(0.0, "inspect", 1), (0.1, "inspect", 2), (0.6, "inspect", 3), (0.7, "read", 0)]:
        now[0] = at
        progress(phase, done, 9)  # type: ignore[arg-type]
        seen.append(json.loads((tmp_path / "progress.json").read_text()))
    assert [(told["phase"], told["done"]) for told in seen] == [
        *(("inspect", 1), ("inspect", 1), ("inspect", 3), ("read", 0))
    ]
