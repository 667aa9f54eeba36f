import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend import Backend
from tests.vision import COMPLETE, Vision, make_dataset


@pytest.fixture(scope="session", autouse=True)
def _can_be_interrupted() -> None:
    """A shell that starts the tests in the background has SIGINT ignored, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One for all tests; each test brings its own jobs."""
    yield from _running(tmp_path_factory.mktemp("backend"))


@pytest.fixture
def own_backend(tmp_path: Path) -> Iterator[Backend]:
    """For tests that stop it."""
    yield from _running(tmp_path)


@pytest.fixture(scope="session")
def vision(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Vision:
    """The command, with the dataset `shapes` registered."""
    command = Vision(backend)
    command("dataset", "add", make_dataset(tmp_path_factory.mktemp("data") / "shapes"), "--task", "object_detection")
    return command


@pytest.fixture(scope="session")
def trained(vision: Vision) -> int:
    """A job that has completed."""
    return int(vision.lines(*COMPLETE, "--watch")[-1]["id"])


def _running(folder: Path) -> Iterator[Backend]:
    backend = Backend(folder)
    try:
        backend.start()
        yield backend
    finally:
        backend.clean_up()
