"""What a job left in storage: its checkpoints and artifacts, listed from the database and read through the one door."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Artifact, Checkpoint
from app.services import attempts, jobs
from app.storage import Storage
from app.words import CheckpointKind


@dataclass(frozen=True)
class Download:
    """An object on its way out."""

    filename: str
    sha256: str
    size: int
    chunks: Iterator[bytes]


def list_checkpoints(session: Session, job_id: int) -> list[tuple[Checkpoint, bool]]:
    """Newest first; the second value says whether this is the current one of its kind."""
    jobs.get(session, job_id)
    rows = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.id.desc()))
    seen: set[str] = set()
    listed = []
    for row in rows:
        listed.append((row, row.kind not in seen))
        seen.add(row.kind)
    return listed


def list_artifacts(session: Session, job_id: int) -> Sequence[Artifact]:
    jobs.get(session, job_id)
    return session.scalars(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.id)).all()


def open_checkpoint(session: Session, storage: Storage, job_id: int, kind: CheckpointKind) -> Download:
    """The current checkpoint of this kind. `NotFound` if there is none yet."""
    jobs.get(session, job_id)
    found = attempts.newest_checkpoint(session, job_id, kind)
    if found is None:
        raise NotFound(f"job {job_id} has no {kind} checkpoint yet")
    session.close()  # its connection is not held while the storage is asked, which may hang
    return _open(storage, found, f"job-{job_id}-{kind}{PurePosixPath(found.key).suffix}", f"checkpoints/job-{job_id}/")


def open_artifact(session: Session, storage: Storage, job_id: int, artifact_id: int) -> Download:
    found = session.scalar(select(Artifact).where(Artifact.job_id == job_id, Artifact.id == artifact_id))
    if found is None:
        raise NotFound(f"job {job_id} has no artifact {artifact_id}")
    session.close()
    return _open(storage, found, PurePosixPath(found.key).name, f"artifacts/job-{job_id}/")


def _open(storage: Storage, row: Checkpoint | Artifact, filename: str, folder: str) -> Download:
    """A trainer names the keys of its own job; any other is not handed out."""
    if not row.key.startswith(folder):
        raise NotFound(f"{row.key!r} is not below {folder}; it is not handed out")
    size = storage.size(row.key)
    if size is None:
        raise NotFound(f"{row.key!r} is no longer in storage; a newer one may have taken its place")
    return Download(filename, row.sha256, size, storage.stream(row.key, 0, size))
