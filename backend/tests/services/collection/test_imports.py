"""Uploads that nobody goes on with."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.models import Import
from app.services import access, collection
from app.services.collection import Place
from app.services.datasets import folders
from app.services.ownership import Ownership
from app.settings import Settings
from app.storage import open_storage
from app.words import ImportStatus
from tests import factories

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=2)


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path / "var"}
    settings = Settings(**values)
    settings.data_dir.mkdir()
    access.ensure_access(database, settings, NOW)
    storage = open_storage(settings)
    return Place(settings, database, storage, Ownership(database, storage))


def upload(place: Place, changed_at: datetime = OLD, **fields: Any) -> int:
    """An import whose files, and row, were last changed then."""
    with place.database.write_session() as session:
        import_id = factories.dataset_import(session, **{"updated_at": changed_at} | fields).id
    _write(folders.folder_of(place.settings.data_dir, import_id), changed_at)
    return import_id


def _write(folder: Path, changed_at: datetime) -> None:
    folder.mkdir(parents=True)
    for name in (folders.UPLOAD, folders.LOCK):
        (folder / name).write_bytes(b"x" * 10)
    for path in (*folder.iterdir(), folder):
        os.utime(path, (changed_at.timestamp(),) * 2)


def collect(place: Place) -> list[str]:
    seen = collection.collect(place, NOW, dry_run=True)
    done = collection.collect(place, NOW, dry_run=False)
    assert (done.items, done.problems) == (seen.items, [])
    return [f"{item.kind} {item.what}" for item in done.items]


def test_upload_goes_a_day_after_its_last_byte(place: Place) -> None:
    old, young = upload(place), upload(place, NOW - timedelta(hours=23))
    assert collect(place) == [f"upload uploads/import-{old}"]
    with place.database.read_session() as session:
        assert [session.get_one(Import, number).status for number in (old, young)] == ["cancelled", "receiving"]
    assert [path.name for path in folders.uploads(place.settings.data_dir).iterdir()] == [f"import-{young}"]
    assert collect(place) == []


def test_failed_upload_is_kept_for_a_day_from_its_end(place: Place) -> None:
    old = upload(place, status=ImportStatus.FAILED, ended_at=OLD)
    upload(place, status=ImportStatus.FAILED, ended_at=NOW)
    assert collect(place) == [f"upload uploads/import-{old}"]


@pytest.mark.parametrize("status", [ImportStatus.QUEUED, ImportStatus.RUNNING])
def test_upload_that_waits_for_its_turn_is_kept_however_long(place: Place, status: ImportStatus) -> None:
    upload(place, status=status)
    assert collect(place) == []


def test_folder_that_no_import_knows_goes(place: Place) -> None:
    uploads = folders.uploads(place.settings.data_dir)
    _write(uploads / "import-77", OLD)
    _write(uploads / "import-78", NOW)
    _write(uploads / "import-something", OLD)
    assert collect(place) == ["upload uploads/import-77"]


def test_left_if_somebody_works_in_it(place: Place) -> None:
    _write(folders.uploads(place.settings.data_dir) / "import-77", OLD)
    with folders.locked(folders.uploads(place.settings.data_dir) / "import-77"):
        assert collection.collect(place, NOW, dry_run=False).items == []
