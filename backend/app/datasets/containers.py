"""JPEG and PNG files taken apart without decoding: where the picture ends, and the file without what hides around it.

The pixels stay as they are to the bit. JPEG: ITU-T T.81, annex B. PNG: the W3C's specification, section 5.
"""

import re
import struct
from collections.abc import Iterator

MAX_SCANS = 100  # a progressive JPEG has about ten; each of thousands would cost a pass over all pixels
MAX_CHUNKS = 100_000  # of a PNG; at the usual 8 KiB a chunk that is 800 MiB

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in coded data: not a stuffed byte, fill or restart
_START_OF_SCAN, _END = 0xDA, 0xD9
_JFIF, _ICC, _ADOBE = 0xE0, 0xE2, 0xEE
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"IDAT", b"IEND"))


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG is made to be slow."""
    if data.count(b"\xff\xda") <= MAX_SCANS:
        return False
    return sum(marker == _START_OF_SCAN for marker, _, _ in _jpeg_segments(data)) > MAX_SCANS


def jpeg_end(data: bytes) -> int | None:
    """The length of the JPEG in `data`; None if its end is missing."""
    return next((stop for marker, _, stop in _jpeg_segments(data) if marker == _END), None)


def png_end(data: bytes) -> int | None:
    """The length of the PNG in `data`; None if its end is missing. ValueError if it has too many chunks."""
    end = None
    for count, (kind, _, stop) in enumerate(_png_chunks(data)):
        if count == MAX_CHUNKS:
            raise ValueError(f"more than {MAX_CHUNKS} chunks")
        end = stop if kind == b"IEND" else None
    return end


def clean(data: bytes, kind: str) -> bytes | None:
    """The same picture without its metadata, further pictures and bytes behind its end; None where that cannot be."""
    if kind == "JPEG":
        return _clean_jpeg(data)
    return _clean_png(data) if kind == "PNG" else None


def _clean_jpeg(data: bytes) -> bytes | None:
    """Also without EXIF, so only for a picture that is upright."""
    parts = [data[:2]]
    for marker, start, stop in _jpeg_segments(data):
        segment = data[start:stop]
        if not _is_metadata(marker, segment):
            parts.append(segment)
        if marker == _END:
            return b"".join(parts)
    return None


def _is_metadata(marker: int, segment: bytes) -> bool:
    if marker == _ICC:
        return not segment[4:].startswith(b"ICC_PROFILE\0")
    return marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (_JFIF, _ADOBE))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and stop of each segment up to the end of the image; a scan's coded data belongs to it."""
    position = 2
    while (found := _NEXT_MARKER.search(data, position)) and not data[position : found.start()].strip(b"\xff"):
        start, marker = found.start(), data[found.start() + 1]
        if marker == _END:
            yield marker, start, start + 2
            return
        position = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker == _START_OF_SCAN:
            following = _NEXT_MARKER.search(data, position)
            position = following.start() if following else len(data)
        yield marker, start, position


def _clean_png(data: bytes) -> bytes | None:
    parts = [_SIGNATURE]
    for kind, start, stop in _png_chunks(data):
        if kind in _PNG_KEPT:
            parts.append(data[start:stop])
        if kind == b"IEND":
            return b"".join(parts)
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and stop of each whole chunk up to the end of the image."""
    start = len(_SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        stop = start + 12 + length
        if stop > len(data):
            return
        yield kind, start, stop
        if kind == b"IEND":
            return
        start = stop
