"""Waiting for what a real system does in its own time: on a condition, with a deadline, never by a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL_SECONDS = 0.05


def eventually(condition: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """The condition's first value that is neither None nor False. Raises AssertionError, naming what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value is not None and value is not False:
            return value
        time.sleep(INTERVAL_SECONDS)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")
