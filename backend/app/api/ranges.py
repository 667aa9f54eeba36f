"""Parts of immutable bytes: Range, If-Range and If-None-Match, as RFC 9110 sections 13 and 14 have them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.errors import RangeNotSatisfiable

IMMUTABLE = "private, max-age=31536000, immutable"  # private: every answer needs the access token
HARMLESS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Content:
    """Bytes that never change. `read(start, length)` gives some of them; `etag` is without its quotes."""

    size: int
    etag: str
    media_type: str
    read: Callable[[int, int], Iterator[bytes]]


def answer(request: Request, content: Content) -> Response:
    """200 with all, 206 with a part, or 304. RangeNotSatisfiable where the part begins behind the end."""
    if is_known(request, content.etag):
        return not_modified(content.etag)
    wanted = _wanted(request, content)
    start, end = wanted or (0, content.size)
    headers = immutable(content.etag) | {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    status = 206 if wanted else 200
    chunks = content.read(start, end - start)
    return StreamingResponse(chunks, status_code=status, media_type=content.media_type, headers=headers)


def immutable(etag: str) -> dict[str, str]:
    """The headers of what may be kept for ever, and is only ever looked at."""
    return {"ETag": f'"{etag}"', "Cache-Control": IMMUTABLE, **HARMLESS}


def is_known(request: Request, etag: str) -> bool:
    """Whether the client says that it has this already."""
    said = ",".join(request.headers.getlist("if-none-match"))
    return said.strip() == "*" or any(tag.strip().removeprefix("W/") == f'"{etag}"' for tag in said.split(","))


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers=immutable(etag))


def _wanted(request: Request, content: Content) -> tuple[int, int] | None:
    """Start and end of the one range asked for; None for everything, as for several ranges or what is no range."""
    if request.headers.get("if-range", f'"{content.etag}"') != f'"{content.etag}"':
        return None
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, content.size - int(last)), content.size
    else:
        start, end = int(first), min(content.size, int(last) + 1) if last else content.size
        if last and int(last) < start:
            return None
    if start >= content.size:
        message = f"Range: {request.headers['range']} begins behind the end of {content.size} bytes"
        raise RangeNotSatisfiable(message, size=content.size)
    return start, end
