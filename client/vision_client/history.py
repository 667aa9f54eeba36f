"""A job's history as it happens, across broken connections and restarts of the platform."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx

from vision_client import sse
from vision_client.api import Client
from vision_client.errors import ApiError, Unreachable
from vision_client.models import HistoryEntry

IDLE_SECONDS = 2.0
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Quiet:
    """Nothing new at the moment: a chance to look at the job itself. `trouble` says why nothing can arrive."""

    trouble: str | None = None


class _Idle(Exception):
    """The connection is fine and nothing came; continuing from the last position costs little."""


def follow(
    client: Client, job_id: int, after: int = 0, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[HistoryEntry | Quiet]:
    """Every entry after the position `after`, each once and in order, without end: the caller decides when to leave.

    Raises ApiError when the platform refuses (the job was deleted, the token is wrong).
    """
    while True:
        try:
            with closing(_connection(client, job_id, after)) as entries:
                for entry in entries:
                    if isinstance(entry, HistoryEntry):
                        after = entry.position
                    yield entry
        except _Idle:
            yield Quiet()
            continue
        except (Unreachable, ApiError) as error:
            if isinstance(error, ApiError) and error.status < 500:
                raise
            yield Quiet(str(error))
        else:
            yield Quiet()  # the platform ended the stream in good order
        sleep(RECONNECT_SECONDS)


def _connection(client: Client, job_id: int, after: int) -> Generator[HistoryEntry | Quiet, None, None]:
    timeout = httpx.Timeout(10, read=IDLE_SECONDS)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    with client.stream(f"/api/v1/jobs/{job_id}/stream", headers=headers, timeout=timeout) as response:
        try:
            for message in sse.messages(response.iter_bytes()):
                yield Quiet() if message is None else HistoryEntry.model_validate_json(message.data)
        except httpx.ReadTimeout as silence:
            raise _Idle from silence
