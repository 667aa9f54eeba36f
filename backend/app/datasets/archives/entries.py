"""Where each file of an upload lies, and its bytes, read by position: any number of threads at once, no shared cursor.

No file gives more bytes than its directory said; what was read to the end has its size and its checksum.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from app.errors import Invalid

CHUNK = 2**20
RAW_DEFLATE = -15  # zlib's name for a stream without header


class Entry(NamedTuple):
    """`packed` bytes at `start` that become `size` bytes; a tar knows no checksum."""

    start: int
    packed: int
    size: int
    crc: int | None = None
    deflated: bool = False


class FileArchive:
    """The `Archive` of one open file. `entries` are checked: in the file, apart from each other, sorted by name."""

    def __init__(self, file: BinaryIO, entries: Mapping[str, Entry], ignored: int) -> None:
        self._file, self._entries, self._ignored = file, entries, ignored
        self._files = {name: entry.size for name, entry in entries.items()}

    @property
    def files(self) -> Mapping[str, int]:
        return MappingProxyType(self._files)

    @property
    def ignored(self) -> int:
        return self._ignored

    def read(self, name: str, limit: int) -> bytes:
        if self._files[name] > limit:
            raise Invalid(
                f"{name} has {self._files[name]} bytes; at most {limit} are allowed for this kind of file", entry=name
            )
        return b"".join(self.chunks(name))

    def head(self, name: str, length: int) -> bytes:
        found = bytearray()
        chunks = self.chunks(name)
        while len(found) < length and (chunk := next(chunks, b"")):
            found += chunk
        return bytes(found[:length])

    def chunks(self, name: str) -> Iterator[bytes]:
        entry = self._entries[name]
        given, crc = 0, 0
        try:
            for chunk in self._inflated(entry) if entry.deflated else self._stored(entry):
                given += len(chunk)
                if given > entry.size:
                    raise ValueError(f"it has more than the {entry.size} bytes that are stated")
                crc = zlib.crc32(chunk, crc)
                yield chunk
            if given != entry.size:
                raise ValueError(f"it has {given} bytes where {entry.size} are stated")
            if entry.crc is not None and crc != entry.crc:
                raise ValueError("its checksum is wrong")
        except (ValueError, zlib.error) as error:
            raise Invalid(f"{name} is damaged in the archive: {error}; pack and send it again", entry=name) from error

    def _stored(self, entry: Entry) -> Iterator[bytes]:
        position, end = entry.start, entry.start + entry.packed
        while position < end:
            data = os.pread(self._file.fileno(), min(CHUNK, end - position), position)
            if not data:
                raise ValueError("the archive ends within it")
            position += len(data)
            yield data

    def _inflated(self, entry: Entry) -> Iterator[bytes]:
        inflater = zlib.decompressobj(RAW_DEFLATE)
        for packed in self._stored(entry):
            while packed and not inflater.eof:
                if data := inflater.decompress(packed, CHUNK):
                    yield data
                packed = inflater.unconsumed_tail
            if packed or inflater.unused_data:
                raise ValueError("it has bytes after its end")
        if rest := inflater.flush():
            yield rest
        if not inflater.eof:
            raise ValueError("its end is missing")
