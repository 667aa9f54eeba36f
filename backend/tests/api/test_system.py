"""The platform about itself."""

from fastapi.testclient import TestClient

from app.context import Platform
from app.words import JobStatus
from tests import factories


def test_system_says_who_holds_which_slot(client: TestClient, platform: Platform) -> None:
    idle = client.get("/api/v1/system").json()
    with platform.database.write_session() as session:
        job_id = factories.job(session, status=JobStatus.RUNNING).id
        factories.attempt(session, job_id=job_id, slots=["cpu:0"])
    busy = client.get("/api/v1/system").json()
    assert idle["slots"] == [{"name": "cpu:0", "job_id": None}]
    assert busy["slots"] == [{"name": "cpu:0", "job_id": job_id}]


def test_slot_is_free_again_if_the_job_has_ended(client: TestClient, platform: Platform) -> None:
    with platform.database.write_session() as session:
        job_id = factories.job(session, status=JobStatus.COMPLETED).id
        factories.attempt(session, job_id=job_id, slots=["cpu:0"])
    assert client.get("/api/v1/system").json()["slots"] == [{"name": "cpu:0", "job_id": None}]


def test_system_says_what_it_is(client: TestClient, platform: Platform) -> None:
    told = client.get("/api/v1/system").json()
    assert (told["version"], told["environment"], told["mlflow_url"]) == ("0.1.0", "development", None)
    assert len(told["installation_id"]) == 8
    assert told["docs_url"] == f"{platform.settings.url}/docs"
