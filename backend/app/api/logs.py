"""What a trainer printed: its last lines, or a range of bytes while it grows and after."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import MAX_ID, JobId, PlatformDep, describe
from app.errors import Invalid, NotFound, StorageUnavailable
from app.schemas.logs import LogPiece
from app.services import attempts, logs

router = APIRouter(prefix="/api/v1/jobs/{job_id}", tags=["jobs"])

DEFAULT_TAIL = 200
Number = Annotated[int | None, Query(ge=1, le=MAX_ID, description="the newest one if left out")]
Tail = Annotated[int | None, Query(ge=0, le=logs.MAX_LINES, description=f"last lines; {DEFAULT_TAIL} if left out")]
Offset = Annotated[int | None, Query(ge=0, le=MAX_ID, description="first byte of a range, instead of `tail`")]
Limit = Annotated[int, Query(ge=1, le=logs.MAX_BYTES, description="bytes of the range, at most")]


@router.get(
    "/logs",
    operation_id="readLogs",
    summary="Read a trainer's output",
    responses=describe(NotFound, Invalid, StorageUnavailable),
)
def read_logs(
    job_id: JobId,
    platform: PlatformDep,
    attempt: Number = None,
    tail: Tail = None,
    offset: Offset = None,
    limit: Limit = logs.MAX_BYTES,
) -> LogPiece:
    """Without `offset` the last lines. To follow a log, ask with `offset` for `next_offset` until `complete`."""
    if tail is not None and offset is not None:
        problem = {"field": "tail", "value": tail, "message": "must be left out where offset is given"}
        raise Invalid(f"tail={tail} and offset={offset} exclude each other; give one", fields=[problem])
    with platform.database.read_session() as session:
        found = attempts.get(session, job_id, attempt)
    source = logs.find(platform.storage, attempts.attempt_dir(platform.settings, job_id, found.number), found)
    last_lines = DEFAULT_TAIL if tail is None else tail
    part = logs.tail(source, last_lines) if offset is None else logs.read(source, offset, limit)
    complete = found.ended_at is not None and part.next_offset == part.total
    return LogPiece(attempt=found.number, complete=complete, **vars(part))
