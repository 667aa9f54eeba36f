"""Files that are in storage already: a folder of objects, one archive, or the version that a new one comes from.

The platform's own objects are nobody's source: what is under them is reached through datasets, jobs and checkpoints.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.errors import Invalid, NotFound, TooLarge
from app.models import Import
from app.services.datasets import folders
from app.services.ownership import CLAIM, PLATFORM_FOLDERS
from app.storage import ObjectInfo, Storage, check_key

OURS = (*PLATFORM_FOLDERS, "uploads", "weights", CLAIM)
MAX_OBJECTS = 500_000
EPOCH = (1980, 1, 1, 0, 0, 0)
Fetched = Callable[[int, int], None]  # bytes, of how many; raises to stop


def check(storage: Storage, source: dict[str, Any]) -> dict[str, Any]:
    """The source {"prefix": …} or {"key": …} as it is recorded. Invalid if it is ours, wrong, or not there."""
    [(field, name)] = source.items()
    try:
        key = check_key(name.rstrip("/") if field == "prefix" else name)
    except Invalid as error:
        raise _refused(field, name, error.message) from error
    if key.split("/")[0] in OURS:
        raise _refused(field, name, f"is the platform's own; put files elsewhere, not below {', '.join(OURS)}")
    there = storage.size(key) if field == "key" else next(storage.list(key), None)
    if there is None:
        raise _refused(field, name, f"is not in {storage.where}; `key` names one archive, `prefix` a folder of objects")
    return {"kind": "storage", field: key}


def fetch(storage: Storage, row: Import, folder: Path, max_bytes: int, fetched: Fetched) -> None:
    """Bring what the import needs into its folder: the upload, and the parent's archive and index.

    Raises TooLarge, Invalid for names that no archive may have, NotFound for what is gone by now.
    """
    if prefix := row.source.get("prefix"):
        _spool(storage, prefix, folder / folders.UPLOAD, max_bytes, fetched)
    elif key := row.source.get("key"):
        size = storage.size(key) or 0
        _check_bytes(size, max_bytes)
        _copy(storage.stream(key), folder / folders.UPLOAD, size, fetched)
    if row.parent_version is not None:
        parent = f"datasets/{row.source['dataset_id']}/{row.parent_version}"
        for name, target in (("index.sqlite", "parent.sqlite"), ("data.zip", "parent.zip")):
            key = f"{parent}/{name}"
            _copy(storage.stream(key), folder / target, storage.size(key) or 0, fetched)


def fetch_index(storage: Storage, key: str, folder: Path, fetched: Fetched) -> None:
    """The index of the version before, for the splits that it has; nothing if it is gone by now."""
    if (size := storage.size(key)) is not None:
        _copy(storage.stream(key), folder / "parent.sqlite", size, fetched)


def _spool(storage: Storage, prefix: str, target: Path, max_bytes: int, fetched: Fetched) -> None:
    """The objects of a folder as one stored zip, named as they are below it."""
    found = _listed(storage, prefix, max_bytes)
    total, done = sum(item.size for item in found), 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for item in found:
            entry = zipfile.ZipInfo(item.key.removeprefix(f"{prefix}/"), EPOCH)
            with archive.open(entry, "w", force_zip64=True) as file:
                for chunk in storage.stream(item.key):
                    file.write(chunk)
                    done += len(chunk)
                    _check_bytes(done, max_bytes)
                    fetched(done, total)


def _listed(storage: Storage, prefix: str, max_bytes: int) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    total = 0
    for item in storage.list(prefix):
        total += item.size
        found.append(item)
        if len(found) > MAX_OBJECTS:
            raise TooLarge(f"{prefix} holds more than {MAX_OBJECTS} objects")
        _check_bytes(total, max_bytes)
    if not found:
        raise NotFound(f"{prefix} holds no objects any more")
    return sorted(found, key=lambda item: item.key)


def _copy(chunks: Iterator[bytes], target: Path, size: int, fetched: Fetched) -> None:
    done = 0
    with target.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            fetched(done, size)


def _check_bytes(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"there are more than {max_bytes} bytes (MAX_DATASET_BYTES)")


def _refused(field: str, value: str, message: str) -> Invalid:
    problem = {"field": f"source.{field}", "value": value, "message": message}
    return Invalid(f"source.{field}={value!r}: {message}", fields=[problem])
