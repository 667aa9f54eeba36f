"""A dataset folder as one zip, and as a version in a local storage bucket."""

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same files make the same bytes


def write_zip(folder: Path, archive: Path) -> str:
    """Every file of `folder`, uncompressed, sorted by path; the archive's sha256."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f".{archive.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), LONG_AGO)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, path.read_bytes())
    os.replace(partial, archive)
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def store_dataset(archive: Path, bucket: Path, dataset_id: str) -> int:
    """Add the archive to a local bucket as `datasets/{id}/{version}/data.zip` and point `latest` at it; the version.

    Versions are immutable: the same content stays the version it is, other content becomes the next one.
    """
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    home = bucket / "datasets" / dataset_id
    latest = _read_latest(home / "latest")
    if latest and latest["archive_sha256"] == digest:
        return int(latest["version"])
    version = int(latest["version"]) + 1 if latest else 1
    _write(home / str(version) / "data.zip", archive.read_bytes())
    _write(home / "latest", json.dumps({"version": version, "archive_sha256": digest}).encode())
    return version


def store_image(image: Path, bucket: Path, dataset_id: str) -> str:
    """Put an image where `predict.py` finds it by key; the key."""
    key = f"samples/{dataset_id}{image.suffix}"
    _write(bucket / key, image.read_bytes())
    return key


def _read_latest(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, path)
