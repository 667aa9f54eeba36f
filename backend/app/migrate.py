"""Brings a database to the newest schema, in one transaction; several backends may start at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from app.db import Database

SCRIPTS = Path(__file__).resolve().parents[1] / "migrations"
_LOCK = 7_205_759_403  # any number that no other program locks in this database


def migrate(database: Database) -> None:
    """Alembic's `upgrade head`, alone: SQLite begins immediately, PostgreSQL takes an advisory lock."""
    with writing(database) as connection:
        command.upgrade(alembic_config(connection), "head")


@contextmanager
def writing(database: Database) -> Iterator[Connection]:
    """A transaction that may change tables, with nobody else at it.

    SQLite changes a table by building it anew, and dropping the old one would take along, with foreign keys on, what
    refers to it. They are off here, and looked at before the end.
    """
    with database.engine.execution_options(writes=True).connect() as connection:
        if database.is_sqlite:
            _set_foreign_keys(connection, "OFF")
        try:
            with connection.begin():
                if not database.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
                yield connection
                if database.is_sqlite:
                    _check_foreign_keys(connection)
        finally:
            if database.is_sqlite:
                _set_foreign_keys(connection, "ON")


def _set_foreign_keys(connection: Connection, state: str) -> None:
    """Outside of any transaction, where alone it has an effect."""
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA foreign_keys={state}")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration would leave {len(broken)} rows without what they refer to: {broken[:3]}")


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
