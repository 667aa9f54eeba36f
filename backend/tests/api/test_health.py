"""Liveness and readiness answer without a token, and readiness names the part that does not work."""

import shutil

import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from app.main import create_app
from app.settings import Settings

NO_TOKEN = {"Authorization": ""}


def test_is_alive_if_it_answers(client: TestClient) -> None:
    assert client.get("/healthz", headers=NO_TOKEN).json() == {"status": "alive"}


def test_is_ready_if_every_part_works(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        response = client.get("/readyz")
    parts = {"database": True, "storage": True, "writer": True, "reconciler": True, "importer": True}
    assert (response.status_code, response.json()) == (200, {"ready": True, "parts": parts, "problems": []})


@pytest.mark.parametrize("part", ["database", "storage", "writer"])
def test_is_not_ready_if_a_part_does_not_work(
    client: TestClient, platform: Platform, settings: Settings, part: str
) -> None:
    match part:
        case "database":
            platform.database.dispose()
            (settings.data_dir.parent / "vision.sqlite").write_bytes(b"not a database" * 1000)
        case "storage":
            shutil.rmtree(settings.storage_folder)
            settings.storage_folder.write_text("not a folder")
        case "writer":
            platform.writer.stop()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"][part] is False
    assert [name for name, works in response.json()["parts"].items() if not works] == [part, "reconciler"]
