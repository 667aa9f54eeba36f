"""Alembic's entrance: the connection that `app.migrate` hands over, or the settings' database from a terminal."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from app.db import Database
from app.models import Base, UtcDateTime
from app.settings import Settings


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """A migration names plain column types, so that it reads the same when the models have moved on."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()


def run_from_terminal() -> None:
    database = Database(Settings().database)
    with database.engine.execution_options(writes=True).begin() as connection:
        run(connection)
    database.dispose()


handed_over = context.config.attributes.get("connection")
if handed_over is None:
    run_from_terminal()
else:
    run(handed_over)
