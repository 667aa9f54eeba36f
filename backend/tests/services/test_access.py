"""The access token: made once, hashed in the database, readable by its owner alone."""

import json
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.models import Installation
from app.services import access
from app.services.tokens import hash_token, matches
from app.settings import Settings


def _settings(tmp_path: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path / "var", "port": 8123}
    return Settings(**values | changes)


def _file(settings: Settings) -> dict[str, str]:
    content: dict[str, str] = json.loads(settings.access_path.read_text())
    return content


def _installation(database: Database) -> Installation:
    with database.read_session() as session:
        return session.query(Installation).one()


def test_first_start_makes_a_token_and_stores_only_its_hash(database: Database, tmp_path: Path, now: datetime) -> None:
    settings = _settings(tmp_path)
    told = access.ensure_access(database, settings, now)
    token = _file(settings)["token"]
    assert told[0] == f"Access token: {token}"
    assert _file(settings)["url"] == "http://127.0.0.1:8123"
    assert _installation(database).access_token_hash == hash_token(token)
    assert len(_installation(database).installation_id) == 8


def test_file_is_the_owners_alone_whatever_was_there(database: Database, tmp_path: Path, now: datetime) -> None:
    settings = _settings(tmp_path)
    settings.access_path.parent.mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    settings.access_path.symlink_to(tmp_path / "elsewhere")
    umask = os.umask(0)
    try:
        access.ensure_access(database, settings, now)
    finally:
        os.umask(umask)
    assert not settings.access_path.is_symlink()
    assert stat.S_IMODE(settings.access_path.stat().st_mode) == 0o600
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert [path.name for path in settings.access_path.parent.iterdir()] == ["access.json"]


def test_later_start_says_nothing_and_keeps_the_token(database: Database, tmp_path: Path, now: datetime) -> None:
    access.ensure_access(database, _settings(tmp_path), now)
    before = _file(_settings(tmp_path))
    moved = _settings(tmp_path, port=9000)
    assert access.ensure_access(database, moved, now) == []
    assert _file(moved) == before | {"url": "http://127.0.0.1:9000"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [(None, "is missing"), ("{", "is missing or not readable"), ('{"token": "other"}', "does not hold")],
)
def test_start_says_how_to_get_a_new_token_if_the_file_is_lost(
    damage: str | None, words: str, database: Database, tmp_path: Path, now: datetime
) -> None:
    settings = _settings(tmp_path)
    access.ensure_access(database, settings, now)
    settings.access_path.unlink()
    if damage is not None:
        settings.access_path.write_text(damage)
    told = "\n".join(access.ensure_access(database, settings, now))
    assert words in told
    assert "python -m app token" in told


def test_token_of_the_environment_wins(database: Database, tmp_path: Path, now: datetime) -> None:
    access.ensure_access(database, _settings(tmp_path), now)
    settings = _settings(tmp_path, access_token="chosen-by-the-owner")
    told = access.ensure_access(database, settings, now)
    assert not any("chosen-by-the-owner" in line for line in told)
    assert _file(settings)["token"] == "chosen-by-the-owner"
    assert matches("chosen-by-the-owner", _installation(database).access_token_hash)


def test_new_token_replaces_the_old_one_and_keeps_the_address(
    database: Database, tmp_path: Path, now: datetime
) -> None:
    access.ensure_access(database, _settings(tmp_path, port=9000), now)
    before, installation = _file(_settings(tmp_path)), _installation(database).installation_id
    access.rotate(database, _settings(tmp_path), now)
    after = _file(_settings(tmp_path))
    assert after["token"] != before["token"]
    assert after["url"] == "http://127.0.0.1:9000"
    assert matches(after["token"], _installation(database).access_token_hash)
    assert _installation(database).installation_id == installation


def test_new_token_is_refused_if_the_environment_has_one(database: Database, tmp_path: Path, now: datetime) -> None:
    settings = _settings(tmp_path, access_token="chosen-by-the-owner")
    access.ensure_access(database, settings, now)
    assert "ACCESS_TOKEN is set" in access.rotate(database, settings, now)[0]
    assert _file(settings)["token"] == "chosen-by-the-owner"
