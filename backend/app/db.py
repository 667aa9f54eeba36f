"""The engine and its sessions. On SQLite every write transaction begins with BEGIN IMMEDIATE.

`read_session` never writes; `write_session` commits at its end or rolls back. Two kinds, since a SQLite
transaction that reads first and writes later fails with "database is locked" and no timeout helps it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.errors import AppError, DatabaseBusy, DatabaseUnavailable

BUSY_TIMEOUT_SECONDS = 15  # less than a trainer waits for its answer
CHECK_SECONDS = 2
POOL: dict[str, Any] = {"pool_size": 20, "max_overflow": 40}  # who waits for the storage holds none
_BUSY_STATES = ("40", "55P03")  # PostgreSQL rolled back a deadlock or the like, or a lock was not to be had
_PATIENCE = {  # a host that is gone without a word is noticed
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Database:
    """One engine and the two kinds of sessions on it."""

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url, BUSY_TIMEOUT_SECONDS, **POOL)
        self._checker = _make_engine(url, CHECK_SECONDS, poolclass=NullPool)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(self.engine.execution_options(writes=True), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read_session(self) -> Iterator[Session]:
        with self._readers() as session:
            yield session

    @contextmanager
    def write_session(self) -> Iterator[Session]:
        with self._writers.begin() as session:
            yield session

    def check(self) -> None:
        """Return if the database can be read and, SQLite, written; else raise what `trouble` explains."""
        with self._checker.execution_options(writes=True).connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        self.engine.dispose()


def trouble(error: BaseException) -> AppError | None:
    """What a person is told where the database is at fault and not the request; None for any other error."""
    if isinstance(error, TimeoutError):
        return DatabaseBusy("every connection to the database is in use; try again")
    if not isinstance(error, DBAPIError):
        return None
    code, state = getattr(error.orig, "sqlite_errorcode", 0), getattr(error.orig, "sqlstate", None) or ""
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state.startswith(_BUSY_STATES):
        return DatabaseBusy()
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return DatabaseUnavailable()
    return None


def _make_engine(url: str, busy_timeout: float, **pool: Any) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, connect_args=_PATIENCE, **pool)
    engine = create_engine(url, connect_args={"timeout": busy_timeout, "check_same_thread": False}, **pool)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
