"""What endpoints ask for: the platform, a session, and proof of access.

A session ends, and a writing one commits, before the answer leaves: an answer never promises what the database refused.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import Platform
from app.errors import AppError, Unauthorized
from app.models import Installation
from app.schemas.common import ErrorBody
from app.services import tokens

MAX_ID = 2**63 - 1

JobId = Annotated[int, Path(ge=1, le=MAX_ID, description="the job's number", examples=[1])]

access_scheme = HTTPBearer(
    scheme_name="accessToken",
    description="The access token that the first start printed and wrote to `var/access.json`.",
    auto_error=False,
)


def get_platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


PlatformDep = Annotated[Platform, Depends(get_platform)]


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
    """The `responses=` of an endpoint: each error it can give, by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        words = f"{error.code}: {(error.__doc__ or '').strip()}"
        known = found.get(error.status)
        description = f"{known['description']}\n\n{words}" if known else words
        found[error.status] = {"model": ErrorBody, "description": description}
    return found
