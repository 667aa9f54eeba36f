"""A zip that is read while it is written: stored, as images do not shrink, and with ZIP64 where it grows that large."""

import zipfile
from collections.abc import Iterator
from typing import IO, cast

from app.datasets.exports.base import ExportedFile

EPOCH = (1980, 1, 1, 0, 0, 0)  # one time for all: equal content gives equal bytes
PIECE = 2**20


def zipped(files: Iterator[ExportedFile]) -> Iterator[bytes]:
    """The archive's bytes in pieces of about a mebibyte."""
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, EPOCH)
            entry.create_system, entry.external_attr, entry.file_size = 3, 0o100644 << 16, file.size or 0
            with archive.open(entry, "w", force_zip64=file.size is None) as target:
                for chunk in file.chunks:
                    target.write(chunk)
                    if len(sink.waiting) >= PIECE:
                        yield sink.take()
    yield sink.take()


class _Sink:
    """What zipfile takes for a stream that cannot seek."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def write(self, data: bytes) -> int:
        self.waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken
