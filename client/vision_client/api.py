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
UPLOAD_TIMEOUT = httpx.Timeout(60, read=600)  # the platform reads what was sent once more before it answers
PURGE_TIMEOUT = httpx.Timeout(60, read=600)
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

    def list_datasets(
        self, *, limit: int = 50, cursor: str | int | None = None, deleted: bool = False
    ) -> models.Page[models.Dataset]:
        query = _given({"limit": limit, "cursor": cursor, "deleted": "true" if deleted else None})
        answer = self.json("GET", "/api/v1/datasets", params=query)
        return models.Page[models.Dataset].model_validate(answer)

    def dataset(self, id_or_name: str) -> models.Dataset:
        return models.Dataset.model_validate(self.json("GET", _dataset(id_or_name)))

    def delete_dataset(self, dataset: str, version: int | None = None) -> None:
        """Or one version of it; refused while a job uses it. It can be restored until it is purged."""
        self.request("DELETE", _dataset(dataset, version))

    def restore_dataset(self, dataset: str, version: int | None = None) -> models.Dataset:
        return models.Dataset.model_validate(self.json("POST", f"{_dataset(dataset, version)}/restore"))

    def purge_dataset(self, dataset: str, version: int | None = None) -> None:
        """Removes for ever what is deleted, with its objects in storage."""
        self.request("POST", f"{_dataset(dataset, version)}/purge", timeout=PURGE_TIMEOUT)

    def dataset_version(self, dataset: str, version: int) -> models.VersionDetail:
        return models.VersionDetail.model_validate(self.json("GET", _dataset(dataset, version)))

    def findings(self, dataset: str, version: int, *, code: str | None = None) -> Iterator[models.Finding]:
        """All that are kept, page by page; of one code at most a thousand are."""
        query: dict[str, Any] = _given({"code": code, "limit": 200})
        while True:
            answer = self.json("GET", f"{_dataset(dataset, version)}/findings", params=query)
            page = models.Page[models.Finding].model_validate(answer)
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def compare_versions(self, dataset: str, before: int, after: int) -> models.Comparison:
        answer = self.json("GET", f"{_dataset(dataset, after)}/compare", params={"with": before})
        return models.Comparison.model_validate(answer)

    def export_dataset(
        self, dataset: str, version: int, form: str, target: Path, advance: Advance | None = None
    ) -> None:
        """A zip in YOLO, COCO or Pascal VOC, under another name until it is whole."""
        partial = target.with_name(f"{target.name}.part")
        query = {"format": form}
        with self.stream(f"{_dataset(dataset, version)}/export", params=query) as response, partial.open("wb") as file:
            for chunk in response.iter_bytes(CHUNK):
                file.write(chunk)
                if advance:
                    advance(len(chunk))
        partial.replace(target)

    # imports: imports.py sends and waits

    def create_import(self, request: Mapping[str, Any]) -> models.Import:
        """`request` is the API's ImportCreate."""
        return models.Import.model_validate(self.json("POST", "/api/v1/imports", json=dict(request)))

    def edit_version(self, dataset: str, parent: int, edit: Mapping[str, Any]) -> models.Import:
        """A new version from an old one: images or classes removed, classes renamed, splits made anew."""
        body = {"parent": parent, "edit": dict(edit)}
        return models.Import.model_validate(self.json("POST", f"{_dataset(dataset)}/versions", json=body))

    def send_part(self, import_id: int, offset: int, part: bytes) -> models.Import:
        """The bytes from `offset`; a Conflict's details say how many there are if it is another."""
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        answer = self.json("PATCH", f"/api/v1/imports/{import_id}", content=part, headers=headers)
        return models.Import.model_validate(answer)

    def start_import(self, import_id: int) -> models.Import:
        answer = self.json("POST", f"/api/v1/imports/{import_id}/start", timeout=UPLOAD_TIMEOUT)
        return models.Import.model_validate(answer)

    def read_import(self, import_id: int) -> models.Import:
        return models.Import.model_validate(self.json("GET", f"/api/v1/imports/{import_id}"))

    def list_imports(self, *, status: str | None = None, limit: int = 50) -> list[models.Import]:
        """Newest first."""
        answer = self.json("GET", "/api/v1/imports", params=_given({"status": status, "limit": limit}))
        return models.Page[models.Import].model_validate(answer).items

    def cancel_import(self, import_id: int) -> None:
        """One that has ended loses its record."""
        self.request("DELETE", f"/api/v1/imports/{import_id}")

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


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _dataset(id_or_name: str, version: int | None = None) -> str:
    path = f"/api/v1/datasets/{_segment(id_or_name)}"
    return path if version is None else f"{path}/versions/{version}"


def _segment(name: str) -> str:
    return quote(name, safe="")
