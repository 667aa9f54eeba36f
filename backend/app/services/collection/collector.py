"""One collection, or what it would remove."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from app.errors import AppError
from app.services.collection import caches, imports, objects, shelves, work
from app.services.collection.place import Finding, Place
from app.services.collection.policy import Item, Limits

_one_at_a_time = threading.Lock()


@dataclass
class Report:
    """`problems` says, in words, where could not be looked or what could not be removed."""

    dry_run: bool
    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(place: Place, now: datetime, *, dry_run: bool) -> Report:
    """Remove what the policy says, or only list it. One place's trouble keeps no other from being looked at."""
    report = Report(dry_run)
    with _one_at_a_time:
        for survey in (work.survey, imports.survey, caches.survey, shelves.survey, _survey_objects):
            findings = survey(place, Limits.of(place.settings), now)
            _guarded(partial(_collect, findings, report), report)
    return report


def _collect(findings: Iterator[Finding], report: Report) -> None:
    for finding in findings:
        if report.dry_run:
            report.items.append(finding.item)
        else:
            _guarded(partial(_remove, finding, report), report, finding.item.what)


def _remove(finding: Finding, report: Report) -> None:
    if finding.remove() is not False:
        report.items.append(finding.item)


def _survey_objects(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Only in a bucket that is seen to be ours at this moment."""
    place.ownership.verify()
    yield from objects.survey(place, limits, now)


def _guarded(step: Callable[[], None], report: Report, what: str = "") -> None:
    try:
        step()
    except (AppError, OSError) as error:
        reason = error.message if isinstance(error, AppError) else str(error)
        report.problems.append(f"{what}: {reason}" if what else reason)
