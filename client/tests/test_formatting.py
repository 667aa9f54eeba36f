from datetime import UTC, datetime, timedelta

import pytest
from vision_client import formatting

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (3, "3"),
        (1.23456, "1.235"),
        (0.002813, "0.002813"),
        (0.0000312, "3.12e-05"),
        (123456.7, "1.23e+05"),
    ],
)
def test_number_is_readable(value: float | None, shown: str) -> None:
    assert formatting.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (8040, "2 h 14 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_duration_has_two_units_at_most(seconds: float | None, shown: str) -> None:
    assert formatting.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (5_400_000, "5.4 MB"), (2e12, "2.0 TB")]
)
def test_size_is_decimal(count: float, shown: str) -> None:
    assert formatting.size(count) == shown


def test_between_runs_on_if_there_is_no_end() -> None:
    assert formatting.between(START, None, START + timedelta(seconds=75)) == "1 min 15 s"
    assert formatting.between(START, START + timedelta(seconds=5), START + timedelta(hours=1)) == "5 s"
    assert formatting.between(None, None) == "–"


def test_sparkline_rises_with_its_values() -> None:
    assert formatting.sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert formatting.sparkline([None, 0.0]) == "▁▁"
    assert len(formatting.sparkline([0.1] * 90, width=40)) == 40
