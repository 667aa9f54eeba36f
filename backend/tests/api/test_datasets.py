"""Datasets over HTTP: the body is the zip, streamed to the disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from app.main import create_app
from app.settings import Settings
from app.words import TaskType
from tests.conftest import ACCESS_TOKEN
from tests.tmpfs import small_tmpfs
from tests.uploads import files_of, yolo_files, zipped
from tests.waiting import until

URL = "/api/v1/datasets"


@pytest.fixture
def archive() -> bytes:
    return zipped(yolo_files())


def _post(client: TestClient, body: Any, name: str = "digits", task_type: str = "object_detection") -> Any:
    headers = {"Content-Type": "application/zip"}
    return client.post(URL, params={"name": name, "task_type": task_type}, content=body, headers=headers)


def _left_on_disk(platform: Platform) -> list[Path]:
    return list((platform.settings.data_dir / "uploads").iterdir())


@pytest.mark.parametrize("task_type", TaskType)
def test_dataset_of_every_task_is_registered(task_type: TaskType, client: TestClient) -> None:
    answer = _post(client, zipped(files_of(task_type)), task_type=task_type)
    dataset = answer.json()
    assert answer.status_code == 201, answer.text
    assert (dataset["name"], dataset["task_type"]) == ("digits", task_type)
    assert dataset["latest"]["classes"] == ["cat", "dog"]
    assert dataset["latest"]["counts"]["images"]["val"] in (1, 2)
    assert dataset["versions"] == [dataset["latest"]]
    assert client.get(f"{URL}/digits").json() == client.get(f"{URL}/{dataset['id']}").json() == dataset


def test_same_content_is_answered_with_200(client: TestClient, archive: bytes, platform: Platform) -> None:
    first, second = _post(client, archive), _post(client, archive)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert _left_on_disk(platform) == []


def test_body_may_come_in_pieces_of_unknown_length(client: TestClient, archive: bytes) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(archive), 100):
            yield archive[start : start + 100]

    assert _post(client, pieces()).status_code == 201


def test_datasets_are_listed_in_pages(client: TestClient, archive: bytes) -> None:
    for name in ("b", "a", "c"):
        _post(client, archive, name)
    first = client.get(URL, params={"limit": 2}).json()
    rest = client.get(URL, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["name"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


def test_problems_are_named_by_file_and_line(client: TestClient, platform: Platform) -> None:
    answer = _post(client, zipped(yolo_files(label="0 0.5 0.5 1 1\n5 0.5 0.5 1 1\n")))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "INVALID")
    assert error["details"]["fields"] == [
        {
            "field": "labels/train/a.txt:2",
            "value": "5 0.5 0.5 1 1",
            "message": "class 5 is not one of 0 to 1",
        }
    ]
    assert (error["details"]["total"], error["details"]["report"]["errors"]) == (1, 1)
    assert client.get(f"/api/v1/imports/{error['details']['import']}").json()["status"] == "refused"
    assert client.get(URL).json()["items"] == []
    assert _left_on_disk(platform) == []


@pytest.mark.parametrize(
    ("name", "task_type", "field"), [("a/b", "object_detection", "name"), ("digits", "juggling", "task_type")]
)
def test_request_is_refused_before_its_body_is_taken(
    name: str, task_type: str, field: str, client: TestClient, platform: Platform
) -> None:
    answer = _post(client, b"not even a zip", name, task_type)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]["fields"]] == [field]
    assert not (platform.settings.data_dir / "uploads").exists()


def test_form_is_refused_with_what_to_send_instead(client: TestClient, archive: bytes) -> None:
    query = {"name": "digits", "task_type": "object_detection"}
    answer = client.post(URL, params=query, files={"file": archive})
    assert answer.status_code == 422
    assert "--data-binary" in answer.json()["error"]["message"]


@pytest.mark.parametrize("announced", [True, False])
def test_upload_is_refused_if_it_is_too_large(announced: bool, settings: Settings, archive: bytes) -> None:
    small = settings.model_copy(update={"max_dataset_bytes": len(archive) - 1})
    with TestClient(create_app(small), headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as client:
        answer = _post(client, archive if announced else iter([archive[:100], archive[100:]]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")
    assert "MAX_DATASET_BYTES" in answer.json()["error"]["message"]


def test_upload_needs_the_access_token(client: TestClient, archive: bytes, platform: Platform) -> None:
    del client.headers["Authorization"]
    assert _post(client, archive).status_code == 401
    assert not (platform.settings.data_dir / "uploads").exists()


def test_name_in_another_language_works_in_the_address(client: TestClient, archive: bytes) -> None:
    assert _post(client, archive, "숫자").status_code == 201
    assert client.get(f"{URL}/숫자").json()["name"] == "숫자"


def test_told_to_come_back_if_the_storage_is_away_and_the_import_goes_on_alone(
    client: TestClient, archive: bytes, platform: Platform
) -> None:
    in_the_way = platform.settings.storage_folder / platform.settings.storage_bucket / "datasets"
    in_the_way.write_text("not a folder")
    answer = _post(client, archive)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "STORAGE_UNAVAILABLE"), answer.text
    assert "goes on by itself" in error["message"] and int(answer.headers["Retry-After"]) > 0
    in_the_way.unlink()
    url = f"/api/v1/imports/{error['details']['import']}"
    until(lambda: client.get(url).json()["status"] == "accepted")
    assert _post(client, archive).status_code == 200


def test_told_that_the_disk_is_full(client: TestClient, platform: Platform) -> None:
    with small_tmpfs(platform.settings.data_dir / "uploads", "1m") as uploads:
        answer = _post(client, iter([bytes(2**20)] * 3))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "DISK_FULL"), answer.text
        assert "make room" in error["message"]
        assert list(uploads.iterdir()) == []
    assert client.get("/api/v1/imports").json()["items"] == []


def test_task_and_format_may_be_left_out_or_named(client: TestClient, archive: bytes) -> None:
    def post(**query: str) -> Any:
        return client.post(URL, params={"name": "digits"} | query, content=archive)

    assert post().json()["task_type"] == "object_detection"
    assert post(format="yolo", task_type="object_detection").status_code == 200
    assert post(task_type="pose_estimation").status_code == 409
    assert post(format="coco").status_code == post(format="klingon").status_code == 422
    assert post(frmat="yolo").json()["error"]["details"]["fields"][0]["field"] == "frmat"
