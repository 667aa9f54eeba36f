"""gz and zst as a stream of bounded pieces, and a tar unpacked from it into a file while its headers are checked."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from app.datasets.archives.entries import CHUNK
from app.datasets.archives.listing import MAX_RATIO
from app.errors import Invalid

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"  # from the second byte on: pzstd begins with such a frame
GZIP_STREAM = 31  # zlib's name for a gzip header and the largest window
MAX_WINDOW = 2**27  # what `zstd -d` allows without --long, and so what we hold in memory
RATIO_APPLIES_FROM = 2**24
PACKED_CHUNK = 2**16
REPAIR = "; pack and send it again"


def pieces_of(file: BinaryIO, start: bytes) -> Iterator[bytes] | None:
    """What the compressed file holds, by its first bytes; None for what is not compressed in a known way."""
    if start.startswith(GZIP):
        return _bounded(_gunzip(file), file)
    if start.startswith(ZSTD) or (start[1:4] == SKIPPABLE and start[0] & 0xF0 == 0x50):
        return _bounded(_unzstd(file), file)
    return None


class UnpackedTar:
    """A `Source` that writes what passes through it to `copy`."""

    def __init__(self, pieces: Iterator[bytes], copy: BinaryIO) -> None:
        self._pieces, self._copy = pieces, copy
        self._piece, self._used = b"", 0
        self.position = 0

    def take(self, length: int) -> bytes:
        taken = bytearray()
        while len(taken) < length and (part := self._next(length - len(taken))):
            taken += part
        return bytes(taken)

    def skip(self, length: int) -> bool:
        while length and (part := self._next(length)):
            length -= len(part)
        return length == 0

    def _next(self, limit: int) -> bytes:
        if self._used == len(self._piece):
            self._piece, self._used = next(self._pieces, b""), 0
        part = self._piece[self._used : self._used + limit]
        self._used += len(part)
        self.position += len(part)
        self._copy.write(part)
        return part


def _bounded(pieces: Iterator[bytes], file: BinaryIO) -> Iterator[bytes]:
    """Stop a bomb by its ratio, long before its size does; damage is `Invalid`."""
    given = 0
    try:
        for piece in pieces:
            given += len(piece)
            if given > RATIO_APPLIES_FROM and given > MAX_RATIO * file.tell():
                raise Invalid(f"the upload grows more than {MAX_RATIO} times when unpacked; send it uncompressed")
            yield piece
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise Invalid(f"the upload is damaged: {error}{REPAIR}") from error


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    inflater = zlib.decompressobj(GZIP_STREAM)
    while packed := file.read(PACKED_CHUNK):
        while packed:
            if inflater.eof:  # another member, or padding
                if packed := packed.lstrip(b"\0"):
                    inflater = zlib.decompressobj(GZIP_STREAM)
                continue
            if piece := inflater.decompress(packed, CHUNK):
                yield piece
            packed = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if rest := inflater.flush():
        yield rest
    if not inflater.eof:
        raise EOFError("its end is missing")


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """A frame that was cut off just ends; the tar in it tells whether it is whole."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(file, PACKED_CHUNK, read_across_frames=True, closefd=False) as reader:
        while piece := reader.read(CHUNK):
            yield piece
