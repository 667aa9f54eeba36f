"""Uploads opened with suspicion: zip and tar, wrapped in any number of folders; nothing is unpacked by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.datasets.archives.base import Archive
from app.datasets.archives.compressed import UnpackedTar, pieces_of
from app.datasets.archives.tar import BLOCK, is_tar, list_tar, open_tar
from app.datasets.archives.zip import open_zip
from app.errors import Invalid

__all__ = ["Archive", "open_upload"]

OTHERS = {
    b"Rar!": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"%PDF": "PDF",
}
KNOWN = "send a zip, or a tar (plain, gz or zst)"


@contextmanager
def open_upload(path: Path, folder: Path, max_bytes: int) -> Iterator[Archive]:
    """The upload at `path`, whose files may have `max_bytes` together when unpacked; its kind is told by its bytes.

    A compressed tar is unpacked into one file in `folder`, which is gone afterwards. `Invalid` or `TooLarge` names the
    entry that is refused, and what to do about it.
    """
    with path.open("rb") as file:
        start = file.read(BLOCK)
        file.seek(0)
        if start.startswith(b"PK"):
            yield open_zip(file, max_bytes)
        elif is_tar(start):
            yield open_tar(file, max_bytes)
        elif (pieces := pieces_of(file, start)) is not None:
            with _unpacked(pieces, folder / "unpacked.tar", max_bytes) as archive:
                yield archive
        else:
            kind = next((kind for magic, kind in OTHERS.items() if start.startswith(magic)), None)
            raise Invalid(f"the upload is {f'a {kind} file' if kind else 'no archive of a known kind'}; {KNOWN}")


@contextmanager
def _unpacked(pieces: Iterator[bytes], path: Path, max_bytes: int) -> Iterator[Archive]:
    path.unlink(missing_ok=True)  # of a process that was killed
    try:
        with path.open("xb+") as copy:
            listing = list_tar(UnpackedTar(pieces, copy), max_bytes)
            copy.flush()
            yield listing.archive(copy)
    finally:
        path.unlink(missing_ok=True)
