"""The runner with small real processes in place of the backend and MLflow."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import run_platform
from run_platform import Platform, StartError, read_choices, refuse_taken_ports
from vision_client import Client, Unreachable, VisionError, find_access

from tests.waiting import wait_for

LOOP = "echo $$ > $DATA_DIR/{name}.pid; while :; do sleep 0.05; done"
SLEEPER = "trap 'touch $DATA_DIR/{name}.ended; exit 0' TERM; " + LOOP
STUBBORN = "trap '' TERM; " + LOOP
LEAVES_A_CHILD = "(trap '' TERM; while :; do sleep 0.05; done) & echo $! > $DATA_DIR/child.pid; exit 3"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    started: list[Platform] = []

    def make(backend: str = SLEEPER, mlflow: str = SLEEPER) -> Platform:
        procfile = tmp_path / "Procfile"
        procfile.write_text(f"backend: {backend.format(name='backend')}\nmlflow: {mlflow.format(name='mlflow')}\n")
        platform = Platform(read_choices({"DATA_DIR": str(tmp_path)}, tmp_path / "none"), procfile)
        started.append(platform)
        platform.start()
        return platform

    yield make
    for platform in started:
        platform.stop()


def pid_of(path: Path) -> int:
    return int(wait_for(lambda: path.read_text().strip() if path.is_file() else None, f"{path.name} to be written"))


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_process_ends_by_its_own_will_if_the_platform_stops(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    platform = start()
    pids = [pid_of(tmp_path / f"{name}.pid") for name in ("backend", "mlflow")]
    assert platform.check() is None
    platform.stop()
    assert not any(map(exists, pids))
    assert all((tmp_path / f"{name}.ended").exists() for name in ("backend", "mlflow"))


def test_process_is_killed_if_it_does_not_end(
    start: Callable[..., Platform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_platform, "STOP_SECONDS", 0.2)
    platform = start(backend=STUBBORN)
    pid = pid_of(tmp_path / "backend.pid")
    platform.stop()
    assert not exists(pid)


def test_platform_goes_on_if_mlflow_fails(start: Callable[..., Platform], capfd: pytest.CaptureFixture[str]) -> None:
    platform = start(mlflow="echo broken; exit 7")
    wait_for(lambda: platform.check() is not None or "mlflow" not in platform.processes, "MLflow to end")
    assert platform.check() is None and "backend" in platform.processes
    assert "MLflow ended with exit code 7" in capfd.readouterr().err
    assert "broken" in platform.mlflow_log.read_text()


def test_what_a_process_left_behind_ends_with_it(start: Callable[..., Platform], tmp_path: Path) -> None:
    platform = start(backend=LEAVES_A_CHILD)
    child = pid_of(tmp_path / "child.pid")
    assert wait_for(platform.check, "the backend to end") == 3
    wait_for(lambda: not _runs(child), "the backend's child to be gone")


def _runs(pid: int) -> bool:
    """A zombie that init has not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_every_taken_port_is_named_with_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
        choices = read_choices({"PORT": str(ports[0]), "MLFLOW_PORT": str(ports[1])}, tmp_path / "none")
        with pytest.raises(StartError) as refused:
            refuse_taken_ports(choices)
    for name, port in zip(("PORT", "MLFLOW_PORT"), ports, strict=True):
        assert f"port {port} cannot be used (Address already in use); choose another, such as {name}={port + 1}" in str(
            refused.value
        )


def test_mlflow_is_not_started_if_another_is_named(tmp_path: Path) -> None:
    choices = read_choices({"MLFLOW_TRACKING_URI": "http://mlflow.lan:5000"}, tmp_path / "none")
    assert not choices.starts_mlflow and choices.environment()["MLFLOW_TRACKING_URI"] == "http://mlflow.lan:5000"
    assert not read_choices({"MLFLOW_TRACKING_URI": ""}, tmp_path / "none").starts_mlflow


def test_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# a remark\nPORT=9001\nexport DATA_DIR='/data here'\n", encoding="utf-8")
    choices = read_choices({}, tmp_path / ".env")
    assert (choices.port, choices.data_dir) == (9001, Path("/data here"))
    assert read_choices({"PORT": "9002"}, tmp_path / ".env").port == 9002


@pytest.mark.parametrize("value", ["many", "-1", "70000"])
def test_refused_if_the_port_is_no_port(value: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"PORT='{value}' is not a port"):
        read_choices({"PORT": value}, tmp_path / "none")


def test_runner_names_the_taken_port_and_exits_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "PORT": str(port), "DATA_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": ""}
        command = [sys.executable, run_platform.__file__]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1 and f"PORT={port + 1}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_real_backend_starts_and_ends_with_the_runner(tmp_path: Path) -> None:
    runner = start_runner(tmp_path, MLFLOW_TRACKING_URI="")
    try:
        with wait_for(lambda: ready_client(tmp_path), "the backend to be ready", 60) as client:
            assert client.system().version
            assert "A training that is running goes on" in end(runner)
            with pytest.raises(Unreachable):
                client.system()
    finally:
        runner.kill()
        runner.communicate()


@pytest.mark.slow
def test_real_mlflow_starts_and_ends_beside_the_backend(tmp_path: Path) -> None:
    port = free_port()
    runner = start_runner(tmp_path, MLFLOW_PORT=str(port))
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), "MLflow to answer", 110)
        with wait_for(lambda: ready_client(tmp_path), "the backend to be ready", 60) as client:
            assert client.system().mlflow_url == f"http://127.0.0.1:{port}"
        end(runner)
        assert not answers(f"http://127.0.0.1:{port}/health")
        assert (tmp_path / "mlflow" / "mlflow.sqlite").is_file()
    finally:
        runner.kill()
        runner.communicate()


def start_runner(data_dir: Path, **settings: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(free_port()), **settings}
    command = [sys.executable, run_platform.__file__]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(runner: subprocess.Popen[str]) -> str:
    """Ctrl-C; returns what was printed."""
    runner.send_signal(signal.SIGINT)
    printed, _ = runner.communicate(timeout=60)
    assert runner.returncode == 0, printed
    return printed


def ready_client(data_dir: Path) -> Client | None:
    try:
        access = find_access({"VISION_ACCESS_FILE": str(data_dir / "access.json")})
        client = Client(access.url, access.token)
        return client if client.is_ready() else None
    except VisionError:
        return None


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
