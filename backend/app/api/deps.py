"""What endpoints ask for: the platform, a session, and proof of access.

A session ends, and a writing one commits, before the answer leaves: an answer never promises what the database refused.
What does not wait is asynchronous: a synchronous one would queue for a thread behind whoever waits for the storage.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import Platform
from app.errors import AppError, DatabaseBusy, DatabaseUnavailable, Invalid, Unauthorized
from app.importer import Importer
from app.models import Installation
from app.reconciler import Reconciler
from app.schemas.common import ErrorBody
from app.services import tokens

MAX_ID = 2**63 - 1
ALWAYS = (DatabaseBusy, DatabaseUnavailable)

JobId = Annotated[int, Path(ge=1, le=MAX_ID, description="the job's number", examples=[1])]

access_scheme = HTTPBearer(
    scheme_name="accessToken",
    description="The access token that the first start printed and wrote to `var/access.json`.",
    auto_error=False,
)


async def get_platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


PlatformDep = Annotated[Platform, Depends(get_platform)]


async def get_reconciler(request: Request) -> Reconciler:
    reconciler: Reconciler = request.app.state.reconciler
    return reconciler


ReconcilerDep = Annotated[Reconciler, Depends(get_reconciler)]


async def get_importer(request: Request) -> Importer:
    importer: Importer = request.app.state.importer
    return importer


ImporterDep = Annotated[Importer, Depends(get_importer)]


def wake_reconciler(reconciler: ReconcilerDep, background: BackgroundTasks) -> None:
    """Has the reconciler look right after the answer, when what the endpoint wrote is committed."""

    async def wake() -> None:
        reconciler.wake()

    background.add_task(wake)


def _read_session(platform: PlatformDep) -> Iterator[Session]:
    with platform.database.read_session() as session:
        yield session


def _write_session(platform: PlatformDep) -> Iterator[Session]:
    with platform.database.write_session() as session:
        yield session


ReadSessionDep = Annotated[Session, Depends(_read_session, scope="function")]
WriteSessionDep = Annotated[Session, Depends(_write_session, scope="function")]


def require_access(
    platform: PlatformDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(access_scheme)]
) -> None:
    """Unauthorized unless the request carries this installation's access token."""
    if credentials is None:
        raise Unauthorized()
    with platform.database.read_session() as session:
        stored_hash = session.scalar(select(Installation.access_token_hash))
    if stored_hash is None or not tokens.matches(credentials.credentials, stored_hash):
        raise Unauthorized("this access token is not the one of this installation; see var/access.json")


def describe(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an endpoint: each error it can give, by status, with an example."""
    return {
        status: {
            "model": ErrorBody,
            "description": "\n\n".join(f"{error.code}: {_meaning(error)}" for error in same),
            "content": {"application/json": {"examples": {error.code: {"value": _example(error)} for error in same}}},
        }
        for status, same in _by_status((*errors, *ALWAYS)).items()
    }


def describe_stream(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """As `describe`, for an endpoint that answers with events: its errors are JSON all the same."""
    found = describe(*errors)
    for response in found.values():
        del response["model"]  # FastAPI would file it under text/event-stream
        response["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/ErrorBody"}
    return found


def _by_status(errors: tuple[type[AppError], ...]) -> dict[int, list[type[AppError]]]:
    found: dict[int, list[type[AppError]]] = {}
    for error in errors:
        found.setdefault(error.status, []).append(error)
    return found


def _meaning(error: type[AppError]) -> str:
    return (error.__doc__ or "").strip()


def _example(error: type[AppError]) -> dict[str, Any]:
    fields = [{"field": "epochs", "value": 0, "message": "Input should be greater than or equal to 1"}]
    details = {"fields": fields} if error is Invalid else {}
    return {"error": {"code": error.code, "message": _meaning(error), "details": details}}
