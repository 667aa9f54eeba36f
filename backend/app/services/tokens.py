"""Random bearer tokens. Only their hashes are stored; each attempt has its own."""

import hashlib
import hmac
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Forbidden, Unauthorized
from app.models import Attempt


def new_token() -> tuple[str, str]:
    """A token in plain, to hand out once, and its sha256, to store."""
    plain = secrets.token_urlsafe(32)
    return plain, hash_token(plain)


def hash_token(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "surrogateescape")).hexdigest()


def matches(plain: str, stored_hash: str) -> bool:
    """Whether the token is the stored one, in constant time."""
    return hmac.compare_digest(hash_token(plain), stored_hash)


def authenticate_attempt(session: Session, job_id: int, token: str) -> Attempt:
    """The attempt that owns this token. Unauthorized if nobody does, Forbidden if it belongs to another job."""
    attempt = session.scalar(select(Attempt).where(Attempt.token_hash == hash_token(token)))
    if attempt is None:
        raise Unauthorized("this request needs `Authorization: Bearer <INTERNAL_AUTH_TOKEN>` of a known attempt")
    if attempt.job_id != job_id:
        raise Forbidden(f"this token belongs to another job, not to job {job_id}")
    return attempt
