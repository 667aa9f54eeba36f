"""A job's history as it grows. Many connections wait here, so this part is asynchronous and polls with short reads."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.db import Database, trouble
from app.errors import NotFound
from app.models import Event
from app.services import history, jobs
from app.words import ENDED

PAGE = 200
POLL_SECONDS = 0.5


def read(database: Database, job_id: int, position: int) -> tuple[Sequence[Event], bool]:
    """What follows the position, and whether that is all that will ever come. NotFound if there is no such job."""
    with database.read_session() as session:
        job = jobs.get(session, job_id)
        entries = history.after(session, job_id, position, PAGE)
        return entries, job.status in ENDED and len(entries) < PAGE


async def follow(
    database: Database, job_id: int, position: int, poll_seconds: float = POLL_SECONDS
) -> AsyncIterator[Event]:
    """Every entry after the position, in order, until the job has ended or is deleted.

    Outlasts an absence of the database.
    """
    while True:
        try:
            entries, complete = await run_in_threadpool(read, database, job_id, position)
        except NotFound:
            return
        except SQLAlchemyError as error:
            if trouble(error) is None:
                raise
            entries, complete = [], False
        for entry in entries:
            position = entry.position
            yield entry
        if complete:
            return
        if len(entries) < PAGE:
            await asyncio.sleep(poll_seconds)
