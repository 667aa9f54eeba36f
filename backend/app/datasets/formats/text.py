"""Text of an upload: UTF-8, with or without a byte order mark, or UTF-16 with one, as Windows' own tools write it."""

import codecs
import io
from collections.abc import Iterator

from app.datasets.archives.base import Archive
from app.errors import Invalid

MAX_LINE = 2**20  # a polygon of fifty thousand points


def read_text(archive: Archive, name: str, limit: int) -> str:
    """A text file, whole. `Invalid` if it is longer than `limit` bytes, damaged, or in another encoding."""
    data = archive.read(name, limit)
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from error


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their number from 1, stripped; LF, CRLF and CR end a line and nothing else.

    `Invalid` at one of more than `MAX_LINE` characters: its words would not fit into memory.
    """
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if len(line) > MAX_LINE:
            raise Invalid(f"line {number} has {len(line)} characters; at most {MAX_LINE} are allowed")
        if stripped := line.strip():
            yield number, stripped
