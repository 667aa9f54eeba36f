"""What a job learned: its series of numbers, thinned for drawing, and its validations.

A resumed attempt repeats the interrupted epoch: the highest attempt wins for each (name, epoch).
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from app.models import Metric, Validation

MIN_POINTS = 4  # the first, the last and both extremes


class Point(NamedTuple):
    epoch: int
    step: int | None
    value: float | None
    attempt: int
    time: Any


def series(session: Session, job_id: int, names: Sequence[str], max_points: int) -> list[tuple[str, list[Point]]]:
    """Each series by name, its points in order of epoch and step, at most `max_points` of them."""
    rows = session.execute(_winning_metrics(job_id, names))
    found = []
    for name, group in groupby(rows, key=lambda row: row.name):
        points = [Point(row.epoch, row.step, row.value, row.attempt, row.time) for row in group]
        found.append((name, thin(points, max_points)))
    return found


def thin(points: list[Point], most: int) -> list[Point]:
    """At most `most` points: the first, the last, and the lowest and highest of each stretch between them."""
    if most < MIN_POINTS:
        raise ValueError(f"a series needs at least {MIN_POINTS} points, not {most}")
    if len(points) <= most:
        return points
    inner = points[1:-1]
    stretches = (most - 2) // 2
    edges = [len(inner) * number // stretches for number in range(stretches + 1)]
    kept = [point for start, end in pairwise(edges) for point in _extremes(inner[start:end])]
    return [points[0], *kept, points[-1]]


def validations(session: Session, job_id: int) -> Sequence[Validation]:
    """One result an epoch, in order."""
    newest = func.row_number().over(partition_by=Validation.epoch, order_by=Validation.attempt.desc())
    ranked = select(Validation, newest.label("newest")).where(Validation.job_id == job_id).subquery()
    winner = aliased(Validation, ranked)
    return session.scalars(select(winner).where(ranked.c.newest == 1).order_by(winner.epoch)).all()


def _winning_metrics(job_id: int, names: Sequence[str]) -> Select[Any]:
    highest = func.max(Metric.attempt).over(partition_by=(Metric.name, Metric.epoch)).label("highest")
    rows = select(Metric, highest).where(Metric.job_id == job_id)
    if names:
        rows = rows.where(Metric.name.in_(names))
    table = rows.subquery().c
    chosen = select(table.name, table.epoch, table.step, table.value, table.attempt, table.time)
    return chosen.where(table.attempt == table.highest).order_by(
        table.name, table.epoch, table.step.nulls_first(), table.id
    )


def _extremes(stretch: list[Point]) -> list[Point]:
    """Its lowest and highest point in their order; any one where no number is finite."""
    numbered = [(place, point.value) for place, point in enumerate(stretch) if point.value is not None]
    if not numbered:
        return stretch[:1]
    low, high = min(numbered, key=lambda item: item[1]), max(numbered, key=lambda item: item[1])
    return [stretch[place] for place in sorted({low[0], high[0]})]
