"""The public API as a stranger would use it: plain HTTP, none of the platform's own code."""

import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from e2e.waiting import eventually

ENDED = frozenset({"completed", "failed", "cancelled"})
UPLOAD_SECONDS = 180.0


class Api:
    """A running platform at `url`, opened with `token`."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._request("GET", path, params=query).json()

    def post(self, path: str, body: Any = None) -> Any:
        return self._request("POST", path, json=body).json()

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def download(self, path: str) -> bytes:
        return self._request("GET", path).content

    def items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get(path)["items"]
        return items

    def add_dataset(self, archive: Path, name: str, task_type: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(
            "POST",
            "/api/v1/datasets",
            params={"name": name, "task_type": task_type},
            headers={"Content-Type": "application/zip"},
            content=archive.read_bytes(),
            timeout=UPLOAD_SECONDS,
        ).json()
        return answer

    def submit(self, **request: Any) -> int:
        job_id: int = self.post("/api/v1/jobs", request)["id"]
        return job_id

    def predict(self, job_id: int, image: Path) -> dict[str, Any]:
        with image.open("rb") as file:
            answer: dict[str, Any] = self._request(
                "POST",
                "/api/v1/predictions",
                data={"job_id": str(job_id), "confidence": "0.01"},
                files={"image": (image.name, file)},
                timeout=UPLOAD_SECONDS,
            ).json()
        return answer

    def job(self, job_id: int) -> dict[str, Any]:
        job: dict[str, Any] = self.get(f"/api/v1/jobs/{job_id}")
        return job

    def wait_for(self, job_id: int, *statuses: str, seconds: float = 150.0) -> dict[str, Any]:
        """The job once it has one of the statuses. An ending that was not asked for fails, with the log's end."""

        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["status"] in statuses or job["status"] not in ENDED, self._ending(job)
            return job if job["status"] in statuses else None

        return eventually(reached, f"job {job_id} {' or '.join(statuses)}", seconds)

    def wait_for_checkpoint(self, job_id: int, kind: str, epoch: int) -> dict[str, Any]:
        """The current checkpoint of the kind, once it is of at least that epoch."""

        def saved() -> dict[str, Any] | None:
            found = [row for row in self.checkpoints(job_id) if row["kind"] == kind and row["epoch"] >= epoch]
            job = self.job(job_id)
            assert found or job["status"] not in ENDED, self._ending(job)
            return found[0] if found else None

        return eventually(saved, f"checkpoint {kind} of epoch {epoch} of job {job_id}", 120)

    def checkpoints(self, job_id: int) -> list[dict[str, Any]]:
        """The current one of each kind."""
        return [row for row in self.items(f"/api/v1/jobs/{job_id}/checkpoints") if row["current"]]

    def series(self, job_id: int) -> dict[str, list[dict[str, Any]]]:
        answer = self.get(f"/api/v1/jobs/{job_id}/metrics")
        return {series["name"]: series["points"] for series in answer["series"]}

    def history(self, job_id: int) -> list[dict[str, Any]]:
        """Every entry of an ended job, from its event stream."""
        entries = []
        with closing(self.stream(job_id)) as stream:
            for entry in stream:
                entries.append(entry)
                if entry["type"] == "status" and entry["source"] == "platform" and entry["payload"]["to"] in ENDED:
                    return entries
        raise AssertionError(f"The stream of job {job_id} ended before the job did")

    def stream(self, job_id: int, after: int = 0) -> Generator[dict[str, Any]]:
        headers = {"Last-Event-ID": str(after)}
        with self.http.stream("GET", f"/api/v1/jobs/{job_id}/stream", headers=headers) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.http.request(method, path, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text[:2000]}"
        return response

    def _ending(self, job: dict[str, Any]) -> str:
        logs = self.http.get(f"/api/v1/jobs/{job['id']}/logs", params={"tail": 60})
        text = logs.json().get("text", "") if logs.is_success else logs.text
        return f"job {job['id']} is {job['status']}: {json.dumps(job['failure'])}\n{text}"
