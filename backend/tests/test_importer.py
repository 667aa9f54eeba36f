"""The thread that runs imports: it starts, looks when it is told to, outlasts trouble and ends."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from app import importer as module
from app.context import Platform
from app.importer import Importer
from app.main import create_app
from app.services.datasets import running
from app.settings import Settings
from tests.waiting import until


@pytest.fixture
def quiet(settings: Settings) -> Iterator[Platform]:
    """A platform whose own importer does not run."""
    app = create_app(settings, reconciling=False, importing=False)
    with TestClient(app):
        assert isinstance(app, FastAPI)
        platform: Platform = app.state.platform
        yield platform


def test_looks_at_once_if_it_is_woken(quiet: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 3600.0)
    looks: list[None] = []
    monkeypatch.setattr(running, "run_next", lambda *_: looks.append(None))
    importer = Importer(quiet)
    importer.start()
    until(lambda: len(looks) == 1)
    importer.wake()
    until(lambda: len(looks) == 2)
    importer.stop()
    assert not importer.is_alive


def test_goes_on_if_the_database_was_away(quiet: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    looks: list[None] = []

    def look(*_: object) -> bool:
        looks.append(None)
        if len(looks) < 3:
            raise OperationalError("SELECT 1", {}, ConnectionError("gone"))
        return False

    monkeypatch.setattr(running, "run_next", look)
    importer = Importer(quiet)
    importer.start()
    until(lambda: len(looks) > 3)
    importer.stop()


def test_ends_before_it_was_started(quiet: Platform) -> None:
    importer = Importer(quiet)
    importer.stop()
    assert not importer.is_alive


def test_health_tells_if_it_ended(quiet: Platform, settings: Settings) -> None:
    app = create_app(settings, reconciling=False)
    with TestClient(app) as client:
        assert client.get("/readyz").json()["parts"]["importer"] is True
        app.state.importer.stop()
        assert client.get("/readyz").json()["parts"]["importer"] is False
