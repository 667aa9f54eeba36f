"""Uploads opened with suspicion: zip and tar, wrapped in any number of folders; nothing is unpacked by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.datasets.archives.base import Archive
from app.datasets.archives.compressed import UnpackedTar, pieces_of
from app.datasets.archives.listing import Listing
from app.datasets.archives.tar import BLOCK, PlainTar, is_tar, list_tar
from app.datasets.archives.zip import list_zip
from app.errors import Invalid

__all__ = ["Archive", "open_upload", "open_version"]

OTHERS = {
    b"Rar!": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"%PDF": "PDF",
}
LONGEST_OWN_NAME = 2_000  # a class and a file name, with a split before them
KNOWN = "send a zip, or a tar (plain, gz or zst)"


@contextmanager
def open_upload(path: Path, folder: Path, max_bytes: int) -> Iterator[Archive]:
    """The upload at `path`, whose files may have `max_bytes` together when unpacked; its kind is told by its bytes.

    A compressed tar is unpacked into one file in `folder`, which is gone afterwards. `Invalid` or `TooLarge` names the
    entry that is refused, and what to do about it.
    """
    listing = Listing(max_bytes)
    with path.open("rb") as file:
        start = file.read(BLOCK)
        file.seek(0)
        if start.startswith(b"PK"):
            list_zip(file, listing)
            yield listing.dataset(file)
        elif is_tar(start):
            list_tar(PlainTar(file), listing)
            yield listing.dataset(file)
        elif (pieces := pieces_of(file, start)) is not None:
            with _unpacked(pieces, folder / "unpacked.tar", listing) as archive:
                yield archive
        else:
            kind = next((kind for magic, kind in OTHERS.items() if start.startswith(magic)), None)
            raise Invalid(f"the upload is {f'a {kind} file' if kind else 'no archive of a known kind'}; {KNOWN}")


@contextmanager
def open_version(path: Path) -> Iterator[Archive]:
    """The data.zip of a version at `path`: every file under its own path, none left out."""
    listing = Listing(path.stat().st_size, longest_name=LONGEST_OWN_NAME)
    with path.open("rb") as file:
        list_zip(file, listing)
        yield listing.everything(file)


@contextmanager
def _unpacked(pieces: Iterator[bytes], path: Path, listing: Listing) -> Iterator[Archive]:
    path.unlink(missing_ok=True)  # of a process that was killed
    try:
        with path.open("xb+") as copy:
            list_tar(UnpackedTar(pieces, copy), listing)
            copy.flush()
            yield listing.dataset(copy)
    finally:
        path.unlink(missing_ok=True)
