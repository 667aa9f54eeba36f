"""Reads server-sent events the way a browser does, as far as these tests need it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def messages(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each message as {"id", "event", "data"}; comments are skipped."""
    message: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            message[name] = json.loads(value) if name == "data" else value
        elif message:
            yield message
            message = {}
