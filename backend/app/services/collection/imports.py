"""Uploads on this machine's disk that nobody goes on with: begun and left, failed and not started again, orphaned."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from app.models import Import
from app.services.collection import folders, policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import Item, Limits
from app.services.datasets import ending
from app.services.datasets import folders as import_folders
from app.words import IMPORT_ENDED

FOLDER = re.compile(r"import-([1-9]\d{0,17})")


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    for row in ending.abandoned(place.database, now):
        folder = import_folders.folder_of(place.settings.data_dir, row.id)
        size = folders.measure(folder)[0] if folder.is_dir() else 0
        if reason := policy.why_left(row.updated_at, now):
            yield _finding(place, folder, size, reason, partial(_abandon, place, row.id, now))
    for folder in folders.children(import_folders.uploads(place.settings.data_dir), "import-*"):
        number = FOLDER.fullmatch(folder.name)
        ended_at = _ended_at(place, int(number[1])) if number else None
        if number and ended_at is not None:
            size, changed_at = folders.measure(folder)
            if reason := policy.why_left(max(changed_at, ended_at), now):
                yield _finding(place, folder, size, reason, partial(_remove, place, int(number[1]), folder))


def _finding(place: Place, folder: Path, size: int, reason: str, remove: partial[bool]) -> Finding:
    return Finding(Item("upload", str(folder.relative_to(place.data_dir)), size, reason), remove)


def _ended_at(place: Place, import_id: int) -> datetime | None:
    """None while it may go on; of one that is not known, long ago."""
    with place.database.read_session() as session:
        row = session.get(Import, import_id)
    if row is None:
        return policy.NEVER
    return (row.ended_at or row.updated_at) if row.status in IMPORT_ENDED else None


def _abandon(place: Place, import_id: int, now: datetime) -> bool:
    return ending.abandon(place.database, place.storage, place.settings, import_id, now)


def _remove(place: Place, import_id: int, folder: Path) -> bool:
    """Unless somebody works in it, or has started it again."""
    with import_folders.locked(folder) as ours:
        if not ours or _ended_at(place, import_id) is None:
            return False
        folders.remove(folder)
    return True
