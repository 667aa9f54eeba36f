"""The guard of the hostile tests notices what it is there for."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.guarding import guarded


@pytest.fixture(autouse=True)
def guard() -> None:
    """Here the guard is what is tested."""


def _connect() -> None:
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))


@pytest.mark.parametrize(
    "doing",
    [
        lambda outside: (outside / "x").write_text("x"),
        lambda outside: (outside / "folder").mkdir(),
        lambda outside: os.symlink("target", outside / "link"),
        lambda outside: _connect(),
        lambda outside: subprocess.run(["true"], check=True),
        lambda outside: os.system("true"),
    ],
)
def test_guard_fails_if_something_happens_outside(doing: Callable[[Path], object], tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(AssertionError, match="outside"), guarded(inside):
        doing(tmp_path)


def test_guard_is_silent_if_all_stays_inside(tmp_path: Path) -> None:
    with guarded(tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/x").write_text("x")
        (tmp_path / "folder/x").unlink()
        Path(__file__).read_text()
