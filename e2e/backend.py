"""A backend process of its own: its folder, database, storage and a free port. Nothing of it outlives the block."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from e2e.api import Api
from e2e.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[1]
BACKEND = REPOSITORY / "backend"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PASSED_ON = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@contextmanager
def running_backend(data_dir: Path, **settings: str) -> Iterator[Api]:
    """`settings` are environment variables beside the embedded defaults in `data_dir`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        with backend_process(data_dir, **settings) as (api, _process):
            yield api
    finally:
        end_trainers(data_dir)


@contextmanager
def backend_process(data_dir: Path, **settings: str) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """One start of a backend; its trainers live on when it ends, and the next start finds them again."""
    with (data_dir / "backend.log").open("ab") as log:
        process = subprocess.Popen(
            [str(BACKEND / ".venv/bin/python"), "-m", "app", "serve"],
            cwd=BACKEND,
            env=_environment(data_dir) | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with closing(_wait_until_ready(process, data_dir)) as api:
            yield api, process
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trainer_processes(data_dir: Path) -> list[psutil.Process]:
    """The processes that work in this platform's folder: trainers and what they started."""
    return [process for process in psutil.process_iter() if _work_dir(process).startswith(f"{data_dir}/")]


def end_trainers(data_dir: Path) -> None:
    """Kill what a failed test left, supervisors included: they end with their trainer."""
    left = trainer_processes(data_dir)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=STOP_SECONDS)


def _environment(data_dir: Path) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    home = data_dir / "home"
    home.mkdir(exist_ok=True)
    return passed_on | {
        "HOME": str(home),
        "DATA_DIR": str(data_dir),
        "PORT": "0",
        "TICK_SECONDS": "0.2",
        "RETRY_BACKOFF_SECONDS": "0.2",
        "TRAINER_ENVIRONMENT": "OMP_NUM_THREADS",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def _wait_until_ready(process: subprocess.Popen[bytes], data_dir: Path) -> Api:
    """The access file has the address and the token; on a second start it is the old one until this one is up."""

    def ready() -> Api | None:
        assert process.poll() is None, f"The backend ended while starting:\n{_log(data_dir)}"
        with suppress(OSError, httpx.TransportError):
            access = json.loads((data_dir / "access.json").read_text())
            if httpx.get(f"{access['url']}/readyz", trust_env=False).is_success:
                return Api(access["url"], access["token"])
        return None

    try:
        return eventually(ready, "the backend", START_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_log(data_dir)}") from None


def _log(data_dir: Path) -> str:
    return (data_dir / "backend.log").read_text(errors="replace")[-4000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _work_dir(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("WORK_DIR", ""))
    except psutil.Error:
        return ""
