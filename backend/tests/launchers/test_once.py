"""Short programs through `run_once`."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.launchers import environment
from app.launchers.base import CompletedRun, LaunchError
from app.launchers.subprocess import PYTHON, SubprocessLauncher
from tests.launchers.scripted import gone
from tests.waiting import until

BACKEND = Path(__file__).resolve().parents[2]
WAIT = """
import os, pathlib, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
pathlib.Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pause()
"""


@pytest.fixture
def launcher(tmp_path: Path) -> SubprocessLauncher:
    return SubprocessLauncher(tmp_path)


def run(launcher: SubprocessLauncher, folder: Path, program: str, timeout: float = 30) -> CompletedRun:
    command = [sys.executable, "-c", program]
    return launcher.run_once(command, folder, environment.allowed(os.environ), folder, timeout)


def pids(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "pids").read_text().split()]


def test_answers_with_code_and_output(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    program = "import os, sys; print('답', os.getcwd()); print('warning', file=sys.stderr); sys.exit(5)"
    done = run(launcher, tmp_path, program)
    assert done == CompletedRun(exit_code=5, stdout=f"답 {tmp_path}\n", stderr_tail="warning\n")


def test_code_says_the_signal_if_it_died_of_one(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    assert run(launcher, tmp_path, "import os; os.kill(os.getpid(), 11)").exit_code == 128 + 11


def test_reason_is_given_if_it_cannot_start(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    done = launcher.run_once(["/nonexistent/python"], tmp_path, environment.allowed(os.environ), tmp_path, 30)
    assert done.exit_code == 127 and "cannot start '/nonexistent/python'" in done.stderr_tail


def test_chatty_program_neither_blocks_nor_fills_memory(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    program = "import sys; sys.stdout.write('o' * 40_000_000); sys.stderr.write('e' * 1_000_000 + 'end')"
    done = run(launcher, tmp_path, program)
    assert (done.exit_code, len(done.stdout)) == (0, 32 * 2**20)
    assert len(done.stderr_tail) == 8 * 2**10 and done.stderr_tail.endswith("end")


def test_ended_with_its_children_if_it_takes_too_long(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    assert run(launcher, tmp_path, WAIT, timeout=5).exit_code is None
    assert all(gone(pid)() for pid in pids(tmp_path))


def test_child_left_behind_is_ended(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    program = WAIT.replace("signal.pause()\n", "").replace("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "")
    assert run(launcher, tmp_path, program).exit_code == 0
    assert all(gone(pid)() for pid in pids(tmp_path))


def test_ends_if_the_backend_is_killed(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from app.launchers.subprocess import SubprocessLauncher
import os, sys
folder = Path({str(tmp_path)!r})
SubprocessLauncher(folder).run_once([sys.executable, "-c", {WAIT!r}], folder, dict(os.environ), folder, 3600)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=BACKEND) as backend:
        until((tmp_path / "pids").exists)
        backend.kill()
    for pid in pids(tmp_path):
        until(gone(pid))


def test_one_at_a_time(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    first = threading.Thread(target=run, args=(launcher, tmp_path, WAIT))
    first.start()
    until((tmp_path / "pids").exists)
    with pytest.raises(LaunchError, match="another program has been running"):
        run(launcher, tmp_path, "print()", timeout=0.1)
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    first.join()
    assert run(launcher, tmp_path, "print()").exit_code == 0


def test_needs_the_standard_library_alone() -> None:
    done = subprocess.run([*PYTHON, "app.launchers.once", "--help"], cwd=BACKEND, env={}, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_long_program_runs_beside_the_short_ones(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    ends, done = threading.Event(), []
    variables, command = environment.allowed(os.environ), [sys.executable, "-c", WAIT]
    long = threading.Thread(
        target=lambda: done.append(launcher.run_until(command, tmp_path, variables, tmp_path, ends.is_set))
    )
    long.start()
    until((tmp_path / "pids").exists)
    (tmp_path / "short").mkdir()
    assert run(launcher, tmp_path / "short", "print()", timeout=20).exit_code == 0
    assert not done
    ends.set()
    long.join(30)
    assert [run.exit_code for run in done] == [None]
    assert all(gone(pid)() for pid in pids(tmp_path))


def test_long_program_is_ended_if_nobody_can_say_whether_to_stop(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    def confused() -> bool:
        if (tmp_path / "pids").exists():
            raise RuntimeError("confused")
        return False

    variables = environment.allowed(os.environ)
    with pytest.raises(RuntimeError, match="confused"):
        launcher.run_until([sys.executable, "-c", WAIT], tmp_path, variables, tmp_path, confused)
    assert all(gone(pid)() for pid in pids(tmp_path))
