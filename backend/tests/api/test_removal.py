"""Deleting, restoring and purging over HTTP."""

import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from tests import factories

URL = "/api/v1/datasets"


@pytest.fixture
def dataset_id(platform: Platform) -> str:
    """Two versions with an object each."""
    with platform.database.write_session() as session:
        row = factories.dataset(session, name="digits", highest_version=2)
        factories.dataset_version(session, dataset_id=row.id, version=2, sha256="cd" * 32)
    for number in (1, 2):
        platform.storage.put_bytes(f"datasets/{row.id}/{number}/data.zip", b"zip")
    return row.id


def test_a_dataset_is_deleted_restored_and_purged(client: TestClient, dataset_id: str, platform: Platform) -> None:
    assert client.delete(f"{URL}/digits").status_code == 204
    assert client.get(f"{URL}/digits").status_code == 404
    assert client.get(URL).json()["items"] == []
    deleted = client.get(URL, params={"deleted": True}).json()["items"]
    assert [(item["id"], item["deleted_at"] is None) for item in deleted] == [(dataset_id, False)]
    restored = client.post(f"{URL}/digits/restore")
    assert (restored.status_code, restored.json()["deleted_at"]) == (200, None)
    assert client.post(f"{URL}/digits/purge").status_code == 409
    client.delete(f"{URL}/digits")
    assert client.post(f"{URL}/digits/purge").status_code == 204
    assert client.get(URL, params={"deleted": True}).json()["items"] == []
    assert [found.key for found in platform.storage.list("datasets")] == []


def test_a_version_is_deleted_restored_and_purged(client: TestClient, dataset_id: str, platform: Platform) -> None:
    assert client.delete(f"{URL}/digits/versions/2").status_code == 204
    found = client.get(f"{URL}/digits").json()
    assert (found["latest"]["version"], found["deleted_versions"]) == (1, [2])
    restored = client.post(f"{URL}/digits/versions/2/restore").json()
    assert (restored["latest"]["version"], restored["deleted_versions"]) == (2, [])
    client.delete(f"{URL}/digits/versions/2")
    assert client.post(f"{URL}/digits/versions/2/purge").status_code == 204
    assert client.post(f"{URL}/digits/versions/2/restore").status_code == 404
    assert platform.storage.size(f"datasets/{dataset_id}/2/data.zip") is None
    assert platform.storage.size(f"datasets/{dataset_id}/1/data.zip") == 3


def test_deleting_is_refused_with_the_jobs_if_they_use_it(
    client: TestClient, dataset_id: str, platform: Platform
) -> None:
    with platform.database.write_session() as session:
        job = factories.job(session, dataset_id=dataset_id, dataset_version=2).id
    for path in ("digits", "digits/versions/2"):
        answer = client.delete(f"{URL}/{path}")
        assert (answer.status_code, answer.json()["error"]["details"]) == (409, {"jobs": [job]})
    assert client.delete(f"{URL}/digits/versions/1").status_code == 204


def test_no_job_is_taken_if_its_dataset_or_version_is_deleted(client: TestClient, dataset_id: str) -> None:
    request = {"framework": "ultralytics", "task_type": "object_detection", "model_name": "yolo11n"}
    client.delete(f"{URL}/digits/versions/2")
    refused = client.post("/api/v1/jobs", json=request | {"dataset_id": "digits", "dataset_version": 2})
    assert [field["field"] for field in refused.json()["error"]["details"]["fields"]] == ["dataset_version"]
    client.delete(f"{URL}/digits")
    for reference in ("digits", dataset_id):
        refused = client.post("/api/v1/jobs", json=request | {"dataset_id": reference})
        assert [field["field"] for field in refused.json()["error"]["details"]["fields"]] == ["dataset_id"]


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**31)])
def test_invalid_if_the_version_is_no_number_of_one(client: TestClient, dataset_id: str, number: str) -> None:
    assert client.delete(f"{URL}/digits/versions/{number}").status_code == 422
