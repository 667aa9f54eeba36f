"""Reads the platform's tables with plain SQL: none of its own code judges itself here."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

Row = dict[str, Any]
JSON_COLUMNS = frozenset(
    {"config", "payload", "failure", "handle", "progress", "best", "metrics", "per_class", "resume", "reported"}
)
TABLES = {
    "jobs": "id",
    "attempts": "job_id, number",
    "events": "job_id, position",
    "metrics": "id",
    "validations": "id",
    "checkpoints": "id",
}


@dataclass(frozen=True)
class Rows:
    """Everything that was stored, as of one instant."""

    jobs: list[Row]
    attempts: list[Row]
    events: list[Row]
    metrics: list[Row]
    validations: list[Row]
    checkpoints: list[Row]


class Database:
    """A SQLite file, or a server at a postgresql:// address."""

    def __init__(self, place: str) -> None:
        self._place = place

    def rows(self) -> Rows:
        return Rows(**{table: self.select(f"SELECT * FROM {table} ORDER BY {by}") for table, by in TABLES.items()})

    def select(self, query: str) -> list[Row]:
        """Rows as dictionaries, JSON columns read."""
        return [{name: _value(name, value) for name, value in row.items()} for row in self._fetch(query)]

    def change(self, statement: str) -> None:
        """What only a fault can do to a row."""
        with closing(self._connect()) as connection, connection:
            connection.execute(statement)

    def _fetch(self, query: str) -> list[Row]:
        with closing(self._connect()) as connection:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _connect(self) -> Any:
        connect: Callable[[str], Any] = psycopg.connect if self._place.startswith("postgres") else _sqlite
        return connect(self._place)


def _sqlite(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30)


def _value(name: str, value: Any) -> Any:
    return json.loads(value) if name in JSON_COLUMNS and isinstance(value, str) else value
