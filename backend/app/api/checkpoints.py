"""Checkpoints and artifacts of a job: listed, and downloaded as they are."""

from mimetypes import MimeTypes
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse

from app.api.deps import MAX_ID, JobId, PlatformDep, ReadSessionDep, describe
from app.errors import NotFound, StorageUnavailable
from app.schemas.checkpoints import Artifact, Checkpoint
from app.schemas.common import Items
from app.services import checkpoints
from app.services.checkpoints import Download
from app.words import CheckpointKind

router = APIRouter(prefix="/api/v1/jobs/{job_id}", tags=["checkpoints"])

ArtifactId = Annotated[int, Path(ge=1, le=MAX_ID)]

_TYPES = MimeTypes()  # Python's own table: a machine's mime.types would call .pt a SNES page table
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes; the ETag is their sha256.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/checkpoints",
    operation_id="listCheckpoints",
    summary="List a job's checkpoints, newest first",
    responses=describe(NotFound),
)
def list_checkpoints(job_id: JobId, session: ReadSessionDep) -> Items[Checkpoint]:
    return Items(items=[Checkpoint.of(row, current) for row, current in checkpoints.list_checkpoints(session, job_id)])


@router.get(
    "/checkpoints/{kind}",
    operation_id="downloadCheckpoint",
    summary="Download the best or the last checkpoint",
    response_class=StreamingResponse,
    responses=_BYTES | describe(NotFound, StorageUnavailable),
)
def download_checkpoint(
    job_id: JobId, kind: CheckpointKind, session: ReadSessionDep, platform: PlatformDep
) -> StreamingResponse:
    return _attachment(checkpoints.open_checkpoint(session, platform.storage, job_id, kind))


@router.get("/artifacts", operation_id="listArtifacts", summary="List a job's artifacts", responses=describe(NotFound))
def list_artifacts(job_id: JobId, session: ReadSessionDep) -> Items[Artifact]:
    found = checkpoints.list_artifacts(session, job_id)
    return Items(items=[Artifact.model_validate(row) for row in found])


@router.get(
    "/artifacts/{artifact_id}",
    operation_id="downloadArtifact",
    summary="Download an artifact",
    response_class=StreamingResponse,
    responses=_BYTES | describe(NotFound, StorageUnavailable),
)
def download_artifact(
    job_id: JobId, artifact_id: ArtifactId, session: ReadSessionDep, platform: PlatformDep
) -> StreamingResponse:
    return _attachment(checkpoints.open_artifact(session, platform.storage, job_id, artifact_id))


def _attachment(download: Download) -> StreamingResponse:
    """As a file to keep: a browser neither guesses its type nor runs what a trainer may have written into it."""
    plain = "".join(c if c.isascii() and c not in '"\\%;' else "_" for c in download.filename)
    encoded = quote(download.filename, safe="")
    headers = {
        "Content-Length": str(download.size),
        "ETag": f'"{download.sha256}"',
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    media_type = _TYPES.guess_type(download.filename, strict=False)[0] or "application/octet-stream"
    return StreamingResponse(download.chunks, media_type=media_type, headers=headers)
