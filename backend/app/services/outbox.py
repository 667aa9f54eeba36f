"""A trainer's outbox: the reports that it wrote to its disk and may not have delivered.

One record a line: the CRC-32 of the JSON as eight hex digits, a space, the JSON. A damaged record costs itself alone.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.db import Database
from app.services import events

FILE_NAME = "outbox.jsonl"
MAX_RECORD_BYTES = 2**20
MAX_BATCH_EVENTS, MAX_BATCH_BYTES = 500, 2**20


@dataclass(frozen=True)
class Drained:
    """How many records were taken in, and how many were unreadable or refused."""

    taken: int
    damaged: int
    rejected: int


def drain(database: Database, job_id: int, attempt: int, path: Path, acknowledged: int, now: datetime) -> Drained:
    """Take in what the file holds beyond the acknowledged sequence. May be repeated; a missing file is empty."""
    taken = damaged = rejected = 0
    batch: list[dict[str, Any]] = []
    size = 0

    def deliver() -> None:
        nonlocal taken, rejected
        if batch:
            with database.write_session() as session:
                answer = events.ingest(session, job_id, attempt, None, batch, now)
            rejected += len(answer.rejected)
            taken += len(batch) - len(answer.rejected)

    for record in read(path):
        if record is None:
            damaged += 1
        elif _sequence(record) > acknowledged:
            batch.append(record)
            size += len(json.dumps(record))
            if len(batch) == MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES:
                deliver()
                batch, size = [], 0
    deliver()
    return Drained(taken, damaged, rejected)


def read(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each record in order, None for one that is damaged: torn, changed, or longer than a record may be."""
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        while line := file.readline(MAX_RECORD_BYTES):
            if len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                _skip_line(file)
                yield None
            elif line.strip():
                yield parse(line.rstrip(b"\n"))


def is_begun(path: Path) -> bool:
    """Whether the trainer has written anything."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def parse(line: bytes) -> dict[str, Any] | None:
    digits, space, data = line[:8], line[8:9], line[9:]
    if space != b" " or digits != b"%08x" % zlib.crc32(data):
        return None
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _skip_line(file: Any) -> None:
    while (piece := file.readline(MAX_RECORD_BYTES)) and not piece.endswith(b"\n"):
        pass


def _sequence(record: dict[str, Any]) -> float:
    """A record without a usable sequence goes in, to be refused with a reason."""
    sequence = record.get("sequence")
    return sequence if isinstance(sequence, int) else float("inf")
