"""What came of an import, as the answer to whoever waited for it."""

from typing import Any

from app.datasets.work import FindingGroup, FindingLine, Report
from app.errors import AppError, Conflict, DiskFull, ImportFailed, Invalid, StorageUnavailable, TooLarge
from app.models import Import
from app.words import ImportStatus

SHOWN = 20
KINDS: dict[str, type[AppError]] = {
    kind.code: kind for kind in (Conflict, DiskFull, Invalid, StorageUnavailable, TooLarge)
}


def require_accepted(row: Import) -> None:
    """Return if the import was accepted, else raise what was wrong; `details.import` is its number."""
    if row.status == ImportStatus.ACCEPTED:
        return
    if row.status == ImportStatus.CANCELLED:
        raise Conflict(f"import {row.id} was cancelled", **{"import": row.id})
    if row.error is not None:
        raise _as_error(row.id, row.error)
    raise _as_findings(row)


def waiting_for(row: Import) -> AppError | None:
    """What keeps a running import from going on: it does so by itself, later."""
    if row.status != ImportStatus.RUNNING or row.error is None:
        return None
    error = _as_error(row.id, row.error)
    error.message += f"; import {row.id} goes on by itself when it can"
    return error


def _as_error(import_id: int, error: dict[str, Any]) -> AppError:
    kind = KINDS.get(error["code"], ImportFailed)
    made = kind(error["message"], **error["details"] | {"import": import_id})
    made.code = error["code"]
    return made


def _as_findings(row: Import) -> Invalid:
    report = Report.model_validate(row.report or {})
    strict = row.request["wish"]["strict"] and not report.errors
    groups = [group for group in report.groups if group.severity == ("warning" if strict else "error")]
    total = sum(group.count for group in groups)
    lines = _shown(groups)
    first = f"{_place(lines[0])}: {lines[0].message}" if lines else "see the report"
    more = f" (and {total - 1} more)" if total > 1 else ""
    fields = [{"field": _place(line), "value": line.value, "message": line.message} for line in lines]
    details = {"import": row.id, "report": row.report, "fields": fields, "total": total}
    return Invalid(f"the dataset is refused{' (strict)' if strict else ''}: {first}{more}", **details)


def _shown(groups: list[FindingGroup]) -> list[FindingLine]:
    return [line for group in groups for line in group.first][:SHOWN]


def _place(line: FindingLine) -> str:
    if line.file is None:
        return line.code
    return line.file if line.line is None else f"{line.file}:{line.line}"
