"""What a full disk does to the log: lost output is counted, said, and shifts no offset."""

import os
from pathlib import Path

import pytest

from app.launchers.output import RotatedLog


def contents(folder: Path) -> list[tuple[int, bytes]]:
    return [(int(path.stem), path.read_bytes()) for path in sorted(folder.glob("*.log"))]


def test_files_are_named_by_logical_offset(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log", segment_bytes=10, total_bytes=1000)
    for piece in (b"12345678", b"abcdefgh", b"ABCDEFGHIJKLMNOP", b"x"):
        log.write(piece)
    log.close()
    expected = [(0, b"12345678"), (8, b"abcdefgh"), (16, b"ABCDEFGHIJKLMNOP"), (32, b"x")]
    assert contents(tmp_path / "log") == expected


def test_oldest_files_go_if_total_is_exceeded(tmp_path: Path) -> None:
    log = RotatedLog(tmp_path / "log", segment_bytes=10, total_bytes=20)
    for number in range(10):
        log.write(b"%010d" % number)
    log.close()
    assert [start for start, _ in contents(tmp_path / "log")] == [70, 80, 90]


def test_loss_is_said_once_there_is_space_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RotatedLog(tmp_path / "log", segment_bytes=1000, total_bytes=1000)
    log.write(b"before\n")
    with monkeypatch.context() as full:
        full.setattr(os, "write", _no_space)
        log.write(b"lost\n")
        log.write(b"lost too\n")
    log.write(b"after\n")
    log.close()
    said = b"\n[14 bytes of output were lost: the disk was full]\n"
    assert contents(tmp_path / "log") == [(0, b"before\n" + said + b"after\n")]


def _no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")
