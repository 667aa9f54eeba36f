"""Datasets of each task type, made once for all tests that only read them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from digits.dataset import Request, write_dataset

MadeDataset = Callable[[str], Path]
SMALL = 12


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeDataset:
    @cache
    def make(task_type: str) -> Path:
        folder = tmp_path_factory.mktemp(task_type)
        write_dataset(Request(task_type, images=SMALL), folder)
        return folder

    return make
