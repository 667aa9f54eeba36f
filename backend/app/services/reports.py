"""Judges what trainers report, one event at a time and before any database is involved."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.schemas.events import EVENT, MAX_NUMBER, Rejection, TrainerEvent

_ENVELOPE = frozenset({"sequence", "time", "type"})
_MAX_REASON = 500


@dataclass(frozen=True)
class Report:
    """A valid event, and what of it is stored as its payload."""

    event: TrainerEvent
    payload: dict[str, Any]


def judge(events: Iterable[Any]) -> tuple[list[Report], list[Rejection]]:
    """The valid events, the first of each sequence and in its order, and the others with the reason."""
    reports: dict[int, Report] = {}
    rejected = []
    for raw in events:
        verdict = judge_one(raw)
        if isinstance(verdict, Rejection):
            rejected.append(verdict)
        else:
            reports.setdefault(verdict.event.sequence, verdict)
    return [reports[sequence] for sequence in sorted(reports)], rejected


def judge_one(raw: Any) -> Report | Rejection:
    if not isinstance(raw, dict):
        return Rejection(sequence=None, reason=f"an event must be an object, not {_shown(raw)}")
    try:
        event = EVENT.validate_python(raw)
    except ValidationError as error:
        return Rejection(sequence=_number(raw.get("sequence")), reason=_reason(error))
    except OverflowError:
        return Rejection(sequence=_number(raw.get("sequence")), reason="a number is beyond 1.8e308")
    return Report(event, {name: value for name, value in raw.items() if name not in _ENVELOPE})


def highest(reports: Iterable[Report], rejected: Iterable[Rejection]) -> int:
    """The highest usable sequence among these, 0 if there is none."""
    stored = (report.event.sequence for report in reports)
    refused = (item.sequence for item in rejected if item.sequence and item.sequence <= MAX_NUMBER)
    return max(0, *stored, *refused, 0)


def _number(value: Any) -> int | None:
    """The sequence as far as it is a whole number at all."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _reason(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    told = "; ".join(f"{_place(item['loc'])}{item['msg']}, not {_shown(item['input'])}" for item in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return _printable(told[:_MAX_REASON] + more)


def _place(location: tuple[int | str, ...]) -> str:
    names = ".".join(str(part) for part in location[1:])
    return f"{names}: " if names else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _printable(text: str) -> str:
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
