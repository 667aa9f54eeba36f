from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.context import Platform
from app.models import Attempt
from app.services import attempts
from tests import factories


@pytest.fixture
def log(platform: Platform) -> Path:
    """The log of attempt 1 of job 1, which runs: two lines."""
    with platform.database.write_session() as session:
        job_id = factories.attempt(session).job_id
    assert job_id == 1
    folder = attempts.attempt_dir(platform.settings, job_id, 1) / "log"
    folder.mkdir(parents=True)
    path = folder / f"{0:016d}.log"
    path.write_bytes("epoch 1\n두 번째\n".encode())
    return path


def end(platform: Platform, now: datetime) -> None:
    with platform.database.write_session() as session:
        session.execute(update(Attempt).values(ended_at=now))


def ask(client: TestClient, **params: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/jobs/1/logs", params=params)
    assert answer.status_code == 200, answer.text
    piece: dict[str, Any] = answer.json()
    return piece


def test_last_lines_of_the_newest_attempt_by_default(client: TestClient, log: Path) -> None:
    whole = {"attempt": 1, "offset": 0, "next_offset": 19, "total": 19, "text": "epoch 1\n두 번째\n", "complete": False}
    assert ask(client) == whole
    assert ask(client, tail=1)["text"] == "두 번째\n"


def test_followed_while_it_grows_and_complete_after_the_end(
    client: TestClient, platform: Platform, log: Path, now: datetime
) -> None:
    first = ask(client, offset=0, limit=8)
    assert (first["text"], first["next_offset"]) == ("epoch 1\n", 8)
    with log.open("ab") as file:
        file.write(b"done\n")
    end(platform, now)
    second = ask(client, offset=8, limit=11)
    assert (second["text"], second["complete"]) == ("두 번째\n", False)
    third = ask(client, offset=19)
    assert (third["text"], third["complete"]) == ("done\n", True)
    assert ask(client, offset=24) == third | {"offset": 24, "text": ""}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"tail": 5, "offset": 0}, "tail"),
        ({"tail": -1}, "tail"),
        ({"tail": 10_001}, "tail"),
        ({"offset": -1}, "offset"),
        ({"offset": 20}, "offset"),
        ({"offset": 0, "limit": 0}, "limit"),
        ({"attempt": 0}, "attempt"),
        ({"attempt": "first"}, "attempt"),
    ],
)
def test_refused_naming_the_field_if_a_value_is_wrong(
    client: TestClient, log: Path, params: dict[str, Any], field: str
) -> None:
    answer = client.get("/api/v1/jobs/1/logs", params=params)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]["fields"]] == [field]


@pytest.mark.parametrize(("path", "said"), [("4711/logs", "no job 4711"), ("1/logs?attempt=2", "no attempt 2")])
def test_not_found_says_what_is_missing(client: TestClient, log: Path, path: str, said: str) -> None:
    answer = client.get(f"/api/v1/jobs/{path}")
    assert answer.status_code == 404 and said in answer.json()["error"]["message"]


def test_not_found_if_job_was_never_started(client: TestClient, platform: Platform) -> None:
    with platform.database.write_session() as session:
        factories.job(session)
    answer = client.get("/api/v1/jobs/1/logs")
    assert answer.status_code == 404 and "has not been started yet" in answer.json()["error"]["message"]


def test_not_found_if_log_was_removed(client: TestClient, platform: Platform, log: Path, now: datetime) -> None:
    log.unlink()
    log.parent.rmdir()
    assert ask(client)["text"] == ""
    end(platform, now)
    answer = client.get("/api/v1/jobs/1/logs")
    assert answer.status_code == 404 and "its folder was removed" in answer.json()["error"]["message"]


def test_nothing_without_the_access_token(client: TestClient, log: Path) -> None:
    assert client.get("/api/v1/jobs/1/logs", headers={"Authorization": ""}).status_code == 401
