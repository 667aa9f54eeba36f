"""A job's log as it grows, through retries and restarts of the platform, to the end of the job."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from vision_client.api import Client
from vision_client.errors import Unreachable
from vision_client.models import LogPiece

PAUSE_SECONDS = 1.0
PIECE_BYTES = 256 * 1024

T = TypeVar("T")
Sleep = Callable[[float], None]


def follow_log(
    client: Client, job_id: int, *, tail: int, attempt: int | None = None, sleep: Sleep = time.sleep
) -> Iterator[LogPiece]:
    """The last `tail` lines, then every new piece; ends with the attempt that was asked for, or with the job.

    A job that has not started yet is waited for.
    """
    while (job := client.job(job_id)).attempt == 0 and not job.ended:
        sleep(PAUSE_SECONDS)
    piece = client.logs(job_id, attempt=attempt, tail=tail)
    yield piece
    number, offset = piece.attempt, piece.next_offset
    while True:
        if piece.complete:
            job = _patiently(lambda: client.job(job_id), sleep)
            if attempt or (job.ended and job.attempt <= number):
                return
            if job.attempt > number:
                number, offset = number + 1, 0
        piece = _patiently(partial(client.logs, job_id, attempt=number, offset=offset, limit=PIECE_BYTES), sleep)
        offset = piece.next_offset
        if piece.text:
            yield piece
        else:
            sleep(PAUSE_SECONDS)


def _patiently(ask: Callable[[], T], sleep: Sleep) -> T:
    """The answer, however often the platform has to be asked."""
    while True:
        try:
            return ask()
        except Unreachable:
            sleep(PAUSE_SECONDS)
