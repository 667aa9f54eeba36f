"""Starts what the Procfile names, the backend and an MLflow server beside it, and ends both on Ctrl-C.

    make run                      on http://127.0.0.1:8000, MLflow on port 5000
    make run PORT=8001 MLFLOW_PORT=5001
    make run MLFLOW_TRACKING_URI=http://mlflow.lan:5000      with another MLflow; empty: without any

Not honcho: it ends everything when one process ends, and an MLflow server that fails must not take the platform along.
Standard library alone, so that it runs before anything is installed but Python.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]
STOP_SECONDS = 20.0
POLL_SECONDS = 0.2


class StartError(Exception):
    """The platform cannot start; the message says what to do."""


@dataclass(frozen=True)
class Choices:
    """Where the platform listens and keeps its data."""

    host: str
    port: int
    data_dir: Path
    mlflow_port: int
    mlflow_uri: str
    starts_mlflow: bool

    def environment(self) -> dict[str, str]:
        return {
            "HOST": self.host,
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "MLFLOW_PORT": str(self.mlflow_port),
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
        }


def read_choices(environment: Mapping[str, str], env_file: Path = REPOSITORY / "backend/.env") -> Choices:
    """The environment first, then the backend's own .env, then the defaults."""
    known = {**_read_env_file(env_file), **environment}
    mlflow_port = _port(known, "MLFLOW_PORT", 5000)
    uri = known.get("MLFLOW_TRACKING_URI")
    return Choices(
        host=known.get("HOST") or "127.0.0.1",
        port=_port(known, "PORT", 8000),
        data_dir=(REPOSITORY / (known.get("DATA_DIR") or "var")).resolve(),
        mlflow_port=mlflow_port,
        mlflow_uri=f"http://127.0.0.1:{mlflow_port}" if uri is None else uri,
        starts_mlflow=uri is None,
    )


def refuse_taken_ports(choices: Choices) -> None:
    """Raises StartError that names every port that cannot be used, why, and how to choose another."""
    wanted = [("PORT", choices.host, choices.port)]
    if choices.starts_mlflow:
        wanted.append(("MLFLOW_PORT", "127.0.0.1", choices.mlflow_port))
    refused = [
        f"port {port} cannot be used ({why}); choose another, such as {name}={port + 1}"
        for name, host, port in wanted
        if (why := why_not(host, port))
    ]
    if refused:
        raise StartError("; ".join(refused))


def why_not(host: str, port: int) -> str | None:
    """Why nothing can listen there, such as `Address already in use`; None where it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


class Platform:
    """The processes of the Procfile, each in a session of its own and ended by its own id."""

    def __init__(self, choices: Choices, procfile: Path = REPOSITORY / "Procfile") -> None:
        self.choices = choices
        self.folder = procfile.parent
        self.commands = _read_procfile(procfile)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._start("backend", None)
        if self.choices.starts_mlflow:
            self._start("mlflow", self.mlflow_log)

    @property
    def mlflow_log(self) -> Path:
        return self.choices.data_dir / "mlflow" / "server.log"

    def check(self) -> int | None:
        """The backend's exit code once it has ended. MLflow may end: trainings go on without it."""
        mlflow = self.processes.get("mlflow")
        if mlflow and _has_ended(mlflow):
            code = _end_group(self.processes.pop("mlflow"))
            _say(f"MLflow ended with exit code {code}; the platform goes on. Its log: {self.mlflow_log}")
        backend = self.processes["backend"]
        return _end_group(self.processes.pop("backend")) if _has_ended(backend) else None

    def stop(self) -> None:
        """SIGTERM to each process group, SIGKILL to what is still there after a while."""
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        try:
            while time.monotonic() < deadline and not all(map(_has_ended, self.processes.values())):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            _say("killing what has not ended by itself")
        while self.processes:
            _end_group(self.processes.popitem()[1])

    def _start(self, name: str, log: Path | None) -> None:
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            if log.exists():
                log.replace(log.with_suffix(".previous.log"))  # one is enough, and neither grows for ever
        output = log.open("ab") if log else None
        self.processes[name] = subprocess.Popen(
            ["/bin/sh", "-c", self.commands[name]],
            cwd=self.folder,
            env={**os.environ, **self.choices.environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        if output:
            output.close()


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where a script started us with it ignored
        signal.signal(number, _interrupt)
    choices = read_choices(os.environ)
    refuse_taken_ports(choices)
    platform = Platform(choices)
    try:
        platform.start()
        _say(f"the data is in {choices.data_dir}; Ctrl-C ends the platform")
        if choices.starts_mlflow:
            _say(f"MLflow starts beside it on {choices.mlflow_uri} (about 20 s; nothing waits for it)")
        while (code := platform.check()) is None:
            time.sleep(POLL_SECONDS)
        _say(f"the backend ended by itself with exit code {code}")
        return code or 1
    except KeyboardInterrupt:
        _say("stopping. A training that is running goes on by itself; the next `make run` finds it again")
        return 0
    finally:
        platform.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without collecting its exit code: until then its id, which names the group, belongs to nobody else."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(process: subprocess.Popen[bytes]) -> int:
    """Kills whatever is left of the process's group and returns its exit code."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _read_procfile(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.strip(): command.strip() for name, _, command in lines}


def _read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines, values quoted or not; the backend reads the same file in full."""
    if not path.is_file():
        return {}
    lines = (line.strip().removeprefix("export ") for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _port(known: Mapping[str, str], name: str, default: int) -> int:
    value = known.get(name) or str(default)
    if not value.isdecimal() or int(value) > 65535:
        raise StartError(f"{name}={value!r} is not a port; choose a number from 1 to 65535")
    return int(value)


def _say(line: str) -> None:
    print(f"platform: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StartError as error:
        _say(str(error))
        sys.exit(1)
