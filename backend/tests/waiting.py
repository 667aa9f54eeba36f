"""Waiting for what a real process does: on a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
PAUSE_SECONDS = 0.02


def until(condition: Callable[[], Value], seconds: float = 30.0) -> Value:
    """The condition's first true value; AssertionError if it has none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds:g} s"
        time.sleep(PAUSE_SECONDS)
