"""The launcher and its supervisor with real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.launchers import processes, records
from app.launchers.base import LaunchError, LaunchSpec
from app.launchers.subprocess import PYTHON, SubprocessLauncher
from tests.cgroups import small_cgroup
from tests.launchers.scripted import child_of, gone, make_spec, output, wait_for_end, wait_for_output
from tests.waiting import until

BACKEND = Path(__file__).resolve().parents[2]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[SubprocessLauncher]:
    """Whatever a test leaves running is killed at its end."""
    launcher = SubprocessLauncher(tmp_path)
    yield launcher
    for folder in (tmp_path / "work").glob("job-*/attempt-*"):
        attempt = int(folder.name.removeprefix("attempt-"))
        launcher.stop(1, attempt, None, kill=True)
        until(lambda attempt=attempt: not launcher.observe(1, attempt, None).alive)  # type: ignore[misc]


def test_exit_code_recorded_if_trainer_ends(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    launcher.launch(make_spec(tmp_path, "leave", exit_code=7))
    seen = wait_for_end(launcher)
    assert (seen.exit_code, seen.signal, seen.oom_killed, seen.killed) == (7, None, False, False)
    assert seen.ended_at is not None


def test_signal_recorded_if_trainer_dies_of_one(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    launcher.launch(make_spec(tmp_path, "kill_itself", signal=int(signal.SIGSEGV)))
    seen = wait_for_end(launcher)
    assert (seen.exit_code, seen.signal, seen.killed) == (None, signal.SIGSEGV, False)


def test_alive_in_its_own_session_and_group_if_running(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "wait")
    handle = launcher.launch(spec)
    wait_for_output(spec, "waiting")
    seen = launcher.observe(1, 1, handle)
    assert seen.alive and seen.found and seen.handle == handle
    assert os.getsid(handle["pid"]) == handle["pid"] != os.getsid(0)
    assert os.getpgid(handle["trainer_pid"]) == handle["trainer_pid"]


def test_environment_is_exactly_the_given_one(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "wait")
    handle = launcher.launch(spec)
    wait_for_output(spec, "waiting")
    variables = Path(f"/proc/{handle['trainer_pid']}/environ").read_bytes().decode().rstrip("\0").split("\0")
    assert dict(variable.split("=", 1) for variable in variables) == spec.environment


def test_command_line_holds_no_secret(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    handle = launcher.launch(make_spec(tmp_path, "wait"))
    for pid in (handle["pid"], handle["trainer_pid"]):
        assert b"secret-of-this-attempt" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_nothing_found_if_nothing_was_launched(launcher: SubprocessLauncher) -> None:
    seen = launcher.observe(1, 1, None)
    assert not seen.found and not seen.alive


def test_stops_cleanly_if_asked(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "wait")
    handle = launcher.launch(spec)
    wait_for_output(spec, "waiting")
    launcher.stop(1, 1, handle, kill=False)
    seen = wait_for_end(launcher)
    assert (seen.exit_code, seen.killed) == (3, False)


def test_killed_with_its_children_if_it_ignores_sigterm(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "ignore_term", grace=1)
    handle = launcher.launch(spec)
    wait_for_output(spec, "ignoring SIGTERM")
    launcher.stop(1, 1, handle, kill=False)
    seen = wait_for_end(launcher)
    assert (seen.signal, seen.killed) == (signal.SIGKILL, True)
    assert gone(child_of(spec))() and gone(handle["trainer_pid"])()


def test_killed_at_once_if_told_to_kill(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "ignore_term", grace=3600)
    handle = launcher.launch(spec)
    wait_for_output(spec, "ignoring SIGTERM")
    launcher.stop(1, 1, handle, kill=True)
    seen = wait_for_end(launcher)
    assert (seen.signal, seen.killed) == (signal.SIGKILL, True)
    assert gone(child_of(spec))()


def test_child_left_behind_is_killed_if_trainer_ends(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "leave_child")
    launcher.launch(spec)
    seen = wait_for_end(launcher)
    assert (seen.exit_code, seen.killed) == (0, False)
    assert gone(child_of(spec))()
    assert json.loads((spec.attempt_dir / records.EXIT_FILE).read_text())["leftovers"] == 1


def test_trainer_and_children_end_if_supervisor_is_killed(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "ignore_term")
    handle = launcher.launch(spec)
    wait_for_output(spec, "ignoring SIGTERM")
    os.kill(handle["pid"], signal.SIGKILL)
    until(gone(handle["trainer_pid"]))
    seen = wait_for_end(launcher)
    assert seen.found and (seen.exit_code, seen.signal, seen.ended_at) == (None, None, None)
    until(gone(child_of(spec)))


def test_adopted_if_backend_comes_back(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    """A backend process launches, is killed, and another one finds the trainer without any handle."""
    spec = make_spec(tmp_path, "wait")
    _launch_from_a_process_that_is_killed(spec, tmp_path)
    wait_for_output(spec, "waiting")
    seen = launcher.observe(1, 1, None)
    assert seen.alive and seen.handle is not None
    launcher.stop(1, 1, seen.handle, kill=False)
    assert wait_for_end(launcher).exit_code == 3


def test_refused_if_already_running(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "wait")
    handle = launcher.launch(spec)
    with pytest.raises(LaunchError, match="already has a supervisor"):
        SubprocessLauncher(tmp_path).launch(spec)
    assert launcher.observe(1, 1, handle).alive


def test_one_trainer_if_launched_by_many_at_once(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "wait")
    outcomes: list[str] = []

    def launch() -> None:
        try:
            launcher.launch(spec)
            outcomes.append("launched")
        except LaunchError as error:
            outcomes.append(error.message)

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("launched") == 1
    wait_for_output(spec, "waiting")
    assert output(spec).count("waiting") == 1


def test_refused_if_already_ended(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "leave", exit_code=0)
    launcher.launch(spec)
    wait_for_end(launcher)
    with pytest.raises(LaunchError, match="was already run"):
        launcher.launch(spec)


def test_refused_for_ever_if_barred_before_the_start(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    launcher.stop(1, 1, None, kill=True)
    with pytest.raises(LaunchError, match="was already run"):
        launcher.launch(make_spec(tmp_path, "complete"))
    assert not launcher.observe(1, 1, None).found


def test_alive_if_supervisor_is_just_starting(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    folder = records.attempt_folder(tmp_path, 1, 1)
    folder.mkdir(parents=True)
    lock = records.take_lock(folder)
    assert lock is not None
    assert launcher.observe(1, 1, None).alive
    os.close(lock)
    assert not launcher.observe(1, 1, None).alive


@pytest.mark.parametrize("change", [{"command": ["/nonexistent/python", "train.py"]}, {"folder": Path("/nonexistent")}])
def test_reason_recorded_if_trainer_cannot_start(
    launcher: SubprocessLauncher, tmp_path: Path, change: dict[str, object]
) -> None:
    spec = replace(make_spec(tmp_path, "complete"), **change)  # type: ignore[arg-type]
    with pytest.raises(LaunchError, match=r"cannot start .* No such file or directory"):
        launcher.launch(spec)
    seen = launcher.observe(1, 1, None)
    assert seen.found and not seen.alive and seen.error and "/nonexistent" in seen.error


def test_not_fooled_if_process_id_was_reused(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    """Somebody else has the id: neither taken for our trainer nor signalled."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        started = processes.start_time(stranger.pid)
        assert started is not None
        handle = {"pid": stranger.pid, "started": started - 1, "boot_id": processes.boot_id(), "trainer_pid": 1}
        _write_identity(tmp_path, handle)
        assert not launcher.observe(1, 1, handle).alive
        launcher.stop(1, 1, handle, kill=False)
        launcher.stop(1, 1, handle, kill=True)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_not_alive_if_machine_was_restarted(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    own = {"pid": os.getpid(), "started": processes.start_time(os.getpid()), "trainer_pid": 1}
    _write_identity(tmp_path, own | {"boot_id": "another-boot"})
    assert not launcher.observe(1, 1, None).alive
    _write_identity(tmp_path, own | {"boot_id": processes.boot_id()})
    assert launcher.observe(1, 1, None).alive
    (records.attempt_folder(tmp_path, 1, 1) / records.IDENTITY_FILE).unlink()


def test_output_complete_over_rotated_files_if_it_prints_a_lot(tmp_path: Path) -> None:
    launcher = SubprocessLauncher(tmp_path, segment_bytes=100_000, total_bytes=10_000_000)
    spec = make_spec(tmp_path, "print", lines=20_000)
    launcher.launch(spec)
    assert wait_for_end(launcher).exit_code == 0
    lines = output(spec).splitlines()
    assert lines[1:] == [f"line {number} öß한" for number in range(20_000)]
    paths = sorted((spec.attempt_dir / "log").glob("*.log"))
    assert len(paths) > 2 and max(path.stat().st_size for path in paths) <= 100_000
    starts = [int(path.stem) for path in paths]
    assert starts == [sum(path.stat().st_size for path in paths[:index]) for index in range(len(paths))]


def test_oldest_output_goes_if_total_exceeds_the_limit(tmp_path: Path) -> None:
    launcher = SubprocessLauncher(tmp_path, segment_bytes=10_000, total_bytes=30_000)
    spec = make_spec(tmp_path, "print", lines=10_000)
    launcher.launch(spec)
    wait_for_end(launcher)
    paths = sorted((spec.attempt_dir / "log").glob("*.log"))
    assert sum(path.stat().st_size for path in paths) <= 40_000
    assert int(paths[0].stem) > 0
    assert output(spec).endswith("line 9999 öß한\n")


def test_oom_recorded_if_kernel_kills_for_memory(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    with small_cgroup() as cgroup:
        launcher.launch(make_spec(tmp_path, "exhaust_memory", cgroup=str(cgroup)))
        seen = wait_for_end(launcher)
    assert (seen.signal, seen.oom_killed, seen.killed) == (signal.SIGKILL, True, False)


def test_no_oom_recorded_if_killed_by_somebody(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    launcher.launch(make_spec(tmp_path, "kill_itself", signal=int(signal.SIGKILL)))
    seen = wait_for_end(launcher)
    assert (seen.signal, seen.oom_killed, seen.killed) == (signal.SIGKILL, False, False)


def test_no_oom_recorded_if_the_kernel_killed_a_neighbour(launcher: SubprocessLauncher, tmp_path: Path) -> None:
    with small_cgroup() as cgroup:
        launcher.launch(make_spec(tmp_path, "exhaust_memory_elsewhere", cgroup=str(cgroup)))
        seen = wait_for_end(launcher)
    assert (seen.signal, seen.oom_killed) == (signal.SIGKILL, False)


def test_supervisor_needs_the_standard_library_alone() -> None:
    """-S hides every installed package; the trainer's PYTHON… variables are ignored."""
    done = subprocess.run(
        [*PYTHON, "app.launchers.supervisor", "--help"],
        cwd=BACKEND,
        env={"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _launch_from_a_process_that_is_killed(spec: LaunchSpec, data_dir: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path, PosixPath
from app.launchers.base import LaunchSpec
from app.launchers.subprocess import SubprocessLauncher
SubprocessLauncher(Path({str(data_dir)!r})).launch({spec!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=BACKEND, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _write_identity(data_dir: Path, identity: dict[str, object]) -> None:
    folder = records.attempt_folder(data_dir, 1, 1)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / records.IDENTITY_FILE, identity)
