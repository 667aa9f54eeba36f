"""The trainers' CACHE_DIR, as their utils.py keeps it: a dataset a folder, named by its digest, and beside it a lock.

Whoever uses a dataset holds its lock shared; whoever removes it needs the lock alone. The lock's time is that of the
last use, its content the folder's bytes. Weights have no locks: they go only while no trainer runs at all.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import exists, select

from app.models import Job
from app.services import attempts
from app.services.collection import folders, policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import YOUNG, CacheEntry, Item, Limits
from app.words import ACTIVE

HALF_MADE = (".incoming", ".evicted")


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    cache = attempts.cache_dir(place.settings)
    locks = sorted((cache / "datasets").glob("*.lock"))
    for lock in locks:
        yield from _half_made(place, lock, now)
    busy = _training(place)
    entries = {entry: path for path in locks for entry in [_dataset(path)]}
    entries |= {_weights(path, busy, now): path for path in _weights_files(cache)}
    for entry, reason in policy.surplus(entries, limits.cache_bytes, "CACHE_LIMIT_BYTES", now):
        path = entries[entry]
        remove = partial(_remove_dataset, path) if path.suffix == ".lock" else partial(_remove_weights, place, path)
        what = path.with_suffix("") if path.suffix == ".lock" else path
        yield Finding(Item("cache", str(what.relative_to(place.data_dir)), entry.bytes, reason), remove)


@contextmanager
def _alone(lock: Path) -> Iterator[int | None]:
    """The lock's descriptor while nobody uses or fetches the dataset, else None."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor if _taken(descriptor) else None
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _dataset(lock: Path) -> CacheEntry:
    folder = lock.with_suffix("")
    with _alone(lock) as descriptor:
        free = descriptor is not None
    said = lock.read_bytes()
    size = int(said) if said.isdigit() else folders.measure(folder)[0]
    used_at = datetime.fromtimestamp(lock.stat().st_mtime, UTC)
    return CacheEntry(str(folder), size if folder.is_dir() else 0, used_at, in_use=not free)


def _remove_dataset(lock: Path) -> bool:
    folder, evicted = lock.with_suffix(""), lock.with_suffix(".evicted")
    with _alone(lock) as descriptor:
        if descriptor is None:
            return False
        folders.remove(evicted)
        folder.rename(evicted)  # gone at once, however long removing takes
        folders.remove(evicted)
        os.ftruncate(descriptor, 0)
    return True


def _half_made(place: Place, lock: Path, now: datetime) -> Iterator[Finding]:
    """What a trainer that was killed while it fetched or removed a dataset left."""
    for path in (lock.with_suffix(suffix) for suffix in HALF_MADE):
        if path.is_dir():
            size, changed_at = folders.measure(path)
            if reason := policy.why_left(changed_at, now):
                item = Item("leftover", str(path.relative_to(place.data_dir)), size, reason)
                yield Finding(item, partial(_remove_half_made, lock, path))


def _remove_half_made(lock: Path, path: Path) -> bool:
    with _alone(lock) as descriptor:
        if descriptor is not None:
            folders.remove(path)
        return descriptor is not None


def _weights_files(cache: Path) -> list[Path]:
    return [path for path in sorted((cache / "weights").rglob("*")) if path.is_file() and not path.is_symlink()]


def _weights(path: Path, busy: bool, now: datetime) -> CacheEntry:
    found = path.stat()
    used_at = datetime.fromtimestamp(max(found.st_atime, found.st_mtime), UTC)
    return CacheEntry(str(path), found.st_size, used_at, in_use=busy or now - used_at < YOUNG)


def _remove_weights(place: Place, path: Path) -> bool:
    if _training(place):
        return False
    folders.remove(path)
    return True


def _training(place: Place) -> bool:
    with place.database.read_session() as session:
        return bool(session.scalar(select(exists().where(Job.status.in_(ACTIVE)))))
