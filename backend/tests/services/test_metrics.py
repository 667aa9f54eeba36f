"""Curves: the highest attempt wins, and thinning keeps the ends and the extremes."""

from datetime import datetime
from typing import Any

import pytest

from app.db import Database
from app.models import Metric, Validation
from app.services import metrics
from app.services.metrics import Point, thin
from tests import factories


def add_metric(job_id: int, **fields: Any) -> Metric:
    values = {"attempt": 1, "epoch": 1, "step": None, "name": "loss", "value": 1.0, "time": factories.NOW}
    return Metric(job_id=job_id, **values | fields)


def points(values: list[float | None]) -> list[Point]:
    return [Point(epoch, None, value, 1, factories.NOW) for epoch, value in enumerate(values, 1)]


def test_highest_attempt_wins_if_an_epoch_was_repeated(database: Database) -> None:
    with database.write_session() as session:
        job_id = factories.job(session).id
        session.add_all(
            [
                add_metric(job_id, epoch=1, value=3.0),
                add_metric(job_id, epoch=2, value=2.0),
                add_metric(job_id, epoch=2, value=1.5, attempt=2),
                add_metric(job_id, epoch=3, value=1.0, attempt=2),
                add_metric(job_id, epoch=2, value=0.5, name="mAP50"),
            ]
        )
        session.flush()
        found = metrics.series(session, job_id, [], 100)
    assert [(name, [(point.epoch, point.value, point.attempt) for point in points]) for name, points in found] == [
        ("loss", [(1, 3.0, 1), (2, 1.5, 2), (3, 1.0, 2)]),
        ("mAP50", [(2, 0.5, 1)]),
    ]


def test_steps_follow_in_order_if_an_epoch_has_several(database: Database) -> None:
    with database.write_session() as session:
        job_id = factories.job(session).id
        session.add_all([add_metric(job_id, epoch=2, step=step) for step in (30, None, 20)])
        session.add_all([add_metric(job_id, epoch=1, step=10), add_metric(factories.job(session).id, step=5)])
        session.flush()
        [(_, found)] = metrics.series(session, job_id, ["loss"], 100)
    assert [(point.epoch, point.step) for point in found] == [(1, 10), (2, None), (2, 20), (2, 30)]


def test_only_the_named_come_if_names_are_given(database: Database) -> None:
    with database.write_session() as session:
        job_id = factories.job(session).id
        session.add_all([add_metric(job_id, name=name) for name in ("a", "b", "c")])
        session.flush()
        assert [name for name, _ in metrics.series(session, job_id, ["c", "a", "none"], 100)] == ["a", "c"]


@pytest.mark.parametrize("most", [4, 5, 7, 50, 99])
def test_ends_and_extremes_stay_if_thinned(most: int) -> None:
    values: list[float | None] = [float(n % 17) for n in range(100)]
    values[41], values[73] = 900.0, -900.0
    kept = thin(points(values), most)
    assert len(kept) <= most
    assert (kept[0].epoch, kept[-1].epoch) == (1, 100)
    assert {900.0, -900.0} <= {point.value for point in kept}
    assert [point.epoch for point in kept] == sorted({point.epoch for point in kept})


def test_everything_stays_if_it_fits() -> None:
    series = points([1.0, None, 3.0, 4.0])
    assert thin(series, 4) == series


def test_a_point_stays_if_no_number_is_finite() -> None:
    kept = thin(points([1.0, *[None] * 50, 2.0]), 10)
    assert len(kept) == 6
    assert [point.value for point in kept[1:-1]] == [None] * 4


def test_refuses_to_thin_if_too_few_points_are_asked() -> None:
    with pytest.raises(ValueError, match="at least 4 points, not 3"):
        thin(points([1.0]), 3)


def test_one_validation_an_epoch_comes_if_attempts_repeat_it(database: Database, now: datetime) -> None:
    common = {"primary_name": "mAP50", "metrics": {}, "per_class": [], "time": now}
    with database.write_session() as session:
        job_id = factories.job(session).id
        for attempt, epoch, value in [(1, 1, 0.1), (1, 2, 0.2), (2, 2, 0.15), (2, 3, 0.3)]:
            session.add(Validation(job_id=job_id, attempt=attempt, epoch=epoch, primary_value=value, **common))
        session.flush()
        found = [(row.epoch, row.attempt, row.primary_value) for row in metrics.validations(session, job_id)]
    assert found == [(1, 1, 0.1), (2, 2, 0.15), (3, 2, 0.3)]
