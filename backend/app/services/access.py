"""The access token: made at the first start, stored as a hash, shown once and kept in a file for its owner alone.

ACCESS_TOKEN in the environment wins over whatever is stored.
"""

import json
import os
import secrets
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database
from app.models import Installation
from app.services.tokens import hash_token, matches, new_token
from app.settings import Settings

ONLY_ROW = 1
NEW_TOKEN_COMMAND = "python -m app token"


def ensure_access(database: Database, settings: Settings, now: datetime) -> list[str]:
    """Make this installation and its token where there is none; gives what a person should read of it at the start."""
    try:
        with database.write_session() as session:
            return _ensure(session, settings, now)
    except IntegrityError:  # another replica was first
        with database.write_session() as session:
            return _ensure(session, settings, now)


def rotate(database: Database, settings: Settings, now: datetime) -> list[str]:
    """Replace the access token. The old one stops working at once, also for a backend that runs."""
    if settings.access_token is not None:
        return ["ACCESS_TOKEN is set and wins over any stored token; change it there and start again."]
    with database.write_session() as session:
        plain, hashed = new_token()
        installation = session.get(Installation, ONLY_ROW) or _new_installation(session, now)
        installation.access_token_hash = hashed
        _write_file(settings.access_path, _known_url(settings), plain)
    return _introduced(plain, settings)


def installation_id(session: Session) -> str:
    """Who this installation is; it tells our objects and cluster jobs from another's."""
    return session.scalars(select(Installation.installation_id)).one()


def _ensure(session: Session, settings: Settings, now: datetime) -> list[str]:
    installation = session.get(Installation, ONLY_ROW)
    if settings.access_token is not None:
        plain = settings.access_token.get_secret_value()
        installation = installation or _new_installation(session, now)
        installation.access_token_hash = hash_token(plain)
        session.flush()
        _write_file(settings.access_path, settings.url, plain)
        return [f"The access token is the one of ACCESS_TOKEN; it is in {settings.access_path} too."]
    if installation is not None:
        return _renew_file(installation, settings)
    plain, hashed = new_token()
    _new_installation(session, now).access_token_hash = hashed
    session.flush()
    _write_file(settings.access_path, settings.url, plain)
    return _introduced(plain, settings)


def _new_installation(session: Session, now: datetime) -> Installation:
    installation = Installation(
        id=ONLY_ROW, installation_id=secrets.token_hex(4), access_token_hash=new_token()[1], created_at=now
    )
    session.add(installation)
    return installation


def _renew_file(installation: Installation, settings: Settings) -> list[str]:
    """Keep the file's address right; say so where the file is lost, since the token is only stored as a hash."""
    known = _read_file(settings.access_path)
    token = known.get("token")
    if not isinstance(token, str) or not matches(token, installation.access_token_hash):
        state = "does not hold this installation's access token" if known else "is missing or not readable"
        return [f"{settings.access_path} {state}; make a new one with `{NEW_TOKEN_COMMAND}`, or set ACCESS_TOKEN."]
    if known.get("url") != settings.url:
        _write_file(settings.access_path, settings.url, token)
    return []


def _introduced(plain: str, settings: Settings) -> list[str]:
    return [
        f"Access token: {plain}",
        f"It is shown this once and kept in {settings.access_path}, which only you can read.",
    ]


def _known_url(settings: Settings) -> str:
    """The address that a running backend wrote, so that a new token does not lose it."""
    url = _read_file(settings.access_path).get("url")
    return url if isinstance(url, str) else settings.url


def _read_file(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_file(path: Path, url: str, token: str) -> None:
    """Replace the file atomically; it is never readable by others, whatever the umask or the file before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump({"url": url, "token": token}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
