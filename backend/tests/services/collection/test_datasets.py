"""What datasets leave behind: copies of indexes and thumbnails, and objects that no row names."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.models import Dataset
from app.services import access, collection
from app.services.collection import Place, unlisted
from app.services.collection.policy import Limits
from app.services.datasets.shelf import Shelf, shelves
from app.services.ownership import Ownership
from app.settings import Settings
from app.storage import open_storage
from app.words import ImportStatus
from tests import factories

NOW = datetime.now(UTC)
MONTH = 30 * 86400


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path / "var", "browse_limit_bytes": 100}
    settings = Settings(**values)
    settings.data_dir.mkdir()
    access.ensure_access(database, settings, NOW)
    storage = open_storage(settings)
    return Place(settings, database, storage, Ownership(database, storage))


def _collect(place: Place) -> list[str]:
    """What went; a dry run must say the same before."""
    seen = collection.collect(place, NOW, dry_run=True)
    done = collection.collect(place, NOW, dry_run=False)
    assert (done.items, done.problems) == (seen.items, [])
    return [f"{item.kind} {item.what}" for item in done.items]


def _keep(shelf: Shelf, name: str, days: int) -> None:
    with shelf.use(name, Path.touch) as path:
        path.write_bytes(b"x" * 60)
    then = time.time() - days * 86400
    os.utime(shelf.folder / f"{name}.lock", (then, then))


def _age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - MONTH, time.time() - MONTH))


def test_copies_over_their_limit_lose_the_least_recently_used(place: Place) -> None:
    indexes, thumbnails = shelves(place.data_dir)
    _keep(indexes, "aa", days=1)
    _keep(thumbnails, "aa", days=3)
    _keep(thumbnails, "bb", days=2)
    [item, _] = collection.collect(place, NOW, dry_run=True).items
    assert item.reason == "the cache has 80 bytes too many; last used 3 days ago (BROWSE_LIMIT_BYTES)"
    assert _collect(place) == ["cache cache/thumbnails/aa.sqlite", "cache cache/thumbnails/bb.sqlite"]
    assert [kept.name for kept in indexes.kept()] == ["aa"]
    assert list(thumbnails.folder.iterdir()) == []


def test_a_copy_stays_if_it_is_in_use(place: Place) -> None:
    indexes, thumbnails = shelves(place.data_dir)
    _keep(indexes, "aa", days=9)
    _keep(thumbnails, "aa", days=1)
    with indexes.use("aa", Path.touch):
        assert _collect(place) == ["cache cache/thumbnails/aa.sqlite"]


def test_a_half_fetched_copy_goes_after_a_day(place: Place) -> None:
    indexes, _ = shelves(place.data_dir)
    _keep(indexes, "aa", days=1)
    half = indexes.folder / "bb.0123.part"
    half.write_bytes(b"x")
    assert _collect(place) == []
    _age(place.data_dir / "cache")
    assert _collect(place) == ["leftover cache/indexes/bb.0123.part"]


def test_objects_of_a_version_that_no_row_names_go_after_a_week(place: Place) -> None:
    with place.database.write_session() as session:
        dataset = factories.dataset(session, id="ds-00000001", highest_version=2).id
        version = factories.dataset_version(session, dataset_id=dataset, version=2, sha256="2" * 64)
        version.deleted_at = NOW
        factories.dataset_import(
            session, status=ImportStatus.RUNNING, dataset_id=dataset, version=4, dataset_name="digits"
        )
        factories.dataset_import(session, status=ImportStatus.CANCELLED, dataset_id=dataset, version=5)
    for number in (1, 2, 3, 4, 5):
        place.storage.put_bytes(f"datasets/{dataset}/{number}/data.zip", b"zip")
        place.storage.put_bytes(f"datasets/{dataset}/{number}/index.sqlite", b"index")
    foreign = [f"datasets/{dataset}/latest", f"datasets/{dataset}/notes/3/x", "datasets/digits/3/data.zip"]
    for key in foreign:
        place.storage.put_bytes(key, b"x")
    assert _collect(place) == []
    _age(place.settings.storage_folder)
    assert _collect(place) == [f"dataset datasets/{dataset}/3", f"dataset datasets/{dataset}/5"]
    left = {found.key for found in place.storage.list("datasets")}
    kept = {f"datasets/{dataset}/{number}/{name}" for number in (1, 2, 4) for name in ("data.zip", "index.sqlite")}
    assert left == kept | set(foreign)
    with place.database.read_session() as session:
        assert session.get_one(Dataset, dataset).highest_version == 5


def test_objects_of_a_new_dataset_stay_while_it_is_imported(place: Place) -> None:
    with place.database.write_session() as session:
        row = factories.dataset_import(session, status=ImportStatus.RUNNING, dataset_id="ds-00000009", version=1)
    place.ownership.require()
    place.storage.put_bytes("datasets/ds-00000009/1/data.zip", b"zip")
    _age(place.settings.storage_folder)
    assert _collect(place) == []
    with place.database.write_session() as session:
        session.merge(row).status = ImportStatus.CANCELLED
    assert _collect(place) == ["dataset datasets/ds-00000009"]


def test_objects_stay_if_an_import_takes_their_number_meanwhile(place: Place) -> None:
    with place.database.write_session() as session:
        dataset = factories.dataset(session, id="ds-00000001").id
    place.storage.put_bytes(f"datasets/{dataset}/2/data.zip", b"zip")
    _age(place.settings.storage_folder)
    [finding] = list(unlisted.survey(place, Limits.of(place.settings), NOW))
    with place.database.write_session() as session:
        factories.dataset_import(session, status=ImportStatus.RUNNING, dataset_id=dataset, version=2)
    assert finding.remove() is False
    assert place.storage.size(f"datasets/{dataset}/2/data.zip") == 3
