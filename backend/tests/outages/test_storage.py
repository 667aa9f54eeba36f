"""The storage fails, hangs or is gone, and comes back, while jobs run."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.models import Checkpoint
from app.settings import Settings
from tests import factories
from tests.outages.relay import Mode, Relay
from tests.outages.serving import Served, serving
from tests.s3 import S3Server, s3_server
from tests.waiting import until

WAITING_PEOPLE = 70  # more than the connections to the database; fewer than the threads
KEY, WEIGHTS = "checkpoints/job-1/attempt-1/1-ab.pt", b"weights"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server("us-east-1", "vision") as server:
        yield server


@pytest.mark.parametrize(
    "mode", ["failing", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("refusing", "hanging"))]
)
def test_jobs_run_on_and_all_heals_if_the_storage_is_away(settings: Settings, s3: S3Server, mode: Mode) -> None:
    behind = urlsplit(s3.endpoint)
    assert behind.hostname and behind.port
    s3.witness().put_object(Bucket="vision", Key=KEY, Body=WEIGHTS)
    with Relay(behind.hostname, behind.port) as relay, serving(settings, **_at(relay, s3)) as served:
        job_id = served.start("count", "does count")
        _know_checkpoint(served, job_id)
        assert _download(served, job_id) == 200
        assert served.ready() == {
            "database": True,
            "storage": True,
            "writer": True,
            "reconciler": True,
            "importer": True,
        }
        relay.become(mode)
        with ThreadPoolExecutor(WAITING_PEOPLE) as people:
            asked = [people.submit(_download, served, job_id) for _ in range(WAITING_PEOPLE)]
            until(lambda: relay.taken > WAITING_PEOPLE / 2)
            _expect_service(served, job_id)
            answers = {answer.result() for answer in asked}
        assert answers == {503}
        relay.become("well")
        assert served.ready()["storage"]
        assert _download(served, job_id) == 200
        (served.work_dir(job_id) / "enough").touch()
        assert served.become(job_id, "completed", "failed")["attempt"] == 1
        counted = served.counted(job_id)
        assert counted == [float(number) for number in range(1, len(counted) + 1)]
    s3.witness().delete_object(Bucket="vision", Key="installation.json")


def _expect_service(served: Served, job_id: int) -> None:
    """While people wait for the storage: health tells the truth at once, reports are stored, and jobs obey."""
    assert _within(1, lambda: served.http.get("/healthz")).json() == {"status": "alive"}
    assert _within(6, served.ready) == {
        "database": True,
        "storage": False,
        "writer": True,
        "reconciler": True,
        "importer": True,
    }
    known = len(_within(3, lambda: served.counted(job_id)))
    until(lambda: len(served.counted(job_id)) > known + 3, seconds=10)
    other = _within(3, lambda: served.submit("wait"))
    assert _within(3, lambda: served.http.post(f"/api/v1/jobs/{other}/cancel")).status_code == 200
    served.become(other, "cancelled", seconds=15)


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    began = time.monotonic()
    answer = ask()
    assert time.monotonic() - began < seconds
    return answer


def _at(relay: Relay, s3: S3Server) -> dict[str, Any]:
    """The settings that lead through the relay."""
    names = ("storage_type", "storage_bucket", "minio_endpoint", "minio_access_key", "minio_secret_key")
    settings = s3.settings("minio", "vision", minio_endpoint=f"http://127.0.0.1:{relay.port}")
    return {name: getattr(settings, name) for name in names}


def _know_checkpoint(served: Served, job_id: int) -> None:
    with served.platform.database.write_session() as session:
        fields = {"job_id": job_id, "attempt": 1, "kind": "best", "key": KEY, "sha256": factories.SHA256}
        session.add(Checkpoint(**fields, size=len(WEIGHTS), epoch=1, metrics={}, time=factories.NOW))


def _download(served: Served, job_id: int) -> int:
    return served.http.get(f"/api/v1/jobs/{job_id}/checkpoints/best").status_code
