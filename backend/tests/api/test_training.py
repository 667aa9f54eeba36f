"""Jobs over HTTP: submit, list, follow, cancel, retry, and what they learned."""

import json
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.context import Platform
from app.models import Job, Metric
from app.services import events, jobs
from app.words import JobStatus, Trigger
from tests import factories, sse
from tests.factories import INSTANCE, event

REQUEST = {
    "framework": "ultralytics",
    "task_type": "object_detection",
    "model_name": "yolo11n",
    "weights": "scratch",
    "epochs": 2,
}


@pytest.fixture
def job_id(platform: Platform) -> int:
    """A starting job with attempt 1."""
    with platform.database.write_session() as session:
        return factories.attempt(session).job_id


def report(platform: Platform, job_id: int, *reports: dict[str, Any], attempt: int = 1) -> None:
    with platform.database.write_session() as session:
        events.ingest(session, job_id, attempt, f"{INSTANCE}-{attempt}", reports, factories.NOW)


def add_job(platform: Platform, **fields: Any) -> int:
    with platform.database.write_session() as session:
        return factories.job(session, **fields).id


def add_dataset(platform: Platform) -> str:
    with platform.database.write_session() as session:
        return factories.dataset(session).id


def test_weights_must_be_in_storage(client: TestClient, platform: Platform) -> None:
    request = REQUEST | {"dataset_id": add_dataset(platform), "weights": "weights/mine.pt"}
    answer = client.post("/api/v1/jobs", json=request | {"gpus": 7})
    problems = answer.json()["error"]["details"]["fields"]
    assert [problem["field"] for problem in problems] == ["weights", "gpus"]
    assert "is not in storage" in problems[0]["message"]
    platform.storage.put_bytes("weights/mine.pt", b"x")
    assert client.post("/api/v1/jobs", json=request).status_code == 201


def test_weights_are_the_trainers_matter_if_the_storage_is_away(client: TestClient, platform: Platform) -> None:
    bucket = platform.settings.storage_folder
    bucket.rename(bucket.with_name("away"))
    bucket.write_text("not a folder")
    request = REQUEST | {"dataset_id": add_dataset(platform), "weights": "weights/mine.pt"}
    assert client.post("/api/v1/jobs", json=request).status_code == 201


def test_stores_a_pending_job_if_the_request_is_good(client: TestClient, platform: Platform) -> None:
    dataset_id = add_dataset(platform)
    response = client.post("/api/v1/jobs", json=REQUEST | {"dataset_id": dataset_id, "hyperparameters": {}})
    job = response.json()
    assert response.status_code == 201, response.text
    assert (job["status"], job["attempt"], job["dataset_version"], job["config"]["epochs"]) == ("pending", 0, 1, 2)
    assert client.get(f"/api/v1/jobs/{job['id']}").json() == job | {"attempts": []}
    [entry] = client.get(f"/api/v1/jobs/{job['id']}/timeline").json()["items"]
    assert entry["payload"] == {"from": None, "to": "pending", "trigger": "create", "reason": "submitted"}


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("epochs", 0, 0),
        ("epochs", 1.5, 1.5),
        ("epochs", "3", "3"),
        ("epochs", True, True),
        ("batch_size", -1, -1),
        ("learning_rate", float("nan"), "nan"),
        ("learning_rate", float("inf"), "inf"),
        ("learning_rate", 0, 0),
        ("task_type", "gossip", "gossip"),
        ("image_size", 31, 31),
        ("seed", 2**40, 2**40),
        ("gpus", -1, -1),
        ("max_retries", None, None),
        ("name", "", ""),
        ("name", "a\x00b", "a\x00b"),
        ("name", "\ud800", "\\ud800"),
        ("mood", "good", "good"),
        ("hyperparameters", [], "[]"),
    ],
)
def test_names_field_and_value_if_one_is_bad(
    client: TestClient, platform: Platform, field: str, value: Any, shown: Any
) -> None:
    body = json.dumps(REQUEST | {"dataset_id": "digits", field: value})
    response = client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["code"] == "INVALID"
    assert [(problem["field"], problem["value"]) for problem in error["details"]["fields"]] == [(field, shown)]
    assert error["details"]["fields"][0]["message"]
    assert client.get("/api/v1/jobs").json()["items"] == []


def test_names_every_field_if_several_are_bad(client: TestClient) -> None:
    response = client.post("/api/v1/jobs", json={"epochs": 0, "batch_size": "many"})
    fields = {problem["field"] for problem in response.json()["error"]["details"]["fields"]}
    assert fields == {"epochs", "batch_size", "framework", "task_type", "model_name", "dataset_id"}


def test_names_the_body_if_it_is_not_json(client: TestClient) -> None:
    response = client.post("/api/v1/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert [problem["field"] for problem in response.json()["error"]["details"]["fields"]] == ["body"]


@pytest.mark.parametrize("path", ["", "/1", "/1/metrics", "/1/validations", "/1/timeline", "/1/stream"])
@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "x"}])
def test_is_refused_if_the_access_token_is_missing(client: TestClient, path: str, headers: dict[str, str]) -> None:
    response = client.get(f"/api/v1/jobs{path}", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("path", ["", "/metrics", "/validations", "/timeline", "/stream"])
def test_is_not_found_if_there_is_no_such_job(client: TestClient, path: str) -> None:
    response = client.get(f"/api/v1/jobs/7{path}")
    assert response.status_code == 404
    assert response.json() == {"error": {"code": "NOT_FOUND", "message": "there is no job 7", "details": {}}}


def test_pages_newest_first_if_there_are_many(client: TestClient, platform: Platform) -> None:
    ids = [add_job(platform) for _ in range(3)]
    first = client.get("/api/v1/jobs", params={"limit": 2}).json()
    second = client.get("/api/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_filters_if_several_statuses_are_given(client: TestClient, platform: Platform) -> None:
    wanted = [add_job(platform, status=status) for status in (JobStatus.FAILED, JobStatus.CANCELLED)]
    add_job(platform, status=JobStatus.COMPLETED)
    found = client.get("/api/v1/jobs", params={"status": ["failed", "cancelled"], "framework": "ultralytics"}).json()
    assert [job["id"] for job in found["items"]] == wanted[::-1]


@pytest.mark.parametrize("query", ["status=gossip", "limit=0", "limit=201", "task_type=x", "cursor=x"])
def test_names_the_parameter_if_it_is_bad(client: TestClient, query: str) -> None:
    response = client.get(f"/api/v1/jobs?{query}")
    assert response.status_code == 422
    [problem] = response.json()["error"]["details"]["fields"]
    assert problem["field"].startswith(query.partition("=")[0])


def test_shows_everything_if_a_job_has_run(client: TestClient, platform: Platform, job_id: int) -> None:
    failure = {"code": "NAN_LOSS", "message": "loss is NaN", "hint": "lower it", "cause": "c"}
    report(platform, job_id, event(1, "status"), event(2, "progress"), event(3, "validation"), event(4, "run"))
    with platform.database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=factories.NOW, reason="test", failure=failure)
    job = client.get(f"/api/v1/jobs/{job_id}").json()
    assert (job["progress"]["epoch"], job["progress"]["eta_seconds"]) == (1, 12.5)
    assert job["best"] == {"metric": "mAP50-95", "value": 0.5, "epoch": 1}
    assert job["failure"] == failure | {"traceback": None}
    assert (job["mlflow_run_id"], job["mlflow_url"]) == ("f" * 32, None)
    assert job["created_at"] == "2026-11-23T10:00:00Z"
    assert [attempt["number"] for attempt in job["attempts"]] == [1]


def test_cancels_at_once_if_pending(client: TestClient, platform: Platform) -> None:
    job_id = add_job(platform)
    assert client.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/api/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/api/v1/jobs/{job_id}/retry").json()["status"] == "pending"


@pytest.mark.parametrize(("status", "action"), [("completed", "cancel"), ("running", "retry"), ("completed", "retry")])
def test_is_a_conflict_if_the_status_does_not_allow_it(
    client: TestClient, platform: Platform, status: str, action: str
) -> None:
    job_id = add_job(platform, status=status)
    response = client.post(f"/api/v1/jobs/{job_id}/{action}")
    assert response.status_code == 409
    assert response.json()["error"]["message"].startswith(f"job {job_id} is {status}; only")


def test_reads_curves_if_named(client: TestClient, platform: Platform, job_id: int) -> None:
    values = {"train/box_loss": 1.5, "val/box_loss": None}
    report(platform, job_id, event(1, values=values), event(2, epoch=2, values={"train/box_loss": 1.0}))
    found = client.get(f"/api/v1/jobs/{job_id}/metrics", params={"name": "train/box_loss"}).json()
    [series] = found["series"]
    assert (series["name"], [point["value"] for point in series["points"]]) == ("train/box_loss", [1.5, 1.0])
    point = {"epoch": 1, "step": None, "value": 1.5, "attempt": 1, "time": "2026-11-23T10:00:00Z"}
    assert series["points"][0] == point
    assert len(client.get(f"/api/v1/jobs/{job_id}/metrics").json()["series"]) == 2


def test_thins_curves_if_there_are_more_points_than_asked(client: TestClient, platform: Platform, job_id: int) -> None:
    common = {"job_id": job_id, "attempt": 1, "name": "loss", "time": factories.NOW}
    with platform.database.write_session() as session:
        session.add_all(Metric(epoch=1, step=step, value=float(step % 7), **common) for step in range(1000))
    [series] = client.get(f"/api/v1/jobs/{job_id}/metrics", params={"max_points": 10}).json()["series"]
    assert len(series["points"]) == 10
    assert (series["points"][0]["step"], series["points"][-1]["step"]) == (0, 999)


def test_reads_validations_if_there_are_some(client: TestClient, platform: Platform, job_id: int) -> None:
    row = {"class_id": 0, "class_name": "zero", "mAP50": 0.5}
    report(platform, job_id, event(1, "validation", per_class=[row], artifact="artifacts/job-1/curves.json"))
    [found] = client.get(f"/api/v1/jobs/{job_id}/validations").json()["items"]
    assert found == {
        "attempt": 1,
        "epoch": 1,
        "primary": {"name": "mAP50-95", "value": 0.5},
        "metrics": {"mAP50": 0.75},
        "per_class": [row],
        "artifact": "artifacts/job-1/curves.json",
        "time": "2026-11-23T10:00:00Z",
    }


def test_timeline_leaves_the_numbers_out(client: TestClient, platform: Platform, job_id: int) -> None:
    report(platform, job_id, event(1, "status"), event(2), event(3, "system"), event(4, "warning"), event(5, "run"))
    entries = client.get(f"/api/v1/jobs/{job_id}/timeline").json()["items"]
    assert [(entry["type"], entry["source"]) for entry in entries] == [
        ("status", "trainer"),
        ("warning", "trainer"),
        ("run", "trainer"),
        ("status", "platform"),
    ]


def read_stream(client: TestClient, job_id: int, last_event_id: int | None = None) -> list[dict[str, Any]]:
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    with client.stream("GET", f"/api/v1/jobs/{job_id}/stream", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(sse.messages(response.iter_lines()))


def end(platform: Platform, job_id: int) -> None:
    with platform.database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=factories.NOW, reason="test")


def test_streams_the_history_if_the_job_has_ended(client: TestClient, platform: Platform, job_id: int) -> None:
    report(platform, job_id, event(1), event(2, "warning"))
    end(platform, job_id)
    messages = read_stream(client, job_id)
    assert [(message["id"], message["event"]) for message in messages] == [
        ("1", "metrics"),
        ("2", "warning"),
        ("3", "status"),
    ]
    assert messages[0]["data"] == {
        "position": 1,
        "time": "2026-11-23T10:00:00Z",
        "attempt": 1,
        "source": "trainer",
        "type": "metrics",
        "sequence": 1,
        "payload": {"epoch": 1, "values": {"train/box_loss": 1.5}},
    }


def test_stream_continues_if_a_last_event_id_is_given(client: TestClient, platform: Platform, job_id: int) -> None:
    report(platform, job_id, *(event(number) for number in range(1, 451)))
    end(platform, job_id)
    first = read_stream(client, job_id)
    assert [message["id"] for message in first] == [str(number) for number in range(1, 452)]
    assert read_stream(client, job_id, last_event_id=449) == first[449:]


def test_stream_has_nothing_more_if_everything_was_seen(client: TestClient, platform: Platform, job_id: int) -> None:
    end(platform, job_id)
    response = client.get(f"/api/v1/jobs/{job_id}/stream", headers={"Last-Event-ID": "1"})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("position", ["-1", "x", "9" * 30])
def test_stream_is_refused_if_the_position_is_invented(client: TestClient, job_id: int, position: str) -> None:
    response = client.get(f"/api/v1/jobs/{job_id}/stream", headers={"Last-Event-ID": position})
    assert response.status_code == 422
    assert response.json()["error"]["details"]["fields"][0]["field"] == "last-event-id"


def test_job_belongs_to_nobody_else(client: TestClient, platform: Platform, job_id: int, now: datetime) -> None:
    other = add_job(platform)
    report(platform, job_id, event(1))
    assert client.get(f"/api/v1/jobs/{other}/metrics").json() == {"series": []}
    with platform.database.read_session() as session:
        assert session.scalar(select(Job.next_position).where(Job.id == other)) == 1


def test_is_gone_if_an_ended_job_is_deleted(client: TestClient, platform: Platform, job_id: int) -> None:
    report(platform, job_id, event(1), event(2, "validation"), event(3, "checkpoint"), event(4, "artifact"))
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 409
    end(platform, job_id)
    response = client.delete(f"/api/v1/jobs/{job_id}")
    assert (response.status_code, response.content) == (204, b"")
    assert client.get(f"/api/v1/jobs/{job_id}").status_code == 404
    with platform.database.read_session() as session:
        assert session.scalars(select(Metric)).all() == []
