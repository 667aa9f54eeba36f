"""A dataset folder as one zip, stored uncompressed: images do not shrink, and the platform reads ranges of it."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vision_client.errors import VisionError

MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # zip, empty zip, gzip, zstandard
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257

Advance = Callable[[int], None]


@contextmanager
def dataset_archive(path: Path, advance: Callable[[str, int], Advance]) -> Iterator[Path]:
    """The archive at `path` itself, or a temporary zip of the folder; `advance(title, total)` starts a progress bar."""
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="vision-") as folder:
            archive = Path(folder) / "data.zip"
            pack(path, archive, advance)
            yield archive
    elif path.is_file() and _is_archive(path):
        yield path
    elif path.exists():
        raise VisionError(f"{path} is neither a folder nor a zip, tar, tar.gz or tar.zst")
    else:
        raise VisionError(f"{path} does not exist")


def pack(folder: Path, archive: Path, advance: Callable[[str, int], Advance]) -> None:
    """Every file below the folder but hidden ones, in the order of their names."""
    files = sorted(_files(folder))
    if not files:
        raise VisionError(f"{folder} holds no files")
    packed = advance("packing", sum(file.stat().st_size for file in files))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as target:
        for file in files:
            target.write(file, file.relative_to(folder).as_posix())
            packed(file.stat().st_size)


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(TAR_MAGIC_AT + len(TAR_MAGIC))
    return head.startswith(MAGICS) or head[TAR_MAGIC_AT:] == TAR_MAGIC


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_noise(name)]
        yield from (Path(parent, name) for name in names if not _is_noise(name))


def _is_noise(name: str) -> bool:
    """What operating systems and editors leave behind; no part of a dataset."""
    return name.startswith(".") or name in {"__MACOSX", "Thumbs.db", "desktop.ini"}
