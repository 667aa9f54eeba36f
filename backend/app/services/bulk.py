"""Many rows in one statement. PostgreSQL gets them as one JSON parameter.

psycopg sends and receives something for each row of an `executemany`, and parses a long list of VALUES anew each
time; both took most of the backend's time. On SQLite, which runs inside this process, an `executemany` is cheap.
"""

import json
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, TextClause, insert, text
from sqlalchemy.dialects import postgresql

Rows = list[dict[str, Any]]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Inserts rows that all have the same columns."""
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), rows)
        return
    statement = _insert_from_json(table, tuple(rows[0]))
    connection.execute(statement, {"rows": json.dumps(rows, default=_as_text, separators=(",", ":"))})


@cache
def _insert_from_json(table: Table, names: tuple[str, ...]) -> TextClause:
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    typed = ", ".join(f"{name} {table.c[name].type.compile(dialect)}" for name in names)
    columns = ", ".join(names)
    rows = f"json_to_recordset(CAST(:rows AS json)) AS new({typed})"
    return text(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {rows}")


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a row")
