"""Predictions over HTTP, answered by the scripted predict.py through the real launcher and the local storage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.context import Platform
from app.models import Checkpoint
from app.settings import Settings
from tests import factories
from tests.launchers.scripted import TRAINERS

PNG = b"\x89PNG\r\n\x1a\n and some pixels"
LIMIT = 1000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"trainers_path": TRAINERS, "max_image_bytes": LIMIT, "prediction_timeout_seconds": 20}
    return settings.model_copy(update=changes)


@pytest.fixture
def job_id(platform: Platform) -> int:
    """A job with a best checkpoint of epoch 4."""
    with platform.database.write_session() as session:
        job_id = factories.job(session, framework="scripted", model_name="scripted-n").id
        for epoch in (3, 4):
            session.add(best_checkpoint(job_id, epoch))
            session.flush()
    return job_id


def best_checkpoint(job_id: int, epoch: int) -> Checkpoint:
    key = f"checkpoints/job-{job_id}/attempt-1/{epoch}-ab.bin"
    fixed: dict[str, Any] = {"attempt": 1, "kind": "best", "sha256": factories.SHA256, "size": 9, "metrics": {}}
    return Checkpoint(job_id=job_id, key=key, epoch=epoch, time=factories.NOW, **fixed)


def ask(client: TestClient, job_id: int | str, image: bytes | None = PNG, **form: Any) -> httpx2.Response:
    files = None if image is None else {"image": ("photo.PNG", image, "image/png")}
    return client.post("/api/v1/predictions", data={"job_id": str(job_id), **form}, files=files)


def error(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()["error"]
    return body


@pytest.fixture(autouse=True)
def nothing_left_behind(platform: Platform) -> Iterator[None]:
    """Whatever happened, no upload and no work folder stays."""
    yield
    assert list(platform.storage.list("uploads")) == []
    work = platform.settings.data_dir / "work" / "predictions"
    assert not work.exists() or list(work.iterdir()) == []


def test_best_checkpoint_answers_about_an_uploaded_image(client: TestClient, job_id: int) -> None:
    response = ask(client, job_id, confidence="0.5")
    assert response.status_code == 200, response.text
    body = response.json()
    key = body["result"].pop("image")
    assert key.startswith("uploads/") and key.endswith(".png")
    found = {"class_id": 0, "class_name": "zero", "confidence": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}
    result = {"task_type": "object_detection", "width": 8, "height": 8, "predictions": [found], "count": 1}
    checkpoint = {"key": f"checkpoints/job-{job_id}/attempt-1/4-ab.bin", "sha256": factories.SHA256, "epoch": 4}
    assert body == {"job_id": job_id, "checkpoint": checkpoint, "result": result | {"milliseconds": {"inference": 0.1}}}


def test_answers_about_an_image_in_storage_and_leaves_it_there(
    client: TestClient, platform: Platform, job_id: int
) -> None:
    platform.storage.put_bytes("images/a.png", PNG)
    response = ask(client, job_id, None, key="images/a.png")
    assert response.status_code == 200, response.text
    assert response.json()["result"]["image"] == "images/a.png"
    assert platform.storage.size("images/a.png") == len(PNG)


def test_refused_if_upload_is_no_image(client: TestClient, job_id: int) -> None:
    refused = error(ask(client, job_id, b"a text file"), 422)
    assert refused["code"] == "INVALID" and refused["details"]["fields"][0]["field"] == "image"
    assert "is not an image" in refused["message"]


def test_refused_if_upload_is_empty(client: TestClient, job_id: int) -> None:
    assert "has 0 bytes" in error(ask(client, job_id, b""), 422)["message"]


def test_too_large_if_image_exceeds_the_limit(client: TestClient, platform: Platform, job_id: int) -> None:
    assert error(ask(client, job_id, PNG + b"x" * LIMIT), 413)["code"] == "TOO_LARGE"
    assert error(ask(client, job_id, PNG + b"x" * 100_000), 413)["code"] == "TOO_LARGE"
    platform.storage.put_bytes("images/big.png", PNG + b"x" * LIMIT)
    assert "an image has 1 to 1000" in error(ask(client, job_id, None, key="images/big.png"), 422)["message"]


def test_too_large_if_the_length_was_not_announced(client: TestClient, job_id: int) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert error(client.post("/api/v1/predictions", content=body(), headers=headers), 413)["code"] == "TOO_LARGE"


def test_conflict_if_there_is_no_best_checkpoint_yet(client: TestClient, platform: Platform) -> None:
    with platform.database.write_session() as session:
        waiting = factories.job(session, framework="scripted").id
    assert "has no best checkpoint yet" in error(ask(client, waiting), 409)["message"]


def test_not_found_if_there_is_no_such_job_or_object(client: TestClient, job_id: int) -> None:
    assert "no job 4711" in error(ask(client, 4711), 404)["message"]
    assert "images/none.png" in error(ask(client, job_id, None, key="images/none.png"), 404)["message"]


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({"confidence": "1.5"}, ["confidence"]),
        ({"confidence": "nan"}, ["confidence"]),
        ({"job_id": "first", "confidence": "-1"}, ["job_id", "confidence"]),
        ({"job_id": ""}, ["job_id"]),
        ({"threshold": "0.5"}, ["threshold"]),
        ({"key": "images/a.png"}, ["image"]),
    ],
)
def test_refused_naming_every_field_if_values_are_wrong(
    client: TestClient, job_id: int, form: dict[str, Any], fields: list[str]
) -> None:
    refused = error(ask(client, **{"job_id": job_id} | form), 422)
    assert [problem["field"] for problem in refused["details"]["fields"]] == fields


def test_refused_if_there_is_neither_image_nor_key(client: TestClient, job_id: int) -> None:
    assert "either an image or the key" in error(ask(client, job_id, None), 422)["message"]


def test_refused_if_key_leaves_the_storage(client: TestClient, job_id: int) -> None:
    assert error(ask(client, job_id, None, key="../vision.sqlite"), 422)["code"] == "INVALID"


def test_failed_with_its_last_words_if_predict_crashes(client: TestClient, job_id: int) -> None:
    failed = error(ask(client, job_id, b"script:crash"), 502)
    assert failed["code"] == "PREDICTION_FAILED"
    assert failed["details"]["exit_code"] == 1 and "RuntimeError: as the script says" in failed["details"]["stderr"]


def test_failed_if_answer_is_no_json(client: TestClient, job_id: int) -> None:
    assert "no answer" in error(ask(client, job_id, b"script:garbage"), 502)["message"]


def test_failed_if_answer_breaks_the_contract(client: TestClient, job_id: int) -> None:
    assert "contract does not allow" in error(ask(client, job_id, b"script:half"), 502)["message"]


def test_failed_and_stopped_if_it_takes_too_long(client: TestClient, platform: Platform, job_id: int) -> None:
    quick = platform.settings.model_copy(update={"prediction_timeout_seconds": 1})
    object.__setattr__(platform, "settings", quick)
    assert "longer than 1 s" in error(ask(client, job_id, b"script:wait"), 502)["message"]


def test_failed_if_trainer_left_the_catalogue(client: TestClient, platform: Platform, job_id: int) -> None:
    del platform.catalogue.trainers["scripted"]
    assert "not in the catalogue any more" in error(ask(client, job_id), 502)["message"]


def test_nothing_without_the_access_token(client: TestClient, job_id: int) -> None:
    response = client.post("/api/v1/predictions", data={"job_id": "1"}, headers={"Authorization": ""})
    assert error(response, 401)["code"] == "UNAUTHORIZED"


def test_trainer_sees_nothing_of_the_backends_environment(
    client: TestClient, platform: Platform, job_id: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCESS_TOKEN", "of the backend")
    answer = error(ask(client, job_id, b"script:environment"), 502)
    names = set(answer["details"]["stderr"].split())
    assert {"TASK_TYPE", "MODEL_NAME", "CHECKPOINT", "IMAGE", "CONFIDENCE", "WORK_DIR", "CACHE_DIR", "DEVICE"} <= names
    assert {"STORAGE_TYPE", "STORAGE_BUCKET", "STORAGE_PATH"} <= names
    assert not {"ACCESS_TOKEN", "DATABASE_URL", "INTERNAL_AUTH_TOKEN", "PYTEST_CURRENT_TEST"} & names
