"""Where trainers report. Nothing here waits in a thread: the writer answers through a future."""

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from app.api.deps import JobId, PlatformDep, describe
from app.api.errors import fields_of
from app.context import Platform
from app.errors import Busy, Forbidden, Invalid, NotFound, Superseded, TooLarge, Unauthorized
from app.schemas.events import MAX_BYTES, Answer, Batch
from app.services import tokens

router = APIRouter(prefix="/internal/training", tags=["trainers"])

attempt_scheme = HTTPBearer(
    scheme_name="attemptToken",
    description="`INTERNAL_AUTH_TOKEN` of one attempt, refused for any other job or attempt.",
    auto_error=False,
)


THREADS = CapacityLimiter(8)  # of their own: people who wait for a hanging storage hold up no report
BODY = {"required": True, "content": {"application/json": {"schema": Batch.model_json_schema()}}}


@router.post(
    "/{job_id}/events",
    operation_id="reportEvents",
    summary="Report events, or a heartbeat",
    responses=describe(Unauthorized, Forbidden, NotFound, Superseded, TooLarge, Invalid, Busy),
    openapi_extra={"requestBody": BODY},
)
async def report_events(
    job_id: JobId,
    request: Request,
    platform: PlatformDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(attempt_scheme)],
) -> Answer:
    """Stores the batch and answers after the commit. The same event again changes nothing.

    Each event is judged alone, by `contracts/events.schema.json`: a malformed one is rejected by its number
    and never holds back those behind it. Only 409 and `should_stop` stop a trainer.
    """
    attempt = await to_thread.run_sync(_authenticate, platform, job_id, credentials, limiter=THREADS)
    batch = _parse(await _body(request))
    if batch.attempt != attempt:
        raise Forbidden(f"this token belongs to attempt {attempt} of job {job_id}, not to attempt {batch.attempt}")
    answer = platform.writer.enqueue(job_id, attempt, batch.instance, batch.events)
    return await asyncio.wrap_future(answer)


def _authenticate(platform: Platform, job_id: int, credentials: HTTPAuthorizationCredentials | None) -> int:
    if credentials is None:
        raise Unauthorized("this request needs `Authorization: Bearer <INTERNAL_AUTH_TOKEN>`")
    with platform.database.read_session() as session:
        return tokens.authenticate_attempt(session, job_id, credentials.credentials).number


async def _body(request: Request) -> bytes:
    """The whole body; TooLarge as soon as it is known to be."""
    if _announced(request.headers) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise _too_large()
    return bytes(body)


def _announced(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_large() -> TooLarge:
    return TooLarge(f"a batch holds at most {MAX_BYTES} bytes; send fewer events at a time")


def _parse(body: bytes) -> Batch:
    try:
        return Batch.model_validate(_json(body))
    except ValidationError as error:
        problems = fields_of(error.errors())
        told = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems)
        raise Invalid(f"this is not a batch of reports: {told}", fields=problems) from error


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        problem = {"field": "body", "value": None, "message": f"must be JSON: {error}"}
        raise Invalid(f"the body is not JSON: {error}", fields=[problem]) from error
