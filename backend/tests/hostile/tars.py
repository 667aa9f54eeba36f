"""Tars with every field free to lie, and what gzip and Zstandard can do to them."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import zstandard

Compressed = Callable[[int, bytes], bytes]
BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, LINK, CHARACTER, DEVICE, FOLDER, FIFO = (b"%d" % number for number in range(7))
IMAGE = b"images/train/a.jpg"


def member(name: bytes = IMAGE, data: bytes = b"an image", kind: bytes = FILE, **fields: Any) -> bytes:
    """A header with its bytes, padded."""
    return header(name, len(data), kind, **fields) + padded(data)


def header(name: bytes = IMAGE, size: int | bytes = 0, kind: bytes = FILE, **fields: Any) -> bytes:
    told = {"link": b"", "magic": b"ustar\x0000", "prefix": b"", "checksum": None} | fields
    octal = size if isinstance(size, bytes) else b"%011o\0" % size
    start = b"".join([name.ljust(100, b"\0"), b"0000644\0", b"0000000\0" * 2, octal, b"00000000000\0", b" " * 8, kind])
    rest = told["link"].ljust(100, b"\0") + told["magic"] + bytes(80) + told["prefix"].ljust(155, b"\0")
    block: bytes = (start + rest).ljust(BLOCK, b"\0")
    checksum: int = sum(block) if told["checksum"] is None else told["checksum"]
    return block[:148] + b"%06o\0 " % checksum + block[156:]


def pax(records: Mapping[str, str | bytes], kind: bytes = b"x") -> bytes:
    """A pax header; of kind `g` it is for all members."""
    lines = b""
    for key, value in records.items():
        text = value.encode() if isinstance(value, str) else value
        line = b" %s=%s\n" % (key.encode(), text)
        length = len(line) + len(str(len(line) + len(str(len(line)))))
        lines += b"%d" % length + line
    return member(b"PaxHeaders/a.jpg", lines, kind)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def gzip_of_zeros(mebibytes: int, start: bytes = b"") -> bytes:
    """`start`, then so many zeros, a thousandth of their size."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [deflater.compress(start), *(deflater.compress(bytes(2**20)) for _ in range(mebibytes)), deflater.flush()]
    return b"".join(parts)


def zstd_of_zeros(mebibytes: int, start: bytes = b"") -> bytes:
    """`start`, then so many zeros, a thirty thousandth of their size."""
    compressor = zstandard.ZstdCompressor().compressobj()
    parts = [compressor.compress(start), *(compressor.compress(bytes(2**20)) for _ in range(mebibytes))]
    return b"".join([*parts, compressor.flush()])


def zstd_of_window(log: int) -> bytes:
    """A frame that asks for a window of 2**log bytes to be held in memory."""
    descriptor, window = 0x00, (log - 10) << 3
    block = (100 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"  # a run of 100 zeros, the last block
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor, window]) + block


def compressions(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "plain", data
    yield "gz", gzip.compress(data, mtime=0)
    yield "zst", zstandard.ZstdCompressor(write_checksum=True).compress(data)
