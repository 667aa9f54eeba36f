"""How numbers, sizes, durations and times are written for people; nowhere else."""

from collections.abc import Mapping
from datetime import UTC, datetime

SPARKS = "▁▂▃▄▅▆▇█"
NOTHING = "–"


def number(value: float | None) -> str:
    """Four significant digits, without an exponent where people can read it without."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or value == int(value):
        return f"{int(value)}"
    return f"{value:.4g}" if 0.001 <= abs(value) < 10_000 else f"{value:.2e}"


def score(value: float | None) -> str:
    """A metric between 0 and 1, three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def numbers(values: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())


def scores(values: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {score(value)}" for name, value in values.items())


def size(count: float) -> str:
    """Bytes in decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """`48 s`, `3 min 05 s`, `2 h 14 min`, `3 d 4 h`."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def between(start: datetime | None, end: datetime | None, now: datetime | None = None) -> str:
    """How long from start to end, or until now while it lasts."""
    if start is None:
        return NOTHING
    return duration(((end or now or datetime.now(UTC)) - start).total_seconds())


def moment(time: datetime | None) -> str:
    return NOTHING if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(time: datetime) -> str:
    return time.astimezone().strftime("%H:%M:%S")


def count(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def words(identifier: str) -> str:
    """`object_detection` as people say it."""
    return identifier.replace("_", " ")


def sparkline(values: list[float | None], width: int = 40) -> str:
    """The newest `width` values as small bars, from zero to the largest."""
    shown = [value or 0.0 for value in values[-width:]]
    top = max(shown, default=0.0)
    if top <= 0:
        return SPARKS[0] * len(shown)
    return "".join(SPARKS[min(len(SPARKS) - 1, int(value / top * (len(SPARKS) - 1) + 0.5))] for value in shown)
