"""Brings a database to the newest schema, in one transaction; several backends may start at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from app.db import Database

SCRIPTS = Path(__file__).resolve().parents[1] / "migrations"
_LOCK = 7_205_759_403  # any number that no other program locks in this database


def migrate(database: Database) -> None:
    """Alembic's `upgrade head`, alone: SQLite begins immediately, PostgreSQL takes an advisory lock."""
    with database.engine.execution_options(writes=True).begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
