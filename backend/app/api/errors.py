"""Every refusal leaves in one shape: `{"error": {"code", "message", "details"}}`."""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.db import trouble
from app.errors import AppError, Invalid, RangeNotSatisfiable

log = logging.getLogger(__name__)

_MAX_SHOWN = 200
_SOURCES = frozenset({"body", "query", "path", "header", "cookie"})
_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE"}


def handle_errors(app: FastAPI) -> None:
    """Gives the app its one way to refuse."""
    app.add_exception_handler(AppError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.add_exception_handler(HTTPException, _refuse_request)
    app.add_exception_handler(SQLAlchemyError, _excuse_database)
    app.add_exception_handler(ClientDisconnect, _forget)
    app.add_exception_handler(Exception, _admit)


def fields_of(problems: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pydantic's problems as `details.fields`: field, value, message."""
    return [
        {"field": _field(problem["loc"]), "value": shown(problem.get("input")), "message": problem["msg"]}
        for problem in problems
    ]


def shown(value: Any) -> Any:
    """The value as JSON can carry it: NaN and the like as text, long or foreign ones shortened."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.details['size']}"
    return _answer(error.status, error.code, error.message, error.details, headers)


def _refuse_values(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = fields_of(error.errors())
    told = "; ".join(f"{field['field']}={field['value']!r}: {field['message']}" for field in fields)
    return _answer(Invalid.status, Invalid.code, told, {"fields": fields})


def _refuse_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (204, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    code = _CODES.get(error.status_code, "REFUSED" if error.status_code < 500 else "INTERNAL")
    return _answer(error.status_code, code, str(error.detail), {}, error.headers)


def _excuse_database(request: Request, error: Exception) -> Response:
    """Where the database is away or locked, nobody's request is at fault."""
    explained = trouble(error)
    if explained is None:
        raise error
    log.warning("%s %s: %s", request.method, request.url.path, getattr(error, "orig", error))
    return _refuse(request, explained)


def _forget(request: Request, _error: Exception) -> Response:
    """Whoever asked is gone, as a trainer that was killed while it reported; nobody reads this answer."""
    log.info("%s %s: the client went away before its request was complete", request.method, request.url.path)
    return _answer(400, "INCOMPLETE", "The request ended before it was complete.", {})


def _admit(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "INTERNAL", "Something went wrong in the platform; its log says what.", {})


def _answer(
    status: int, code: str, message: str, details: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    content = {"error": {"code": code, "message": message, "details": details}}
    return JSONResponse(content, status_code=status, headers=dict(headers or {}))


def _field(location: tuple[int | str, ...]) -> str:
    """`hyperparameters.mosaic` of ("body", "hyperparameters", "mosaic"); the source where nothing is named."""
    named = location[1:] if location and location[0] in _SOURCES else location
    if not named or (location[0] == "body" and isinstance(named[0], int)):  # where the JSON breaks off
        return str(location[0]) if location else "body"
    return ".".join(str(part) for part in named)
