"""The whole backend on a free port, and a person who uses it over HTTP."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from app.context import Platform
from app.main import create_app
from app.services import attempts
from app.settings import Settings
from tests import factories
from tests.conftest import ACCESS_TOKEN
from tests.launchers.scripted import TRAINERS
from tests.waiting import until

ENDED = ("completed", "failed", "cancelled")


class Served:
    def __init__(self, app: FastAPI, http: httpx2.Client) -> None:
        self.app, self.http = app, http

    @property
    def platform(self) -> Platform:
        platform: Platform = self.app.state.platform
        return platform

    def submit(self, behaviour: str, *, max_retries: int = 2, epochs: int = 2, **script: Any) -> int:
        request = {"framework": "scripted", "task_type": "object_detection", "model_name": "scripted-n", "gpus": 0}
        request |= {"dataset_id": "digits", "epochs": epochs, "max_retries": max_retries}
        answer = self.http.post("/api/v1/jobs", json=request | {"hyperparameters": {"behaviour": behaviour} | script})
        assert answer.status_code == 201, answer.text
        job_id: int = answer.json()["id"]
        return job_id

    def job(self, job_id: int) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def become(self, job_id: int, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """The job once it has one of these statuses."""
        until(lambda: self.job(job_id)["status"] in statuses, seconds)
        return self.job(job_id)

    def start(self, behaviour: str, said: str, **options: Any) -> int:
        """A job whose trainer has printed this."""
        job_id = self.submit(behaviour, **options)
        until(lambda: said in (self.http.get(f"/api/v1/jobs/{job_id}/logs").json().get("text") or ""))
        return job_id

    def work_dir(self, job_id: int, attempt: int = 1) -> Path:
        return attempts.attempt_dir(self.platform.settings, job_id, attempt) / "work"

    def counted(self, job_id: int) -> list[float]:
        """The numbers that a counting trainer reported, in the order of the curve."""
        series = self.http.get(f"/api/v1/jobs/{job_id}/metrics", params={"max_points": 10_000}).json()["series"]
        return [point["value"] for one in series for point in one["points"]]

    def ready(self) -> dict[str, bool]:
        """What /readyz says of each part."""
        parts: dict[str, bool] = self.http.get("/readyz").json()["parts"]
        return parts

    def end_jobs(self) -> None:
        """Kills whatever still runs, the quick way."""
        for job in self.http.get("/api/v1/jobs", params={"limit": 200}).json()["items"]:
            until(partial(self._has_ended, job["id"]))

    def _has_ended(self, job_id: int) -> bool:
        job = self.job(job_id)
        if job["status"] not in ENDED:
            self.http.post(f"/api/v1/jobs/{job_id}/cancel")
            if job["attempt"]:
                self.platform.launcher.stop(job_id, job["attempt"], None, kill=True)
        return job["status"] in ENDED


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[Served]:
    """A running server with the dataset `digits`; what still runs at the end is killed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        own = {"trainers_path": TRAINERS, "backend_internal_url": url, "retry_backoff_seconds": 0.2}
        app = create_app(settings.model_copy(update=own | changes))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            with app.state.platform.database.write_session() as session:
                factories.dataset(session, id="digits", name="digits")
            with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}, timeout=60) as client:
                served = Served(app, client)
                try:
                    yield served
                finally:
                    served.end_jobs()
        finally:
            server.should_exit = True
            thread.join()
