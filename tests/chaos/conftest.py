"""A platform of its own for every test, killed at its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.world import World
from chaos.world import world as make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Not started yet."""
    with make_world(tmp_path / "world") as made:
        yield made
