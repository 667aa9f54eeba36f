"""Imports over HTTP: parts, sources and edits, and whoever sends what they should not."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.context import Platform
from app.main import create_app
from app.services.datasets import folders
from app.settings import Settings
from app.words import ImportStatus
from tests import factories
from tests.conftest import ACCESS_TOKEN
from tests.uploads import image, yolo_files, zipped
from tests.waiting import until

URL = "/api/v1/imports"
ENDED = ("accepted", "refused", "failed", "cancelled")


@pytest.fixture
def quiet(settings: Settings) -> Iterator[TestClient]:
    """A platform that leaves imports in the queue."""
    app = create_app(settings, reconciling=False, importing=False)
    with TestClient(app, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as client:
        yield client


@pytest.fixture(scope="module")
def still(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A platform of all tests that are refused, with the dataset `digits`, whose version has no index."""
    folder = tmp_path_factory.mktemp("still")
    shutil.copy(sqlite_template, folder / "vision.sqlite")
    values: dict[str, Any] = {"_env_file": None, "data_dir": folder / "var", "access_token": ACCESS_TOKEN}
    settings = Settings(**values, database_url=f"sqlite:///{folder / 'vision.sqlite'}", slots="cpu:1")
    app = create_app(settings, reconciling=False, importing=False)
    with TestClient(app, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as client:
        with platform_of(client).database.write_session() as session:
            factories.dataset(session, name="digits")
        yield client


@pytest.fixture
def archive() -> bytes:
    return zipped(yolo_files())


def begin(client: TestClient, name: str = "digits", **fields: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"name": name} | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def send(client: TestClient, number: int, offset: Any, data: Any, **headers: str) -> Any:
    return client.patch(f"{URL}/{number}", content=data, headers={"Upload-Offset": str(offset)} | headers)


def wait(client: TestClient, number: int) -> dict[str, Any]:
    until(lambda: client.get(f"{URL}/{number}").json()["status"] in ENDED)
    ended: dict[str, Any] = client.get(f"{URL}/{number}").json()
    return ended


def bring(client: TestClient, data: bytes, name: str = "digits", **fields: Any) -> dict[str, Any]:
    """The import at its end."""
    number = begin(client, name, **fields)["id"]
    assert send(client, number, 0, data).status_code == 200
    assert client.post(f"{URL}/{number}/start").status_code == 202
    return wait(client, number)


def error(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    details: dict[str, Any] = answer.json()["error"]["details"]
    return details


def platform_of(client: TestClient) -> Platform:
    assert isinstance(client.app, FastAPI)
    platform: Platform = client.app.state.platform
    return platform


def test_upload_in_parts_becomes_a_version(client: TestClient, archive: bytes) -> None:
    half = len(archive) // 2
    made = begin(client, size=len(archive), sha256=hashlib.sha256(archive).hexdigest())
    assert (made["status"], made["received"], made["dataset_id"]) == ("receiving", 0, None)
    part = send(client, made["id"], 0, archive[:half]).json()
    assert part["received"] == half
    assert error(client.post(f"{URL}/{made['id']}/start"), 409, "CONFLICT") == {"received": half, "size": len(archive)}
    assert error(send(client, made["id"], 0, archive[:half]), 409, "CONFLICT") == {"received": half}
    send(client, made["id"], half, iter([archive[half:-1], archive[-1:]]))
    client.post(f"{URL}/{made['id']}/start")
    ended = wait(client, made["id"])
    assert (ended["status"], ended["version"], ended["is_new"], ended["error"]) == ("accepted", 1, True, None)
    assert (ended["report"]["format"], ended["received"]) == ("yolo", len(archive))
    dataset = client.get("/api/v1/datasets/digits").json()
    assert (dataset["id"], dataset["task_type"]) == (ended["dataset_id"], "object_detection")
    assert client.post(f"{URL}/{made['id']}/start").json() == ended


def test_received_bytes_outlast_a_restart(settings: Settings, archive: bytes) -> None:
    headers = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    with TestClient(create_app(settings, reconciling=False), headers=headers) as client:
        number = begin(client)["id"]
        send(client, number, 0, archive[:100])
    with TestClient(create_app(settings, reconciling=False), headers=headers) as client:
        received = client.get(f"{URL}/{number}").json()["received"]
        assert received == 100
        send(client, number, received, archive[received:])
        client.post(f"{URL}/{number}/start")
        assert wait(client, number)["status"] == "accepted"


@pytest.mark.parametrize("offset", ["", "-1", "1.5", "ten", "9" * 30, "0x0", None])
def test_part_is_refused_without_a_sensible_offset(quiet: TestClient, offset: str | None) -> None:
    number = begin(quiet)["id"]
    headers = {} if offset is None else {"Upload-Offset": offset}
    answer = quiet.patch(f"{URL}/{number}", content=b"x", headers=headers)
    assert error(answer, 422, "INVALID")["fields"][0]["field"] == "upload-offset"
    assert quiet.get(f"{URL}/{number}").json()["received"] == 0


def test_part_is_refused_by_the_length_that_it_announces(quiet: TestClient) -> None:
    number = begin(quiet)["id"]
    error(send(quiet, number, 0, b"x", **{"Content-Length": str(2**40)}), 413, "TOO_LARGE")
    number = begin(quiet, size=10)["id"]
    error(send(quiet, number, 0, iter([b"12345", b"678901"])), 413, "TOO_LARGE")
    assert quiet.get(f"{URL}/{number}").json()["received"] == 0


def test_form_is_refused_with_what_to_send_instead(quiet: TestClient) -> None:
    number = begin(quiet)["id"]
    answer = quiet.patch(f"{URL}/{number}", files={"file": b"x"}, headers={"Upload-Offset": "0"})
    assert "--data-binary" in answer.json()["error"]["message"] and answer.status_code == 422


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "a/b"}, 422, "name"),
    ({"name": "../a"}, 422, "name"),
    ({"name": "ds-01234567"}, 422, "name"),
    ({"name": "a\x00b"}, 422, "name"),
    ({"name": "\ud800"}, 422, "name"),
    ({"name": 7}, 422, "name"),
    ({}, 422, "name"),
    ({"name": "a", "task_type": "juggling"}, 422, "task_type"),
    ({"name": "a", "size": 0}, 422, "size"),
    ({"name": "a", "size": 1.5}, 422, "size"),
    ({"name": "a", "size": 2**62}, 413, ""),
    ({"name": "a", "sha256": "A" * 64}, 422, "sha256"),
    ({"name": "a", "split": {"train": 2}}, 422, "split.train"),
    ({"name": "a", "split": {"seed": "x"}}, 422, "split.seed"),
    ({"name": "a", "adds_to": 1}, 404, ""),
    ({"name": "a", "source": {}}, 422, "source"),
    ({"name": "a", "source": {"key": "a.zip", "prefix": "a"}}, 422, "source"),
    ({"name": "a", "source": {"url": "http://169.254.169.254/"}}, 422, "source.url"),
    ({"name": "a", "source": {"prefix": "datasets"}}, 422, "source.prefix"),
    ({"name": "a", "source": {"key": "nothing.zip"}}, 422, "source.key"),
    ({"name": "a", "source": {"key": "a.zip"}, "size": 3}, 422, "body"),
    ({"name": "a", "else": 1}, 422, "else"),
]


@pytest.mark.parametrize(("body", "status", "field"), REFUSED, ids=str)
def test_import_is_refused_before_anything_is_made(
    still: TestClient, body: dict[str, Any], status: int, field: str
) -> None:
    answer = still.post(URL, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if field:
        assert field in [problem["field"] for problem in answer.json()["error"]["details"]["fields"]]
    assert still.get(URL).json()["items"] == []
    assert list(folders.uploads(platform_of(still).settings.data_dir).glob("*")) == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize(("number", "status"), [("1", 404), ("0", 422), ("x", 422), (str(2**64), 422)])
def test_nothing_is_found_if_there_is_no_such_import(still: TestClient, method: str, number: str, status: int) -> None:
    assert still.request(method, f"{URL}/{number}", headers={"Upload-Offset": "0"}).status_code == status


def test_every_request_needs_the_access_token(quiet: TestClient) -> None:
    number = begin(quiet)["id"]
    del quiet.headers["Authorization"]
    for method, path in (("POST", ""), ("GET", ""), ("GET", f"/{number}"), ("PATCH", f"/{number}")):
        assert quiet.request(method, URL + path).status_code == 401
    assert quiet.delete(f"{URL}/{number}").status_code == 401


def test_imports_are_listed_by_status_and_page(quiet: TestClient) -> None:
    numbers = [begin(quiet, name)["id"] for name in "abc"]
    quiet.delete(f"{URL}/{numbers[1]}")
    page = quiet.get(URL, params={"limit": 2}).json()
    rest = quiet.get(URL, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == numbers[::-1] and rest["next_cursor"] is None
    listed = quiet.get(URL, params={"status": ["cancelled", "failed"]}).json()["items"]
    assert [(item["id"], item["name"]) for item in listed] == [(numbers[1], "b")]
    error(quiet.get(URL, params={"status": "gone"}), 422, "INVALID")


def test_cancelled_import_takes_nothing_and_is_forgotten_the_second_time(quiet: TestClient) -> None:
    number = begin(quiet)["id"]
    send(quiet, number, 0, b"x")
    assert quiet.delete(f"{URL}/{number}").status_code == 204
    error(send(quiet, number, 1, b"x"), 409, "CONFLICT")
    error(quiet.post(f"{URL}/{number}/start"), 409, "CONFLICT")
    assert list(folders.uploads(platform_of(quiet).settings.data_dir).iterdir()) == []
    assert quiet.delete(f"{URL}/{number}").status_code == 204
    assert quiet.get(f"{URL}/{number}").status_code == 404


def test_numbers_are_told_only_once_they_stand(quiet: TestClient) -> None:
    with platform_of(quiet).database.write_session() as session:
        fields = {"status": ImportStatus.RUNNING, "dataset_id": "ds-01234567", "version": 1}
        number = factories.dataset_import(session, **fields).id
    found = quiet.get(f"{URL}/{number}").json()
    assert (found["dataset_id"], found["version"], found["is_new"]) == (None, None, None)


def test_version_that_stands_is_not_cancelled(quiet: TestClient) -> None:
    with platform_of(quiet).database.write_session() as session:
        fields = {"status": ImportStatus.RUNNING, "dataset_id": "ds-01234567", "version": 1, "is_new": True}
        number = factories.dataset_import(session, **fields).id
    assert "is stored as version 1" in quiet.delete(f"{URL}/{number}").json()["error"]["message"]


def test_refused_import_says_why(client: TestClient) -> None:
    ended = bring(client, zipped(yolo_files(label="9 0.5 0.5 0.1 0.1\n")))
    assert (ended["status"], ended["version"], ended["error"]) == ("refused", None, None)
    finding = ended["report"]["groups"][0]["first"][0]
    assert ended["report"]["errors"] > 0 and finding["severity"] == "error" and finding["fix"]
    assert client.get("/api/v1/datasets").json()["items"] == []


def test_warnings_refuse_if_it_is_strict(client: TestClient) -> None:
    files = zipped(yolo_files() | {"images/train/d.png": image(9)})
    assert bring(client, files, "easy")["status"] == "accepted"
    assert bring(client, files, "hard", strict=True)["status"] == "refused"
    answer = client.post("/api/v1/datasets", params={"name": "hard", "strict": True}, content=files)
    details = error(answer, 422, "INVALID")
    assert details["report"]["warnings"] and details["fields"][0]["field"] == "images/train/d.png"


def test_folder_in_storage_is_imported_and_left_as_it_is(client: TestClient, platform: Platform) -> None:
    for name, data in yolo_files().items():
        platform.storage.put_bytes(f"incoming/digits/{name}", data)
    made = begin(client, source={"prefix": "incoming/digits"})
    assert made["status"] in ("queued", "running")
    assert wait(client, made["id"])["status"] == "accepted"
    assert len(list(platform.storage.list("incoming"))) == 7


def test_images_are_added_to_a_version(client: TestClient, archive: bytes) -> None:
    first = bring(client, archive)
    more = {"data.yaml": b"names: [cat, dog]\n", "images/train/d.png": image(9), "labels/train/d.txt": b"0 .5 .5 .1 .1"}
    more |= {"images/val/e.png": image(10), "labels/val/e.txt": b"1 .5 .5 .1 .1"}
    added = bring(client, zipped(more), adds_to=1)
    assert (added["status"], added["version"], added["parent_version"]) == ("accepted", 2, 1), added
    latest = client.get("/api/v1/datasets/digits").json()["latest"]
    assert (latest["version"], latest["counts"]["images"]) == (2, {"train": 3, "val": 2})
    assert first["dataset_id"] == added["dataset_id"]


def test_version_is_made_by_changing_one(client: TestClient, archive: bytes) -> None:
    bring(client, archive)
    edit = {"rename_classes": {"cat": "lion"}, "remove_images": ["images/train/b.png"]}
    answer = client.post("/api/v1/datasets/digits/versions", json={"parent": 1, "edit": edit})
    assert answer.status_code == 202, answer.text
    ended = wait(client, answer.json()["id"])
    assert (ended["status"], ended["version"], ended["parent_version"]) == ("accepted", 2, 1), ended
    latest = client.get("/api/v1/datasets/digits").json()["latest"]
    assert (latest["classes"], latest["counts"]["images"]) == (["lion", "dog"], {"train": 1, "val": 1})


EDITS: list[tuple[dict[str, Any], int]] = [
    ({"parent": 1, "edit": {}}, 422),
    ({"parent": 1}, 422),
    ({"parent": 0, "edit": {"remove_classes": ["cat"]}}, 422),
    ({"parent": 2, "edit": {"remove_classes": ["cat"]}}, 404),
    ({"parent": 1, "edit": {"remove_classes": ["cat"]}}, 409),  # it has no index
    ({"parent": 1, "edit": {"remove_classes": "cat"}}, 422),
    ({"parent": 1, "edit": {"run": "rm -rf /"}}, 422),
    ({"parent": 1, "edit": {"remove_images": ["a\x00"]}}, 422),
]


@pytest.mark.parametrize(("body", "status"), EDITS, ids=str)
def test_change_is_refused_if_it_cannot_be_made(still: TestClient, body: dict[str, Any], status: int) -> None:
    assert still.post("/api/v1/datasets/digits/versions", json=body).status_code == status
    assert still.post("/api/v1/datasets/nothing/versions", json=body).status_code in (404, 422)
    assert still.get(URL).json()["items"] == []
