"""Bring a dataset: its archive goes in parts that survive a broken connection; then the platform reads it."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vision_client.api import Client
from vision_client.errors import ApiError, Unreachable, VisionError
from vision_client.models import Import

PART = 16 << 20
PATIENCE_SECONDS = 300.0  # without one byte that arrives
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0
WAITING = frozenset({"queued", "running"})

Advance = Callable[[int], None]


def bring(client: Client, archive: Path, request: Mapping[str, Any], advance: Advance | None = None) -> Import:
    """Send the archive, wait until it is read; the accepted import. ApiError with what was found if it was refused."""
    started = send(client, client.create_import(announce(archive, request)), archive, advance)
    *_, ended = [started, *changes(client, started)]
    return require_accepted(ended)


def announce(archive: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The API's ImportCreate for this archive: the request with the size and the digest of its bytes."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {**request, "size": archive.stat().st_size, "sha256": digest}


def send(client: Client, upload: Import, archive: Path, advance: Advance | None = None) -> Import:
    """Every byte that the platform has not; a connection that breaks is tried again for five minutes.

    Raises Unreachable after them; the import can then be continued from where it stands.
    """
    if advance:
        advance(upload.received)
    with archive.open("rb") as file:
        while upload.received < archive.stat().st_size:
            file.seek(upload.received)
            reached = _send_part(client, upload, file.read(PART))
            if advance:
                advance(reached.received - upload.received)
            upload = reached
    return client.start_import(upload.id)


def changes(client: Client, current: Import) -> Iterator[Import]:
    """The import each time that it has come further, the last one ended."""
    pause = PAUSE_SECONDS
    while current.status in WAITING:
        time.sleep(pause)
        seen = client.read_import(current.id)
        pause = PAUSE_SECONDS if seen != current else min(2 * pause, LONGEST_PAUSE_SECONDS)
        if seen != current:
            current = seen
            yield current


def require_accepted(ended: Import) -> Import:
    """The import itself; VisionError for one that failed, was cancelled or refused."""
    if ended.status == "accepted":
        return ended
    if ended.error:
        raise ApiError(ended.error.code, ended.error.message, ended.error.details, 422)
    raise VisionError(f"import {ended.id} was {ended.status}")


def _send_part(client: Client, upload: Import, part: bytes) -> Import:
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, PAUSE_SECONDS
    while True:
        try:
            return client.send_part(upload.id, upload.received, part)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
        except ApiError as error:
            received = error.details.get("received")
            if error.code == "CONFLICT" and isinstance(received, int) and received != upload.received:
                return client.read_import(upload.id)  # an answer was lost: the bytes are there
            if error.status < 500 or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
