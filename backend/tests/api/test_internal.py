"""Trainers over HTTP: their token, their batches, and answers that keep the contract."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from sqlalchemy import select, text

from app.context import Platform
from app.models import Attempt, Event
from app.schemas.events import MAX_BYTES
from tests import factories
from tests.factories import INSTANCE, event

SERVER_THREADS = 40  # anyio's default, which Starlette runs synchronous endpoints on
ANSWER = Draft202012Validator(json.loads((Path(__file__).parents[3] / "contracts" / "answer.schema.json").read_text()))


@pytest.fixture
def job_id(platform: Platform) -> int:
    """A starting job with attempt 1."""
    with platform.database.write_session() as session:
        return factories.attempt(session).job_id


def post(client: TestClient, job_id: int, *events: Any, token: str | None = None, **frame: Any) -> Any:
    """Reports the events as attempt 1; NaN and other things that JSON does not know travel as Python writes them."""
    body = {"attempt": 1, "instance": INSTANCE, "events": list(events)} | frame
    return post_raw(client, job_id, json.dumps(body).encode(), token)


def post_raw(client: TestClient, job_id: int, body: bytes, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token or factories.token(job_id)}", "Content-Type": "application/json"}
    return client.post(f"/internal/training/{job_id}/events", content=body, headers=headers)


def error_of(response: Any, status: int) -> Any:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    return response.json()["error"]


def count_events(platform: Platform) -> int:
    with platform.database.read_session() as session:
        return len(session.scalars(select(Event)).all())


def test_answers_by_the_contract_if_some_are_rejected(client: TestClient, job_id: int) -> None:
    response = post(client, job_id, event(1), event(2, values={"loss": float("nan")}), [3], event(4))
    answer = response.json()
    ANSWER.validate(answer)
    assert response.status_code == 200
    assert (answer["acknowledged"], answer["should_stop"]) == (4, False)
    assert [item["sequence"] for item in answer["rejected"]] == [2, None]


def test_is_a_heartbeat_if_there_are_no_events(client: TestClient, platform: Platform, job_id: int) -> None:
    assert post(client, job_id).json() == {"acknowledged": 0, "rejected": [], "should_stop": False}
    with platform.database.read_session() as session:
        assert session.scalars(select(Attempt)).one().heartbeat_at is not None


def test_says_stop_if_the_job_was_cancelled(client: TestClient, job_id: int) -> None:
    assert client.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "stopping"
    assert post(client, job_id).json()["should_stop"] is True


def test_is_refused_if_there_is_no_token(client: TestClient, job_id: int) -> None:
    body = {"attempt": 1, "instance": INSTANCE, "events": []}
    response = client.post(f"/internal/training/{job_id}/events", json=body, headers={"Authorization": ""})
    assert error_of(response, 401)["code"] == "UNAUTHORIZED"


def test_nothing_is_logged_as_a_failure_if_the_trainer_dies_while_it_reports(
    client: TestClient, job_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [(b"authorization", f"Bearer {factories.token(job_id)}".encode()), (b"content-length", b"100")]
    path = f"/internal/training/{job_id}/events"
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "app": client.app}
    told = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(told)

    async def send(_message: Any) -> None:
        """Nobody is there."""

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


@pytest.mark.parametrize("token", ["wrong", "access-token-of-the-tests"])
def test_is_refused_if_the_token_is_of_no_attempt(
    client: TestClient, platform: Platform, job_id: int, token: str
) -> None:
    assert error_of(post(client, job_id, event(1), token=token), 401)["code"] == "UNAUTHORIZED"
    assert count_events(platform) == 0


def test_is_refused_if_the_token_is_of_another_job(client: TestClient, platform: Platform, job_id: int) -> None:
    with platform.database.write_session() as session:
        other = factories.attempt(session).job_id
    response = post(client, job_id, event(1), token=factories.token(other))
    assert error_of(response, 403)["message"] == f"this token belongs to another job, not to job {job_id}"
    assert count_events(platform) == 0


@pytest.mark.parametrize(("token_of", "claimed"), [(1, 2), (2, 1)])
def test_is_refused_if_the_token_is_of_another_attempt(
    client: TestClient, platform: Platform, job_id: int, token_of: int, claimed: int
) -> None:
    with platform.database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2)
    response = post(client, job_id, event(1), attempt=claimed, token=factories.token(job_id, token_of))
    assert error_of(response, 403)["message"].startswith(f"this token belongs to attempt {token_of} of job {job_id}")
    assert count_events(platform) == 0


def test_is_superseded_if_a_newer_attempt_exists(client: TestClient, platform: Platform, job_id: int) -> None:
    with platform.database.write_session() as session:
        factories.attempt(session, job_id=job_id, number=2)
    assert error_of(post(client, job_id, event(1)), 409)["code"] == "SUPERSEDED"


def test_is_superseded_if_another_process_was_first(client: TestClient, job_id: int) -> None:
    assert post(client, job_id, event(1)).status_code == 200
    assert error_of(post(client, job_id, event(2), instance="instance-2"), 409)["code"] == "SUPERSEDED"


def test_is_refused_if_the_batch_has_too_many_events(client: TestClient, platform: Platform, job_id: int) -> None:
    assert post(client, job_id, *(event(number) for number in range(1, 501))).json()["acknowledged"] == 500
    error = error_of(post(client, job_id, *(event(number) for number in range(501, 1002))), 422)
    assert error["details"]["fields"][0]["field"] == "events"
    assert "at most 500 items" in error["message"]
    assert count_events(platform) == 500


@pytest.mark.parametrize("announced", [True, False])
def test_is_refused_if_the_batch_is_too_large(client: TestClient, job_id: int, announced: bool) -> None:
    body = b" " * (MAX_BYTES + 1)
    headers = {"Authorization": f"Bearer {factories.token(job_id)}"}
    content: Any = body if announced else iter([body[:1000], body[1000:]])
    response = client.post(f"/internal/training/{job_id}/events", content=content, headers=headers)
    assert error_of(response, 413)["code"] == "TOO_LARGE"


def test_is_taken_if_the_batch_is_as_large_as_allowed(client: TestClient, job_id: int) -> None:
    frame = json.dumps({"attempt": 1, "instance": INSTANCE, "events": [event(1)]}).encode()
    assert post_raw(client, job_id, frame.ljust(MAX_BYTES)).json()["acknowledged"] == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, b'{"attempt": ' + b"9" * 5000 + b"}", b"[]", b"null", b'"text"'],
    ids=["empty", "torn", "no text", "deep", "long number", "list", "null", "text"],
)
def test_is_refused_if_the_body_is_not_a_batch(client: TestClient, job_id: int, body: bytes) -> None:
    error = error_of(post_raw(client, job_id, body), 422)
    assert error["code"] == "INVALID"
    assert error["details"]["fields"][0]["field"] == "body"


def test_names_every_problem_if_the_frame_is_wrong(client: TestClient, job_id: int) -> None:
    error = error_of(post(client, job_id, instance="short", attempt=0, events=None, mood="good"), 422)
    assert {field["field"] for field in error["details"]["fields"]} == {"instance", "attempt", "events", "mood"}


@pytest.mark.parametrize("job", ["0", "-1", "x", "9" * 30])
def test_is_refused_if_the_number_is_of_no_job(client: TestClient, job: str) -> None:
    response = client.post(f"/internal/training/{job}/events", content=b"{}", headers={"Authorization": "Bearer x"})
    assert error_of(response, 422)["details"]["fields"][0]["field"] == "job_id"


def test_is_busy_if_the_platform_shuts_down(client: TestClient, platform: Platform, job_id: int) -> None:
    platform.writer.stop()
    assert error_of(post(client, job_id, event(1)), 503)["code"] == "BUSY"


def test_stores_all_if_more_connections_report_than_there_are_threads(client: TestClient, platform: Platform) -> None:
    with platform.database.write_session() as session:
        job_ids = [factories.attempt(session).job_id for _ in range(60)]
    statuses: list[int] = []

    def report(job_id: int) -> None:
        statuses.append(post(client, job_id, event(1), event(2)).status_code)

    with platform.database.write_session() as session:
        session.execute(text("SELECT 1"))  # now nobody else can write, so all of them wait at once
        threads = [threading.Thread(target=report, args=(job_id,)) for job_id in job_ids]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while platform.writer.waiting <= SERVER_THREADS and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert platform.writer.waiting > SERVER_THREADS
        assert client.get(f"/api/v1/jobs/{job_ids[0]}").status_code == 200
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 60
    assert count_events(platform) == 120
