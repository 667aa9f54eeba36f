"""`python -m app`: a real process that serves, makes tokens and describes its API."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

from app.db import Database
from app.settings import REPOSITORY
from tests import factories

ENDED_WITHIN = 30.0


def _environment(data_dir: Path, **changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    values = {"DATA_DIR": str(data_dir), "PORT": "0", "SLOTS": "cpu:1", "TRAINERS_PATH": str(data_dir)}
    return kept | {"PYTHONPATH": str(REPOSITORY / "backend"), "PYTHONUNBUFFERED": "1"} | values | changes


def _run(data_dir: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-m", "app", *words], _environment(data_dir, **changes)
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def _serving(data_dir: Path, **changes: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, and what it had printed when it answered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        cwd="/",
        env=_environment(data_dir, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Vision Platform is at"):
                break
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _access(data_dir: Path) -> dict[str, str]:
    access: dict[str, str] = json.loads((data_dir / "access.json").read_text())
    return access


def _status(access: dict[str, str]) -> int:
    headers = {"Authorization": f"Bearer {access['token']}"}
    return httpx.get(f"{access['url']}/api/v1/system", headers=headers, trust_env=False).status_code


def test_first_start_prints_the_token_once_and_the_file_has_the_real_port(tmp_path: Path) -> None:
    with _serving(tmp_path) as (_, lines):
        access = _access(tmp_path)
        assert [line for line in lines if access["token"] in line] == [f"Access token: {access['token']}"]
        assert f"Vision Platform is at {access['url']}" in lines[-1]
        assert stat.S_IMODE((tmp_path / "access.json").stat().st_mode) == 0o600
        assert _status(access) == 200
    with _serving(tmp_path) as (_, lines):
        again = _access(tmp_path)
        assert again["token"] == access["token"]
        assert not any(access["token"] in line for line in lines)
        assert _status(again) == 200


def test_new_token_replaces_the_old_one_while_the_backend_runs(tmp_path: Path) -> None:
    with _serving(tmp_path):
        old = _access(tmp_path)
        assert _run(tmp_path, "token").returncode == 0
        new = _access(tmp_path)
        assert new["url"] == old["url"]
        assert (_status(old), _status(new)) == (401, 200)


def test_end_does_not_wait_for_an_open_stream(tmp_path: Path) -> None:
    with _serving(tmp_path) as (process, _):
        access = _access(tmp_path)
        database = Database(f"sqlite:///{tmp_path / 'vision.sqlite'}")
        with database.write_session() as session:
            job_id = factories.job(session, gpus=1).id
        database.dispose()
        headers = {"Authorization": f"Bearer {access['token']}"}
        url = f"{access['url']}/api/v1/jobs/{job_id}/stream"
        with httpx.stream("GET", url, headers=headers, timeout=ENDED_WITHIN, trust_env=False) as response:
            assert response.status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(ENDED_WITHIN) == 0


def test_start_is_refused_if_the_port_is_taken(tmp_path: Path) -> None:
    with _serving(tmp_path / "first"):
        port = _access(tmp_path / "first")["url"].rpartition(":")[2]
        refused = _run(tmp_path / "second", "serve", PORT=port)
    assert refused.returncode == 1
    assert f"PORT={port} cannot be used: Address already in use" in refused.stderr


def test_start_is_refused_with_every_reason_in_production(tmp_path: Path) -> None:
    refused = _run(tmp_path, "serve", ENVIRONMENT="production", ACCESS_TOKEN="changeme")
    assert refused.returncode == 2
    for name in ("DATABASE_URL", "STORAGE_TYPE=r2", "BACKEND_INTERNAL_URL", "ACCESS_TOKEN is an example value"):
        assert name in refused.stderr
    assert not (tmp_path / "vision.sqlite").exists()


def test_openapi_is_printed_without_touching_anything(tmp_path: Path) -> None:
    printed = _run(tmp_path, "openapi", DATABASE_URL="nonsense", ENVIRONMENT="production")
    assert {"/api/v1/jobs", "/api/v1/datasets"} <= set(json.loads(printed.stdout)["paths"])
    assert list(tmp_path.iterdir()) == []


def test_command_is_refused_if_it_is_unknown(tmp_path: Path) -> None:
    assert _run(tmp_path, "sing").returncode == 2
