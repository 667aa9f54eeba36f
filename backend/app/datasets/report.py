"""What an import found, as people see it: from the findings of a draft or an index."""

import sqlite3
from typing import Any

from app.datasets.findings import KINDS, Severity
from app.datasets.work import FindingGroup, FindingLine, Report
from app.words import TaskType

SHOWN = 5
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def report_of(connection: sqlite3.Connection, format_name: str | None, task_type: TaskType | None) -> Report:
    """Complete at any time of an import: errors first, of each code the first five and how many there are."""
    counts = dict(connection.execute("SELECT code, count FROM finding_counts"))
    totals = {severity: sum(counts[code] for code in counts if KINDS[code].severity is severity) for severity in _ORDER}
    codes = sorted(counts, key=lambda code: (_ORDER[KINDS[code].severity], list(KINDS).index(code)))
    return Report(
        format=format_name,
        task_type=task_type,
        errors=totals[Severity.ERROR],
        warnings=totals[Severity.WARNING],
        notes=totals[Severity.NOTE],
        groups=[_group(connection, code, counts[code]) for code in codes],
    )


def _group(connection: sqlite3.Connection, code: str, count: int) -> FindingGroup:
    kind = KINDS[code]
    query = "SELECT action, file, line, value, message FROM findings WHERE code = ? ORDER BY id LIMIT ?"
    lines = [_line(code, *row) for row in connection.execute(query, (code, SHOWN))]
    return FindingGroup(code=code, severity=kind.severity.value, count=count, fix=kind.fix, first=lines)


def _line(code: str, action: Any, file: str | None, line: int | None, value: str | None, message: str) -> FindingLine:
    kind = KINDS[code]
    return FindingLine(
        code=code,
        severity=kind.severity.value,
        action=action,
        file=file,
        line=line,
        value=value,
        message=message,
        fix=kind.fix,
    )
