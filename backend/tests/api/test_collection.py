"""Housekeeping over HTTP: first what would go, then it goes."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from tests.services.collection.test_collector import age


@pytest.fixture
def leftover(platform: Platform) -> Path:
    folder = platform.settings.data_dir / "uploads" / "upload-1"
    folder.mkdir(parents=True)
    return age(folder)


def test_listed_first_and_removed_when_asked_to(client: TestClient, leftover: Path) -> None:
    listed = client.post("/api/v1/collection").json()
    [item] = listed["items"]
    assert (item["kind"], item["what"], item["reason"]) == ("upload", "uploads/upload-1", "left behind 30 days ago")
    assert listed["dry_run"] is True and leftover.exists()
    removed = client.post("/api/v1/collection?dry_run=false").json()
    assert removed == listed | {"dry_run": False} and not leftover.exists()
    assert client.post("/api/v1/collection").json()["items"] == []


def test_nothing_without_the_access_token(client: TestClient, leftover: Path) -> None:
    assert client.post("/api/v1/collection?dry_run=false", headers={"Authorization": ""}).status_code == 401
    assert leftover.exists()
