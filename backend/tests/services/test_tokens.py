"""Tokens are stored hashed and open one attempt of one job."""

import pytest

from app.db import Database
from app.errors import Forbidden, Unauthorized
from app.services import tokens
from tests import factories


def test_finds_the_attempt_if_the_token_is_its_own(database: Database) -> None:
    plain, stored = tokens.new_token()
    with database.write_session() as session:
        factories.attempt(session)
        attempt = factories.attempt(session, token_hash=stored)
        assert tokens.authenticate_attempt(session, attempt.job_id, plain).id == attempt.id


def test_is_refused_if_the_token_is_of_another_job(database: Database) -> None:
    with database.write_session() as session:
        mine, other = factories.attempt(session), factories.attempt(session)
        with pytest.raises(Forbidden, match=f"not to job {other.job_id}"):
            tokens.authenticate_attempt(session, other.job_id, factories.token(mine.job_id))


@pytest.mark.parametrize("token", ["", "x", "토큰", "\udcff", "a" * 10_000])
def test_is_refused_if_nobody_has_the_token(database: Database, token: str) -> None:
    with database.write_session() as session, pytest.raises(Unauthorized):
        tokens.authenticate_attempt(session, factories.attempt(session).job_id, token)


def test_is_refused_if_the_stored_hash_is_sent(database: Database) -> None:
    plain, stored = tokens.new_token()
    with database.write_session() as session, pytest.raises(Unauthorized):
        tokens.authenticate_attempt(session, factories.attempt(session, token_hash=stored).job_id, stored)
    assert tokens.matches(plain, stored)
    assert not tokens.matches(stored, stored)


def test_tokens_differ_if_made_twice() -> None:
    plain, stored = tokens.new_token()
    other, _ = tokens.new_token()
    assert plain != other
    assert len(plain) >= 43 and len(stored) == 64 and plain not in stored
