"""A trainer's output, read by byte range or from its end while it grows. Memory is bounded whatever its size.

Offsets are logical: they count from the first byte ever printed, also after the oldest files were removed.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import Invalid, NotFound
from app.launchers.records import LOG_FOLDER

MAX_BYTES = 2**20
MAX_LINES = 10_000
BLOCK_BYTES = 64 * 2**10
MAX_TAIL_LINE = 2000


@dataclass(frozen=True)
class LogPart:
    """`text` begins at byte `offset`; reading goes on at `next_offset`. `total` bytes were printed so far."""

    offset: int
    next_offset: int
    total: int
    text: str


@dataclass(frozen=True)
class _Segment:
    start: int
    size: int
    path: Path

    @property
    def end(self) -> int:
        return self.start + self.size


def read(attempt_dir: Path, offset: int, limit: int) -> LogPart:
    """At most `limit` bytes from `offset`, or from the oldest that is still there. Invalid beyond the end."""
    segments = _segments(attempt_dir)
    total = segments[-1].end if segments else 0
    if offset > total:
        problem = {"field": "offset", "value": offset, "message": f"must be at most {total}, the log's end"}
        raise Invalid(f"offset {offset} is beyond the log's end, {total}", fields=[problem])
    start = max(offset, segments[0].start) if segments else 0
    return _part(segments, start, min(total, start + min(limit, MAX_BYTES)), total)


def tail(attempt_dir: Path, lines: int) -> LogPart:
    """The last `lines` lines, as far as they fit into MAX_BYTES."""
    segments = _segments(attempt_dir)
    total = segments[-1].end if segments else 0
    start = _start_of_lines(segments, total, min(lines, MAX_LINES)) if segments and lines else total
    return _part(segments, start, total, total)


def last_lines(attempt_dir: Path, lines: int) -> list[str]:
    """The last lines, each cut to a length that fits a database row."""
    return [line[:MAX_TAIL_LINE] for line in tail(attempt_dir, lines).text.splitlines()[-lines:]]


def check_present(attempt_dir: Path, job_id: int, number: int) -> None:
    """NotFound if an attempt that has ended has no log."""
    if not (attempt_dir / LOG_FOLDER).is_dir():
        raise NotFound(f"attempt {number} of job {job_id} has no log: it never started, or its folder was removed")


def _segments(attempt_dir: Path) -> list[_Segment]:
    """The files that exist, oldest first."""
    found = []
    for path in sorted((attempt_dir / LOG_FOLDER).glob("*.log")):
        try:
            found.append(_Segment(int(path.stem), path.stat().st_size, path))
        except FileNotFoundError:
            continue  # rotated away just now
    return found


def _part(segments: list[_Segment], start: int, end: int, total: int) -> LogPart:
    """Never cuts a character in two: what is left of one at the end comes with the next read."""
    start, data = _bytes(segments, start, end)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    pending = len(decoder.getstate()[0])
    if pending == len(data) and data:
        text, pending = data.decode(errors="replace"), 0  # nothing but a broken character: it must not stop a reader
    return LogPart(start, start + len(data) - pending, total, text)


def _bytes(segments: list[_Segment], start: int, end: int) -> tuple[int, bytes]:
    """The bytes, and where they begin: later than asked where a file was rotated away meanwhile."""
    found = bytearray()
    begin = start
    for segment in segments:
        if segment.end <= start or segment.start >= end:
            continue
        try:
            with segment.path.open("rb") as file:
                file.seek(max(0, start - segment.start))
                found += file.read(min(end, segment.end) - max(start, segment.start))
        except FileNotFoundError:
            found.clear()
            begin = segment.end
    return min(begin, end), bytes(found)


def _start_of_lines(segments: list[_Segment], total: int, lines: int) -> int:
    """Where the last `lines` lines begin. A newline at the very end belongs to the last of them."""
    wanted = lines + 1 if _bytes(segments, total - 1, total)[1] == b"\n" else lines
    first = max(segments[0].start, total - MAX_BYTES)
    for start, block in _blocks_backwards(segments, first, total):
        newlines = block.count(b"\n")
        if newlines >= wanted:
            for _ in range(newlines - wanted + 1):
                position = block.index(b"\n") + 1
                start, block = start + position, block[position:]
            return start
        wanted -= newlines
    return first


def _blocks_backwards(segments: list[_Segment], first: int, total: int) -> Iterator[tuple[int, bytes]]:
    end = total
    while end > first:
        start = max(first, end - BLOCK_BYTES)
        yield _bytes(segments, start, end)
        end = start
