"""The whole backend, serving: people submit and cancel over HTTP, trainers report over HTTP."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import uvicorn

from app.main import create_app
from app.settings import Settings
from tests import factories
from tests.conftest import ACCESS_TOKEN
from tests.launchers.scripted import TRAINERS
from tests.waiting import until


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx2.Client]:
    """A running server on a free port; signals are far away, so that only should_stop ends a trainer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        changes = {"trainers_path": TRAINERS, "backend_internal_url": url, "stop_flag_seconds": 3600}
        app = create_app(settings.model_copy(update=changes))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started)
        with app.state.platform.database.write_session() as session:
            factories.dataset(session, id="digits", name="digits")
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}, timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join()


def submit(http: httpx2.Client, behaviour: str, **script: Any) -> int:
    request = {
        "framework": "scripted",
        "task_type": "object_detection",
        "model_name": "scripted-n",
        "dataset_id": "digits",
        "hyperparameters": {"behaviour": behaviour} | script,
    }
    answer = http.post("/api/v1/jobs", json=request)
    assert answer.status_code == 201, answer.text
    job_id: int = answer.json()["id"]
    return job_id


def read(http: httpx2.Client, job_id: int) -> dict[str, Any]:
    job: dict[str, Any] = http.get(f"/api/v1/jobs/{job_id}").json()
    return job


def test_completed_with_curves_and_checkpoint_over_http(http: httpx2.Client) -> None:
    job_id = submit(http, "complete")
    until(lambda: read(http, job_id)["status"] == "completed")
    [series] = http.get(f"/api/v1/jobs/{job_id}/metrics").json()["series"]
    assert [point["value"] for point in series["points"]] == [1.0, 0.5]
    assert http.get(f"/api/v1/jobs/{job_id}/checkpoints/best").content == b"weights of epoch 2"
    assert http.get(f"/api/v1/jobs/{job_id}/logs").json()["text"] == "attempt 1 does complete\n"
    [attempt] = read(http, job_id)["attempts"]
    assert attempt["heartbeat_at"] is not None and attempt["outcome"] == "completed"


def test_cancelled_by_should_stop_alone(http: httpx2.Client) -> None:
    job_id = submit(http, "wait")
    until(lambda: read(http, job_id)["status"] == "running")
    assert http.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "stopping"
    until(lambda: read(http, job_id)["status"] == "cancelled")
    [attempt] = read(http, job_id)["attempts"]
    assert (attempt["exit_code"], attempt["exit_signal"], attempt["outcome"]) == (3, None, "stopped")
    types = [entry["type"] for entry in http.get(f"/api/v1/jobs/{job_id}/timeline").json()["items"]]
    assert "stop" not in types
    assert http.get("/readyz").json()["parts"]["reconciler"] is True


def test_second_attempt_reports_over_http_if_the_first_failed(http: httpx2.Client) -> None:
    job_id = submit(http, "fail_once", code="NAN_LOSS")
    until(lambda: read(http, job_id)["status"] == "failed")
    assert read(http, job_id)["failure"]["code"] == "NAN_LOSS"
    http.post(f"/api/v1/jobs/{job_id}/retry")
    until(lambda: read(http, job_id)["status"] == "completed")
    first, second = read(http, job_id)["attempts"]
    assert (first["outcome"], second["outcome"], second["resume"]["epoch"]) == ("failed", "completed", 1)
