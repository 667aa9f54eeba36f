"""The app as a whole: one shape for every refusal, an OpenAPI that describes it, and a clean start and end."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from app.main import create_app
from app.schemas import jobs
from app.schemas.events import Answer, Batch
from app.services.reports import judge
from app.settings import Settings

OPERATIONS = [
    (path, method, operation)
    for path, methods in create_app(Settings.model_construct()).openapi()["paths"].items()
    for method, operation in methods.items()
]
IDS = [f"{method} {path}" for path, method, _ in OPERATIONS]
DOCUMENT: dict[str, Any] = create_app(Settings.model_construct()).openapi()


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_each_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z][a-zA-Z]+", operation["operationId"])
    assert operation["summary"] and operation["tags"]
    assert len({other["operationId"] for _, _, other in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_each_operation_needs_its_token(path: str, method: str, operation: dict[str, Any]) -> None:
    schemes = [name for needed in operation.get("security", []) for name in needed]
    if path in ("/healthz", "/readyz"):
        assert schemes == []
    else:
        assert schemes == ["attemptToken" if path.startswith("/internal") else "accessToken"]
        assert "401" in operation["responses"]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=IDS)
def test_each_error_is_described_in_the_one_shape(path: str, method: str, operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if status >= "400" and path != "/readyz":
            schema = response["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (status, response)
            assert re.search(r"^[A-Z_]+: ", response["description"]), status


def test_each_reference_leads_somewhere() -> None:
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", repr(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])
    assert {"ErrorBody", "JobCreate", "Job"} <= references


@pytest.mark.parametrize(
    "shape",
    [jobs.JobCreate, jobs.Job, jobs.Metrics, jobs.ValidationResult, jobs.HistoryEntry, Answer],
    ids=lambda shape: shape.__name__,
)
def test_shapes_are_shown_by_an_example_that_fits(shape: type[BaseModel]) -> None:
    [example] = shape.model_json_schema()["examples"]  # the document itself leaves nulls out
    assert set(example) <= set(shape.model_fields)
    shape.model_validate(example)
    assert DOCUMENT["components"]["schemas"][shape.__name__]["examples"]


def test_a_batch_is_shown_by_an_example_that_fits() -> None:
    body = DOCUMENT["paths"]["/internal/training/{job_id}/events"]["post"]["requestBody"]
    [example] = body["content"]["application/json"]["schema"]["examples"]
    assert Batch.model_validate(example).events
    assert not judge(example["events"])[1]


def test_describes_both_tokens() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme["scheme"]) for name, scheme in schemes.items()} == {
        "accessToken": ("http", "bearer"),
        "attemptToken": ("http", "bearer"),
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "NOT_FOUND"), ("PATCH", "/api/v1/jobs", 405, "METHOD_NOT_ALLOWED")],
)
def test_refuses_in_one_shape_if_nothing_is_there(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code


def test_says_little_if_the_platform_itself_fails(settings: Settings) -> None:
    app = create_app(settings, reconciling=False)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the password is 1234")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/broken")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "INTERNAL"
    assert "1234" not in response.text


def test_starts_again_if_it_was_stopped(settings: Settings) -> None:
    for _ in range(2):
        with TestClient(create_app(settings, reconciling=False)) as client:
            assert client.get("/healthz").status_code == 200


def test_stops_what_it_started_if_the_start_fails(settings: Settings) -> None:
    broken = settings.model_copy(update={"slots": "gpu:many"})
    app: FastAPI = create_app(broken)
    with pytest.raises(ValueError, match="SLOTS"), TestClient(app):
        pass
    assert not hasattr(app.state, "platform")
