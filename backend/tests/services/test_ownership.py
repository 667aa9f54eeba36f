"""One bucket, one installation: whoever comes second is told so, and touches nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from app.context import Platform, build_platform
from app.db import Database
from app.errors import StorageUnavailable
from app.main import create_app
from app.models import Installation, Job
from app.reconciler import Reconciler
from app.services import access, jobs, ownership
from app.services.ownership import CLAIM, BucketTaken, Ownership, claim
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import JobStatus
from tests import factories
from tests.conftest import ACCESS_TOKEN


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "storage" / "vision"


@pytest.fixture
def storage(tmp_path: Path, bucket: Path) -> Storage:
    values: dict[str, Any] = {"_env_file": None, "storage_path": bucket.parent}
    return open_storage(Settings(**values))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is tried at every question."""
    monkeypatch.setattr(ownership, "PAUSE_SECONDS", 0.0)


def test_first_installation_claims_the_bucket_for_good(storage: Storage) -> None:
    for is_new in (True, False, True):
        claim(storage, "aaaaaaaa", is_new=is_new)
    assert json.loads(storage.get_bytes(CLAIM)) == {"installation_id": "aaaaaaaa"}


@pytest.mark.parametrize("is_new", [True, False])
def test_refused_with_both_names_and_the_fix_if_another_was_first(storage: Storage, is_new: bool) -> None:
    claim(storage, "aaaaaaaa", is_new=True)
    with pytest.raises(BucketTaken, match=r"installation aaaaaaaa.*bbbbbbbb; set another STORAGE_BUCKET, or restore"):
        claim(storage, "bbbbbbbb", is_new=is_new)
    assert json.loads(storage.get_bytes(CLAIM)) == {"installation_id": "aaaaaaaa"}


def test_one_of_two_wins_if_both_see_an_empty_bucket(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_refuse_used", lambda storage, _: claim(storage, "aaaaaaaa", is_new=False))
    with pytest.raises(BucketTaken):
        claim(storage, "bbbbbbbb", is_new=True)
    assert json.loads(storage.get_bytes(CLAIM)) == {"installation_id": "aaaaaaaa"}


def test_new_database_claims_no_bucket_with_unclaimed_objects(storage: Storage) -> None:
    storage.put_bytes("checkpoints/job-1/best.json", b"x")
    with pytest.raises(BucketTaken, match=r"holds checkpoints/job-1/best\.json, which this new database"):
        claim(storage, "aaaaaaaa", is_new=True)
    claim(storage, "aaaaaaaa", is_new=False)  # the objects of a database from before there were claims


def test_weights_put_there_beforehand_are_nobodys(storage: Storage) -> None:
    storage.put_bytes("weights/ultralytics/yolo11n.pt", b"x")
    claim(storage, "aaaaaaaa", is_new=True)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff"])
def test_refused_if_the_claim_is_damaged(storage: Storage, data: bytes) -> None:
    storage.put_bytes(CLAIM, data)
    with pytest.raises(BucketTaken, match=r"installation\.json in folder .* is damaged"):
        claim(storage, "aaaaaaaa", is_new=False)


def test_claim_is_tried_again_until_the_storage_answers(
    database: Database, storage: Storage, bucket: Path, impatient: None
) -> None:
    _install(database)
    bucket.rmdir()
    bucket.write_text("a file, where the folder should be")
    owned = Ownership(database, storage)
    assert isinstance(owned.problem(), StorageUnavailable)
    bucket.unlink()
    bucket.mkdir()
    owned.require()
    shutil.rmtree(bucket)
    owned.require()  # once seen it is believed, …
    _install_another(storage)
    with pytest.raises(BucketTaken):
        owned.verify()  # … except before something is deleted
    assert owned.problem() is not None


def test_not_asked_again_at_once_if_it_failed(database: Database, storage: Storage, bucket: Path) -> None:
    _install(database)
    bucket.rmdir()
    bucket.write_text("a file, where the folder should be")
    owned = Ownership(database, storage)
    first = owned.problem()
    bucket.unlink()
    assert owned.problem() is first


def test_highest_number_outlives_its_job(database: Database) -> None:
    with database.write_session() as session:
        assert jobs.highest_number(session) == 0
        number = [factories.job(session).id for _ in range(2)][-1]
    with database.write_session() as session:
        session.execute(delete(Job))
    with database.read_session() as session:
        assert jobs.highest_number(session) == number


def test_jobs_wait_and_nothing_is_registered_or_deleted_in_the_bucket_of_another(
    client: TestClient, platform: Platform, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"database_url": f"sqlite:///{tmp_path / 'second.sqlite'}", "access_file": tmp_path / "second.json"}
    app = create_app(settings.model_copy(update=changes), reconciling=False)
    with TestClient(app, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as other:
        assert "No job starts: folder" in capsys.readouterr().out
        answer = other.post("/api/v1/datasets?name=x&task_type=object_detection", content=b"zip")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "BUCKET_TAKEN")
        theirs: Platform = app.state.platform
        with theirs.database.write_session() as session:
            waiting, ended = factories.job(session).id, factories.job(session, status=JobStatus.FAILED).id
        assert other.delete(f"/api/v1/jobs/{ended}").status_code == 409
        Reconciler(theirs).tick(factories.NOW)
        told = other.get(f"/api/v1/jobs/{waiting}").json()
        ready = other.get("/readyz")
    assert told["status"] == "pending" and "belongs to installation" in told["pending_reason"]
    assert ready.status_code == 503 and ready.json()["parts"]["storage"] is False
    assert "set another STORAGE_BUCKET, or restore the database" in ready.json()["problems"][0]
    assert client.get("/readyz").json()["parts"]["storage"] is True


def test_backend_starts_while_the_storage_is_away(settings: Settings, impatient: None) -> None:
    platform = build_platform(settings)
    bucket = settings.storage_folder / settings.storage_bucket
    bucket.rmdir()
    bucket.write_text("a file, where the folder should be")
    access.ensure_access(platform.database, settings, factories.NOW)
    with platform.database.write_session() as session:
        job_id = factories.job(session, framework="no such").id
    reconciler = Reconciler(platform)
    reconciler.tick(factories.NOW)
    with platform.database.read_session() as session:
        assert "waiting for the storage" in (session.get_one(Job, job_id).pending_reason or "")
    bucket.unlink()
    bucket.mkdir()
    reconciler.tick(factories.NOW)
    with platform.database.read_session() as session:
        assert session.get_one(Job, job_id).status == JobStatus.STARTING


def _install(database: Database) -> None:
    with database.write_session() as session:
        row = {"id": 1, "installation_id": "aaaaaaaa", "access_token_hash": "", "created_at": factories.NOW}
        session.add(Installation(**row))
        session.flush()
        assert session.scalar(select(Installation.installation_id)) == "aaaaaaaa"


def _install_another(storage: Storage) -> None:
    storage.put_bytes(CLAIM, json.dumps({"installation_id": "bbbbbbbb"}).encode())
