"""A trainer's output, read by byte range or from its end, while it grows and after. Memory is bounded.

It is in rotated files while the attempt's folder is there, and in one object of the storage from some time after its
end on (see log_archive.py).

Offsets are logical: they count from the first byte ever printed, also after the oldest files were removed.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import Invalid, NotFound
from app.launchers.records import LOG_FOLDER
from app.models import Attempt
from app.storage import Storage

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
class StoredLog:
    """An object of the storage with the bytes from `start` on."""

    storage: Storage
    key: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    def read(self, start: int, length: int) -> bytes:
        return b"".join(self.storage.stream(self.key, start, length))


Source = Path | StoredLog  # an attempt's folder, or its log in storage


class _Segment(Protocol):
    """A run of bytes at a logical offset. `read` counts from the segment's own first byte."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    def read(self, start: int, length: int) -> bytes: ...


@dataclass(frozen=True)
class _File:
    start: int
    size: int
    path: Path

    @property
    def end(self) -> int:
        return self.start + self.size

    def read(self, start: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(length)


def find(storage: Storage, attempt_dir: Path, attempt: Attempt) -> Source:
    """Where the attempt's log is. NotFound, with the reason, if it has ended and has none."""
    if attempt.ended_at is None or (attempt_dir / LOG_FOLDER).is_dir():
        return attempt_dir
    who = f"attempt {attempt.number} of job {attempt.job_id}"
    if attempt.log_removed_at is not None:
        day = attempt.log_removed_at.date().isoformat()
        raise NotFound(f"the log of {who} was collected on {day} (RETENTION_LOG_DAYS, LOG_LIMIT_BYTES)")
    if attempt.log_start is None or attempt.log_size is None:
        raise NotFound(f"{who} has no log: it never started, or its folder was removed")
    return StoredLog(storage, stored_key(attempt.job_id, attempt.number), attempt.log_start, attempt.log_size)


def stored_key(job_id: int, number: int) -> str:
    """Beside the folder artifacts/job-{id}/attempt-{n}/, whose names are the trainer's."""
    return f"artifacts/job-{job_id}/attempt-{number}.log"


def bounds(attempt_dir: Path) -> tuple[int, int] | None:
    """The offsets of the oldest byte that is there and of the end; None if nothing was ever started."""
    if not (attempt_dir / LOG_FOLDER).is_dir():
        return None
    segments = _segments(attempt_dir)
    return (segments[0].start, segments[-1].end) if segments else (0, 0)


def chunks(attempt_dir: Path, start: int, end: int) -> Iterator[bytes]:
    segments = _segments(attempt_dir)
    for first in range(start, end, BLOCK_BYTES):
        yield _bytes(segments, first, min(end, first + BLOCK_BYTES))[1]


def read(source: Source, offset: int, limit: int) -> LogPart:
    """At most `limit` bytes from `offset`, or from the oldest that is still there. Invalid beyond the end."""
    segments = _segments(source)
    total = segments[-1].end if segments else 0
    if offset > total:
        problem = {"field": "offset", "value": offset, "message": f"must be at most {total}, the log's end"}
        raise Invalid(f"offset {offset} is beyond the log's end, {total}", fields=[problem])
    start = max(offset, segments[0].start) if segments else 0
    return _part(segments, start, min(total, start + min(limit, MAX_BYTES)), total)


def tail(source: Source, lines: int) -> LogPart:
    """The last `lines` lines, as far as they fit into MAX_BYTES."""
    segments = _segments(source)
    total = segments[-1].end if segments else 0
    start = _start_of_lines(segments, total, min(lines, MAX_LINES)) if segments and lines else total
    return _part(segments, start, total, total)


def last_lines(attempt_dir: Path, lines: int) -> list[str]:
    """The last lines, each cut to a length that fits a database row."""
    return [line[:MAX_TAIL_LINE] for line in tail(attempt_dir, lines).text.splitlines()[-lines:]]


def _segments(source: Source) -> Sequence[_Segment]:
    """What there is, oldest first."""
    if isinstance(source, StoredLog):
        return [source]
    found = []
    for path in sorted((source / LOG_FOLDER).glob("*.log")):
        try:
            found.append(_File(int(path.stem), path.stat().st_size, path))
        except FileNotFoundError:
            continue  # rotated away just now
    return found


def _part(segments: Sequence[_Segment], start: int, end: int, total: int) -> LogPart:
    """Never cuts a character in two: what is left of one at the end comes with the next read."""
    start, data = _bytes(segments, start, end)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    pending = len(decoder.getstate()[0])
    if pending == len(data) and data:
        text, pending = data.decode(errors="replace"), 0  # nothing but a broken character: it must not stop a reader
    return LogPart(start, start + len(data) - pending, total, text)


def _bytes(segments: Sequence[_Segment], start: int, end: int) -> tuple[int, bytes]:
    """The bytes, and where they begin: later than asked where a file was rotated away meanwhile."""
    found = bytearray()
    begin = start
    for segment in segments:
        if segment.end <= start or segment.start >= end:
            continue
        try:
            first = max(start, segment.start)
            found += segment.read(first - segment.start, min(end, segment.end) - first)
        except FileNotFoundError:
            found.clear()
            begin = segment.end
    return min(begin, end), bytes(found)


def _start_of_lines(segments: Sequence[_Segment], total: int, lines: int) -> int:
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


def _blocks_backwards(segments: Sequence[_Segment], first: int, total: int) -> Iterator[tuple[int, bytes]]:
    end = total
    while end > first:
        start = max(first, end - BLOCK_BYTES)
        yield _bytes(segments, start, end)
        end = start
