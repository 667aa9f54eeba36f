"""Objects in storage: those of deleted jobs and datasets, what was superseded or left half written, old logs."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from sqlalchemy import select, update

from app.models import Attempt, Dataset, Job
from app.services import jobs
from app.services.collection import policy, superseded, unlisted
from app.services.collection.place import Finding, Place
from app.services.collection.policy import Group, Item, Limits, StoredLog
from app.services.logs import stored_key
from app.storage import Storage
from app.words import CollectedKind

OWNED: tuple[tuple[CollectedKind, str, re.Pattern[str]], ...] = (
    ("checkpoints", "checkpoints", re.compile(r"checkpoints/job-([1-9]\d{0,17})/.+")),
    ("artifacts", "artifacts", re.compile(r"artifacts/job-([1-9]\d{0,17})/.+")),
    ("dataset", "datasets", re.compile(r"datasets/(ds-[0-9a-f]{8})/.+")),
)


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    for kind, folder, pattern in OWNED:
        groups = _groups(place.storage, folder, pattern)
        gone = _gone_datasets(place, groups) if kind == "dataset" else _gone_jobs(place, groups)
        for name, owner in gone.items():
            group, prefix = groups[name], f"{folder}/{name}" if kind == "dataset" else f"{folder}/job-{name}"
            if reason := policy.why_unowned(owner, group.changed_at, limits, now):
                remove = partial(_delete_all, place.storage, prefix)
                yield Finding(Item(kind, prefix, group.bytes, reason), remove)
    for found in place.storage.list("uploads"):
        if reason := policy.why_left(found.modified, now):
            yield Finding(Item("upload", found.key, found.size, reason), partial(place.storage.delete, found.key))
    for found in place.storage.unfinished():
        if reason := policy.why_left(found.modified, now):
            yield Finding(Item("leftover", found.key, found.size, reason), partial(place.storage.discard, found.key))
    yield from unlisted.survey(place, limits, now)
    yield from superseded.survey(place, now)
    yield from _old_logs(place, limits, now)


def _groups(storage: Storage, folder: str, pattern: re.Pattern[str]) -> dict[str, Group]:
    """By job or dataset: the bytes of all its objects and the time of the newest. Other objects are not ours."""
    groups: dict[str, Group] = {}
    for found in storage.list(folder):
        if name := pattern.fullmatch(found.key):
            groups.setdefault(name[1], Group()).add(found.size, found.modified)
    return groups


def _gone_jobs(place: Place, groups: dict[str, Group]) -> dict[str, str]:
    """Numbers that were given here and have no job. One that was never given is somebody's who trains elsewhere."""
    with place.database.read_session() as session:
        known, highest = set(session.scalars(select(Job.id))), jobs.highest_number(session)
    return {name: f"job {name}" for name in groups if int(name) not in known and int(name) <= highest}


def _gone_datasets(place: Place, groups: dict[str, Group]) -> dict[str, str]:
    with place.database.read_session() as session:
        known = set(session.scalars(select(Dataset.id))) | unlisted.importing(session)
    return {name: f"dataset {name}" for name in groups if name not in known}


def _old_logs(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    stored = Attempt.ended_at.is_not(None), Attempt.log_size > 0, Attempt.log_removed_at.is_(None)
    query = select(Attempt.id, Attempt.job_id, Attempt.number, Attempt.ended_at, Attempt.log_size).where(*stored)
    with place.database.read_session() as session:
        keys = {
            StoredLog(row.id, row.ended_at, row.log_size): stored_key(row.job_id, row.number)
            for row in session.execute(query)
        }
    for log, reason in policy.old_logs(keys, limits, now):
        remove = partial(_remove_log, place, log.attempt_id, keys[log], now)
        yield Finding(Item("log", keys[log], log.bytes, reason), remove)


def _remove_log(place: Place, attempt_id: int, key: str, now: datetime) -> None:
    place.storage.delete(key)
    with place.database.write_session() as session:
        session.execute(update(Attempt).where(Attempt.id == attempt_id).values(log_removed_at=now))


def _delete_all(storage: Storage, prefix: str) -> None:
    storage.delete_prefix(prefix)
