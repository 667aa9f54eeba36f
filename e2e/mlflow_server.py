"""A real MLflow server: that of tracking/, with one worker, as `make run` starts it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from e2e.backend import REPOSITORY, free_port
from e2e.waiting import eventually

START_SECONDS = 120.0
STOP_SECONDS = 20.0


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its address, once it answers; it ends with the block."""
    folder.mkdir(parents=True)
    port = free_port()
    command = [str(REPOSITORY / "tracking/.venv/bin/mlflow"), "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url), "the MLflow server", START_SECONDS)
        yield url
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
