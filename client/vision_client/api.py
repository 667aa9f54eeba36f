"""The typed client: one method for each public endpoint.

    with Client("http://127.0.0.1:8000", token) as client:
        job = client.create_job({"framework": "ultralytics", …})

Every method raises ApiError when the platform refuses and Unreachable when nothing answers.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from vision_client import models
from vision_client.errors import VisionError
from vision_client.transport import Transport

CHUNK = 1 << 20
UPLOAD_TIMEOUT = httpx.Timeout(60, read=3600)  # the platform checks and stores the archive before it answers
PREDICTION_TIMEOUT = httpx.Timeout(60, read=600)  # a trainer loads its framework and the checkpoint first
COLLECTION_TIMEOUT = httpx.Timeout(60, read=3600)  # it looks at every object in storage

Advance = Callable[[int], None]


class Client(Transport):
    """The platform at `url`, opened with `token`."""

    # jobs

    def create_job(self, request: Mapping[str, Any]) -> models.Job:
        """`request` is the API's JobCreate; what it omits comes from the trainer's defaults."""
        body = json.dumps(dict(request))  # a NaN too: the platform refuses it by name, httpx's own encoder without
        answer = self.json("POST", "/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        return models.Job.model_validate(answer)

    def list_jobs(
        self,
        *,
        status: str | list[str] | None = None,
        framework: str | None = None,
        task_type: str | None = None,
        cursor: str | int | None = None,
        limit: int = 50,
    ) -> models.Page[models.Job]:
        """Newest first."""
        filters = {"status": status, "framework": framework, "task_type": task_type}
        query = _given({**filters, "cursor": cursor, "limit": limit})
        return models.Page[models.Job].model_validate(self.json("GET", "/api/v1/jobs", params=query))

    def job(self, job_id: int) -> models.JobDetail:
        return models.JobDetail.model_validate(self.json("GET", f"/api/v1/jobs/{job_id}"))

    def cancel_job(self, job_id: int) -> models.Job:
        return models.Job.model_validate(self.json("POST", f"/api/v1/jobs/{job_id}/cancel"))

    def retry_job(self, job_id: int) -> models.Job:
        return models.Job.model_validate(self.json("POST", f"/api/v1/jobs/{job_id}/retry"))

    def delete_job(self, job_id: int) -> None:
        """With its checkpoints and artifacts; refused until the job has ended."""
        self.request("DELETE", f"/api/v1/jobs/{job_id}")

    def metrics(
        self, job_id: int, *, names: list[str] | None = None, max_points: int = 500
    ) -> list[models.MetricSeries]:
        query = _given({"name": names or None, "max_points": max_points})
        answer = self.json("GET", f"/api/v1/jobs/{job_id}/metrics", params=query)
        return [models.MetricSeries.model_validate(series) for series in answer["series"]]

    def validations(self, job_id: int) -> list[models.Validation]:
        return self._items(models.Validation, f"/api/v1/jobs/{job_id}/validations")

    def timeline(self, job_id: int) -> list[models.HistoryEntry]:
        return self._items(models.HistoryEntry, f"/api/v1/jobs/{job_id}/timeline")

    def logs(self, job_id: int, **query: int | None) -> models.LogPiece:
        """By `tail` lines, or from the byte `offset` at most `limit` bytes; of the newest `attempt` unless given."""
        answer = self.json("GET", f"/api/v1/jobs/{job_id}/logs", params=_given(query))
        return models.LogPiece.model_validate(answer)

    def artifacts(self, job_id: int) -> list[models.Artifact]:
        return self._items(models.Artifact, f"/api/v1/jobs/{job_id}/artifacts")

    def download_artifact(
        self, job_id: int, artifact: models.Artifact, target: Path, advance: Advance | None = None
    ) -> None:
        self._download(f"/api/v1/jobs/{job_id}/artifacts/{artifact.id}", target, artifact.sha256, advance)

    def checkpoints(self, job_id: int) -> list[models.Checkpoint]:
        return self._items(models.Checkpoint, f"/api/v1/jobs/{job_id}/checkpoints")

    def download_checkpoint(self, job_id: int, kind: str, target: Path, advance: Advance | None = None) -> None:
        """The bytes of `best` or `last`, checked against the digest that the platform names."""
        self._download(f"/api/v1/jobs/{job_id}/checkpoints/{kind}", target, None, advance)

    # datasets

    def upload_dataset(
        self, archive: Path, name: str, task_type: str, advance: Advance | None = None
    ) -> tuple[models.Dataset, bool]:
        """Registers a zip in canonical layout; the second value is False when this content was already a version."""
        with archive.open("rb") as file:
            response = self.request(
                "POST",
                "/api/v1/datasets",
                params={"name": name, "task_type": task_type},
                headers={"Content-Type": "application/zip", "Content-Length": str(archive.stat().st_size)},
                content=_chunks(file.read, advance),
                timeout=UPLOAD_TIMEOUT,
            )
        return models.Dataset.model_validate(response.json()), response.status_code == 201

    def list_datasets(self, *, limit: int = 50, cursor: str | int | None = None) -> models.Page[models.Dataset]:
        answer = self.json("GET", "/api/v1/datasets", params=_given({"limit": limit, "cursor": cursor}))
        return models.Page[models.Dataset].model_validate(answer)

    def dataset(self, id_or_name: str) -> models.Dataset:
        return models.Dataset.model_validate(self.json("GET", f"/api/v1/datasets/{_segment(id_or_name)}"))

    def delete_dataset(self, dataset_id: str) -> None:
        """With its archives; refused while a job uses it."""
        self.request("DELETE", f"/api/v1/datasets/{_segment(dataset_id)}")

    # catalogue, predictions, system

    def catalogue(self) -> models.Catalogue:
        return models.Catalogue.model_validate(self.json("GET", "/api/v1/frameworks"))

    def framework(self, name: str) -> models.Framework:
        return models.Framework.model_validate(self.json("GET", f"/api/v1/frameworks/{_segment(name)}"))

    def predict(self, job_id: int, image: Path | str, confidence: float = 0.25) -> models.Prediction:
        """With the job's best checkpoint. A Path is uploaded; a str is a storage key."""
        form: dict[str, str] = {"job_id": str(job_id), "confidence": str(confidence)}
        if isinstance(image, str):
            answer = self.json("POST", "/api/v1/predictions", data={**form, "key": image}, timeout=PREDICTION_TIMEOUT)
        else:
            files = {"image": (image.name, image.read_bytes())}
            answer = self.json("POST", "/api/v1/predictions", data=form, files=files, timeout=PREDICTION_TIMEOUT)
        return models.Prediction.model_validate(answer)

    def system(self) -> models.System:
        return models.System.model_validate(self.json("GET", "/api/v1/system"))

    def collect(self, *, dry_run: bool = True) -> models.Collection:
        """Remove what is old and not in use; with `dry_run` only list it, and why it would go."""
        query = {"dry_run": str(dry_run).lower()}
        answer = self.json("POST", "/api/v1/collection", params=query, timeout=COLLECTION_TIMEOUT)
        return models.Collection.model_validate(answer)

    def is_ready(self) -> bool:
        """Whether database, storage, writer and reconciler all work; raises Unreachable when nothing answers."""
        with self._translated():
            return self._http.get("/readyz").is_success

    def _items(self, shape: type[models.ItemT], path: str) -> list[models.ItemT]:
        return models.Page[shape].model_validate(self.json("GET", path)).items  # type: ignore[valid-type]

    def _download(self, path: str, target: Path, sha256: str | None, advance: Advance | None) -> None:
        """Under another name until it is whole and its digest is right."""
        partial = target.with_name(f"{target.name}.part")
        digest = hashlib.sha256()
        with self.stream(path) as response, partial.open("wb") as file:
            for chunk in response.iter_bytes(CHUNK):
                digest.update(chunk)
                file.write(chunk)
                if advance:
                    advance(len(chunk))
            expected = sha256 or response.headers.get("ETag", "").strip('"')
        if digest.hexdigest() != expected:
            partial.unlink()
            raise VisionError(f"what arrived for {target} has sha256 {digest.hexdigest()}, not {expected!r}; try again")
        partial.replace(target)


def _chunks(read: Callable[[int], bytes], advance: Advance | None) -> Iterator[bytes]:
    while chunk := read(CHUNK):
        yield chunk
        if advance:
            advance(len(chunk))


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _segment(name: str) -> str:
    return quote(name, safe="")
