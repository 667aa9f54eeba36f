"""Every hostile input is handled under guard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.guarding import guarded


@pytest.fixture(autouse=True)
def guard(tmp_path: Path) -> Iterator[None]:
    """Nothing is written outside the test's folder, nothing connects, no program is started."""
    with guarded(tmp_path):
        yield
