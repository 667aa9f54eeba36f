"""Checkpoints and artifacts over HTTP: listed from the database, streamed from storage."""

import hashlib
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from app.models import Artifact, Checkpoint
from app.words import JobStatus
from tests import factories

WEIGHTS = b"weights" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def job_id(platform: Platform) -> int:
    with platform.database.write_session() as session:
        return factories.job(session, status=JobStatus.COMPLETED).id


def _checkpoint(platform: Platform, job_id: int, epoch: int, **fields: Any) -> str:
    row = {"attempt": 1, "kind": "best", "sha256": SHA256, "size": len(WEIGHTS), "metrics": {"mAP50": 0.5}}
    row |= {"key": f"checkpoints/job-{job_id}/attempt-1/{epoch}-{SHA256[:12]}.pt", "time": factories.NOW}
    with platform.database.write_session() as session:
        stored = Checkpoint(job_id=job_id, epoch=epoch, **row | fields)
        session.add(stored)
        return stored.key


def _artifact(platform: Platform, job_id: int, key: str, data: bytes) -> int:
    platform.storage.put_bytes(key, data)
    row = {"attempt": 1, "kind": "plot", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "epoch": None}
    with platform.database.write_session() as session:
        stored = Artifact(job_id=job_id, key=key, name="a plot", time=factories.NOW, **row)
        session.add(stored)
        session.flush()
        return stored.id


def test_checkpoints_are_listed_with_the_current_one_of_each_kind(
    client: TestClient, platform: Platform, job_id: int
) -> None:
    for epoch, kind in ((1, "best"), (1, "last"), (2, "last")):
        _checkpoint(platform, job_id, epoch, kind=kind)
    items = client.get(f"/api/v1/jobs/{job_id}/checkpoints").json()["items"]
    assert [(item["kind"], item["epoch"], item["current"]) for item in items] == [
        ("last", 2, True),
        ("last", 1, False),
        ("best", 1, True),
    ]
    assert items[0]["metrics"] == {"mAP50": 0.5}


def test_current_checkpoint_is_downloaded_with_its_digest(client: TestClient, platform: Platform, job_id: int) -> None:
    _checkpoint(platform, job_id, 1)
    platform.storage.put_bytes(_checkpoint(platform, job_id, 2), WEIGHTS)
    answer = client.get(f"/api/v1/jobs/{job_id}/checkpoints/best")
    assert answer.content == WEIGHTS
    assert answer.headers["etag"] == f'"{SHA256}"'
    assert answer.headers["content-length"] == str(len(WEIGHTS))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert f'filename="job-{job_id}-best.pt"' in answer.headers["content-disposition"]


def test_checkpoint_is_not_found_before_there_is_one(client: TestClient, job_id: int) -> None:
    answer = client.get(f"/api/v1/jobs/{job_id}/checkpoints/last")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"job {job_id} has no last checkpoint yet"


def test_checkpoint_is_not_found_if_its_object_is_gone(client: TestClient, platform: Platform, job_id: int) -> None:
    key = _checkpoint(platform, job_id, 1)
    answer = client.get(f"/api/v1/jobs/{job_id}/checkpoints/best")
    assert answer.status_code == 404
    assert f"'{key}' is no longer in storage" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["checkpoints/job-999/attempt-1/1-ab.pt", "datasets/ds-1/1/data.zip"])
def test_key_of_another_is_not_handed_out(key: str, client: TestClient, platform: Platform, job_id: int) -> None:
    platform.storage.put_bytes(key, b"not theirs")
    _checkpoint(platform, job_id, 1, key=key)
    assert client.get(f"/api/v1/jobs/{job_id}/checkpoints/best").status_code == 404


def test_kind_is_refused_if_it_is_unknown(client: TestClient, job_id: int) -> None:
    assert client.get(f"/api/v1/jobs/{job_id}/checkpoints/worst").status_code == 422


def test_artifact_is_downloaded_as_a_file_that_no_browser_runs(
    client: TestClient, platform: Platform, job_id: int
) -> None:
    artifact_id = _artifact(platform, job_id, f'artifacts/job-{job_id}/혼동 "행렬".html', b"<script>alert(1)</script>")
    [listed] = client.get(f"/api/v1/jobs/{job_id}/artifacts").json()["items"]
    answer = client.get(f"/api/v1/jobs/{job_id}/artifacts/{artifact_id}")
    assert (listed["id"], listed["name"], listed["size"]) == (artifact_id, "a plot", len(answer.content))
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("attachment; filename=\"__ ____.html\"; filename*=UTF-8''%ED%98%BC")


def test_artifact_of_another_job_is_not_found(client: TestClient, platform: Platform, job_id: int) -> None:
    artifact_id = _artifact(platform, job_id, f"artifacts/job-{job_id}/a.png", b"x")
    assert client.get(f"/api/v1/jobs/{job_id + 1}/artifacts/{artifact_id}").status_code == 404


def test_empty_artifact_is_an_empty_file(client: TestClient, platform: Platform, job_id: int) -> None:
    artifact_id = _artifact(platform, job_id, f"artifacts/job-{job_id}/empty.txt", b"")
    answer = client.get(f"/api/v1/jobs/{job_id}/artifacts/{artifact_id}")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_lists_are_not_found_if_the_job_is_unknown(client: TestClient) -> None:
    for what in ("checkpoints", "artifacts"):
        assert client.get(f"/api/v1/jobs/77/{what}").status_code == 404


def test_job_is_deleted_with_its_objects(client: TestClient, platform: Platform, job_id: int) -> None:
    platform.storage.put_bytes(_checkpoint(platform, job_id, 1), WEIGHTS)
    _artifact(platform, job_id, f"artifacts/job-{job_id}/a.png", b"x")
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert client.get(f"/api/v1/jobs/{job_id}").status_code == 404
    assert [found.key for found in platform.storage.list("")] == ["installation.json"]


def test_job_is_not_deleted_before_its_end(client: TestClient, platform: Platform) -> None:
    with platform.database.write_session() as session:
        running = factories.job(session, status=JobStatus.RUNNING).id
    answer = client.delete(f"/api/v1/jobs/{running}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
