"""Numbers as people's programs write them: 1, 1.0, "1". Python's own reading of text allows more than is meant."""

import re

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.ASCII | re.IGNORECASE)
LONGEST = 100


def number(value: object) -> float | None:
    """The value as a number, NaN and infinity included; None for what is no number."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if len(text) <= LONGEST and _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def whole(value: object) -> int | None:
    """The value as a whole number; None for what is none."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None
