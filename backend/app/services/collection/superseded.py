"""Checkpoints that nothing names: of trainers that were killed before they moved a pointer, or deleted what it named.

Attempts that may still write are left alone, however old their objects: a machine may sleep in the middle of an upload.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select

from app.errors import NotFound
from app.models import Attempt, Checkpoint, Job
from app.services.collection import policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import Item
from app.storage import ObjectInfo, Storage
from app.words import ENDED, CheckpointKind

CHECKPOINT = re.compile(r"checkpoints/job-([1-9]\d{0,17})/attempt-([1-9]\d{0,8})/\d+-[0-9a-f]{12}\.[^/]+")


def survey(place: Place, now: datetime) -> Iterator[Finding]:
    """Only what an attempt of this database wrote. A damaged pointer keeps everything of its job."""
    for job_id, found in _by_job(place.storage).items():
        ended = _ended_attempts(place, job_id)
        old = [(info, reason) for number, info in found if (reason := _reason(ended.get(number), info, now))]
        named = _named(place, job_id) if old else set()
        for info, reason in old:
            if named is not None and info.key not in named:
                item = Item("checkpoints", info.key, info.size, reason)
                yield Finding(item, partial(place.storage.delete, info.key))


def _by_job(storage: Storage) -> dict[int, list[tuple[int, ObjectInfo]]]:
    """With the number of the attempt that wrote each."""
    jobs: dict[int, list[tuple[int, ObjectInfo]]] = {}
    for found in storage.list("checkpoints"):
        if match := CHECKPOINT.fullmatch(found.key):
            jobs.setdefault(int(match[1]), []).append((int(match[2]), found))
    return jobs


def _ended_attempts(place: Place, job_id: int) -> dict[int, datetime]:
    query = select(Attempt.number, Attempt.ended_at).where(Attempt.job_id == job_id, Attempt.ended_at.is_not(None))
    with place.database.read_session() as session:
        return {row.number: row.ended_at for row in session.execute(query)}


def _reason(ended_at: datetime | None, info: ObjectInfo, now: datetime) -> str | None:
    return None if ended_at is None else policy.why_superseded(max(ended_at, info.modified), now)


def _named(place: Place, job_id: int) -> set[str] | None:
    """The keys that somebody may come for: by the database, by a pointer, or as the weights of another job.

    None where a pointer cannot be understood.
    """
    pointers = [_pointer(place.storage, f"checkpoints/job-{job_id}/{kind}.json") for kind in CheckpointKind]
    if None in pointers:
        return None
    newest = select(func.max(Checkpoint.id)).where(Checkpoint.job_id == job_id).group_by(Checkpoint.kind)
    with place.database.read_session() as session:
        listed = set(session.scalars(select(Checkpoint.key).where(Checkpoint.id.in_(newest))))
        configs = session.scalars(select(Job.config).where(Job.status.not_in(ENDED)))
        weights = {str(config.get("weights", "")) for config in configs}
        resumed = [resume["key"] for resume in session.scalars(_resumes(job_id)) if resume]
    return listed | weights | {*resumed} | {key for key in pointers if key}


def _resumes(job_id: int) -> Any:
    """What attempts that have not ended continue from."""
    return select(Attempt.resume).where(Attempt.job_id == job_id, Attempt.ended_at.is_(None))


def _pointer(storage: Storage, key: str) -> str | None:
    """The key that it names, "" where there is no such pointer, None where it is damaged."""
    try:
        content = json.loads(storage.get_bytes(key))
        return str(content["key"])
    except NotFound:
        return ""
    except (ValueError, TypeError, KeyError):
        return None
