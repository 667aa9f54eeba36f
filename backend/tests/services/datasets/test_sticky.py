"""Splits that the platform made stay from version to version, whatever seed is asked for later."""

import io
import threading
import zipfile
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.context import Platform
from app.datasets.index import Index
from app.datasets.work import SplitPlan, Wish
from app.main import create_app
from app.services.datasets import folders, imports, running
from app.services.datasets.imports import NewImport
from app.settings import Settings
from app.words import TaskType
from tests.factories import NOW
from tests.uploads import LINES, image


def flat(count: int) -> bytes:
    """Images and labels without splits."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.yaml", "names: [cat, dog]\n")
        for number in range(count):
            archive.writestr(f"images/{number}.png", image(number))
            archive.writestr(f"labels/{number}.txt", LINES[TaskType.OBJECT_DETECTION])
    return file.getvalue()


def imported(platform: Platform, data: bytes, folder: Path, **plan: int) -> tuple[int | None, dict[str, str]]:
    """The version that became of it, and the split of each image."""
    wish = Wish(split=SplitPlan.model_validate(plan))
    row = imports.create(platform.database, platform.settings, NewImport("digits", {"kind": "upload"}, wish=wish), NOW)
    (folders.folder_of(platform.settings.data_dir, row.id) / folders.UPLOAD).write_bytes(data)
    imports.note_received(platform.database, row.id, 0, len(data), NOW)
    imports.queue(platform.database, row.id, len(data), NOW)
    tools = running.Tools(platform.settings, platform.database, platform.storage, platform.launcher, platform.ownership)
    assert running.run_next(tools, threading.Event().wait)
    with platform.database.read_session() as session:
        row = imports.get(session, row.id)
    platform.storage.download(f"datasets/{row.dataset_id}/{row.version}/index.sqlite", folder / "index")
    with Index(folder / "index") as index:
        return row.version, {one.name: one.split for one in index.every_image()}


@pytest.fixture
def platform(settings: Settings) -> Platform:
    app = create_app(settings, reconciling=False, importing=False)
    with TestClient(app):
        assert isinstance(app, FastAPI)
        made: Platform = app.state.platform
        return made


def test_images_stay_in_their_splits_whatever_the_seed(platform: Platform, tmp_path: Path) -> None:
    first, before = imported(platform, flat(10), tmp_path)
    second, after = imported(platform, flat(20), tmp_path, seed=1)
    again, _ = imported(platform, flat(10), tmp_path, seed=9)
    assert (first, second, again) == (1, 2, 1)
    assert before.items() <= after.items() and len(after) == 20
