"""Work folders of attempts, and what predictions and uploads of a backend that was killed left on the disk."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from app.launchers import records
from app.models import Attempt, Job
from app.services import jobs
from app.services.collection import folders, policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import AttemptFolder, Item, Limits
from app.words import CollectedKind

JOB, ATTEMPT = re.compile(r"job-([1-9]\d{0,17})"), re.compile(r"attempt-([1-9]\d{0,8})")
SHORT_LIVED: tuple[tuple[CollectedKind, str, str], ...] = (
    ("leftover", "work/predictions", "*"),
    ("upload", "uploads", "upload-*"),
)


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    yield from _of_attempts(place, limits, now)
    for kind, folder, pattern in SHORT_LIVED:
        for path in folders.children(place.data_dir / folder, pattern):
            size, changed_at = folders.measure(path)
            if reason := policy.why_left(changed_at, now):
                yield _finding(place, kind, path, size, reason)


def _of_attempts(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    found = [(path, int(name[1])) for path in folders.children(place.data_dir / "work") if (name := _named(JOB, path))]
    ended, known, highest = _rows(place)  # after the folders: the rows of an attempt are older than its folder
    for path, job_id in found:
        if job_id in known:
            yield from _of_job(place, path, ended.get(job_id, {}), limits, now)
        elif job_id <= highest:
            size, changed_at = folders.measure(path)
            if reason := policy.why_unowned(f"job {job_id}", changed_at, limits, now):
                yield _finding(place, "work_folder", path, size, reason)


def _of_job(
    place: Place, folder: Path, ended: Mapping[int, Row[Any]], limits: Limits, now: datetime
) -> Iterator[Finding]:
    for path in folders.children(folder):
        name = _named(ATTEMPT, path)
        row = ended.get(int(name[1])) if name else None
        if row is None:
            continue
        facts = AttemptFolder(row.ended_at, row.log_size is not None, supervised=_is_supervised(path))
        if reason := policy.why_attempt_folder(facts, limits, now):
            yield _finding(place, "work_folder", path, folders.measure(path)[0], reason)


def _rows(place: Place) -> tuple[dict[int, dict[int, Row[Any]]], set[int], int]:
    """The attempts that have ended by job and number, every job's number, and the highest that was ever given."""
    query = select(Attempt.job_id, Attempt.number, Attempt.ended_at, Attempt.log_size)
    ended: dict[int, dict[int, Row[Any]]] = defaultdict(dict)
    with place.database.read_session() as session:
        rows: Iterable[Row[Any]] = session.execute(query.where(Attempt.ended_at.is_not(None)))
        for row in rows:
            ended[row.job_id][row.number] = row
        return ended, set(session.scalars(select(Job.id))), jobs.highest_number(session)


def _is_supervised(attempt_dir: Path) -> bool:
    """Whether a supervisor still lives there, whatever the database says."""
    if not (attempt_dir / records.LOCK_FILE).exists():
        return False
    lock = records.take_lock(attempt_dir)
    if lock is not None:
        os.close(lock)
    return lock is None


def _finding(place: Place, kind: CollectedKind, path: Path, size: int, reason: str) -> Finding:
    return Finding(Item(kind, str(path.relative_to(place.data_dir)), size, reason), partial(folders.remove, path))


def _named(pattern: re.Pattern[str], path: Path) -> re.Match[str] | None:
    return pattern.fullmatch(path.name)
