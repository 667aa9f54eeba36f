"""Deleting hides, restoring shows again, purging frees; nothing is listed that does not load."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Database
from app.errors import Conflict, NotFound, StorageUnavailable
from app.models import Dataset, DatasetVersion
from app.services import datasets
from app.services.datasets import Room, latest, removal, shelf
from app.settings import Settings
from app.storage import open_storage
from tests import factories

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@dataclass
class Place:
    room: Room

    def make(self, name: str = "digits", versions: int = 2) -> str:
        """A dataset whose versions have an object each."""
        with self.room.database.write_session() as session:
            row = factories.dataset(session, name=name, highest_version=versions)
            for number in range(2, versions + 1):
                factories.dataset_version(session, dataset_id=row.id, version=number, sha256=f"{number:064}")
        for number in range(1, versions + 1):
            self.room.storage.put_bytes(f"datasets/{row.id}/{number}/data.zip", b"zip")
        latest.point(self.room.database, self.room.storage, row.id)
        return row.id

    def job(self, dataset_id: str, version: int = 1) -> int:
        with self.room.database.write_session() as session:
            return factories.job(session, dataset_id=dataset_id, dataset_version=version).id

    def delete(self, reference: str) -> None:
        with self.room.database.write_session() as session:
            removal.delete(session, reference, NOW)

    def restore(self, reference: str) -> Dataset:
        with self.room.database.write_session() as session:
            return removal.restore(session, reference)

    def listed(self, deleted: bool = False) -> list[str]:
        with self.room.database.read_session() as session:
            rows, _ = datasets.list_datasets(session, cursor=None, limit=50, deleted=deleted)
        return [row.id for row in rows]

    def versions(self, dataset_id: str) -> tuple[list[int], list[int]]:
        with self.room.database.read_session() as session:
            found = datasets.find(session, dataset_id)
        return [version.version for version in found.versions], found.deleted_versions

    def stored(self) -> list[str]:
        return sorted(found.key for found in self.room.storage.list("datasets"))

    def latest(self, dataset_id: str) -> int:
        pointer: dict[str, Any] = json.loads(self.room.storage.get_bytes(f"datasets/{dataset_id}/latest"))
        return int(pointer["version"])


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[Place]:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path}
    yield Place(Room(database, open_storage(Settings(**values)), tmp_path))


def test_a_deleted_dataset_is_only_hidden_if_it_is_not_purged(place: Place) -> None:
    dataset_id, other = place.make(), place.make("other")
    keys = place.stored()
    place.delete("digits")
    assert (place.listed(), place.listed(deleted=True), place.stored()) == ([other], [dataset_id], keys)
    with place.room.database.read_session() as session:
        for reference in ("digits", dataset_id):
            with pytest.raises(NotFound, match=reference):
                datasets.find(session, reference)
        with pytest.raises(NotFound):
            datasets.find_version(session, dataset_id, 1)


def test_a_dataset_is_as_it_was_if_restored(place: Place) -> None:
    dataset_id = place.make()
    place.delete(dataset_id)
    assert place.restore("digits").id == dataset_id
    assert (place.listed(), place.listed(deleted=True)) == ([dataset_id], [])
    assert place.versions("digits") == ([1, 2], [])


def test_nothing_changes_if_deleted_or_restored_twice(place: Place) -> None:
    dataset_id = place.make()
    place.delete(dataset_id)
    place.delete(dataset_id)
    assert place.listed(deleted=True) == [dataset_id]
    place.restore(dataset_id)
    place.restore(dataset_id)
    assert place.listed() == [dataset_id]


def test_deleting_is_refused_if_jobs_use_the_dataset(place: Place) -> None:
    dataset_id = place.make()
    jobs = [place.job(dataset_id), place.job(dataset_id, 2)]
    with pytest.raises(Conflict, match=f"used by jobs {jobs[0]}, {jobs[1]}; delete them first") as caught:
        place.delete(dataset_id)
    assert caught.value.details == {"jobs": jobs}
    assert place.listed() == [dataset_id]


def test_the_name_is_free_if_the_dataset_is_deleted(place: Place) -> None:
    first = place.make()
    place.delete(first)
    second = place.make()
    with pytest.raises(Conflict, match="another dataset has the name 'digits'"):
        place.restore(first)
    assert (place.listed(), place.listed(deleted=True)) == ([second], [first])


def test_the_id_is_asked_for_if_several_deleted_ones_have_the_name(place: Place) -> None:
    ids = []
    for _ in range(2):
        ids.append(place.make())
        place.delete("digits")
    with pytest.raises(Conflict) as caught:
        place.restore("digits")
    assert caught.value.details == {"ids": sorted(ids)}
    assert place.restore(ids[1]).id == ids[1]


def test_nothing_is_left_if_a_dataset_is_purged(place: Place) -> None:
    dataset_id, other = place.make(), place.make("other", versions=1)
    place.delete(dataset_id)
    removal.purge(place.room, dataset_id)
    assert (place.listed(), place.listed(deleted=True)) == ([other], [])
    assert place.stored() == [f"datasets/{other}/1/data.zip", f"datasets/{other}/latest"]
    with place.room.database.read_session() as session:
        assert set(session.scalars(select(DatasetVersion.dataset_id))) == {other}


def test_purging_is_refused_if_not_deleted(place: Place) -> None:
    dataset_id = place.make()
    with pytest.raises(Conflict, match="is not deleted"):
        removal.purge(place.room, dataset_id)
    with pytest.raises(Conflict, match="version 1 of 'digits' is not deleted"):
        removal.purge_version(place.room, dataset_id, 1)
    assert len(place.stored()) == 3


def test_nothing_is_listed_that_does_not_load_if_a_purge_is_cut_short(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = place.make()
    place.delete(dataset_id)

    def refuse(_prefix: str) -> int:
        raise StorageUnavailable("bucket 'vision' does not answer")

    monkeypatch.setattr(place.room.storage, "delete_prefix", refuse)
    with pytest.raises(StorageUnavailable, match=r"is purged, its objects are not yet: .*RETENTION_ORPHAN_DAYS"):
        removal.purge(place.room, dataset_id)
    assert (place.listed(), place.listed(deleted=True)) == ([], [])
    with pytest.raises(NotFound):
        place.restore(dataset_id)


def test_the_local_copies_go_if_a_dataset_is_purged(place: Place) -> None:
    dataset_id = place.make()
    with place.room.database.write_session() as session:
        session.get_one(Dataset, dataset_id).all_versions[0].index_sha256 = "ab"
    copies = [each.path(name) for each in shelf.shelves(place.room.data_dir) for name in ("ab", "cd")]
    for each in shelf.shelves(place.room.data_dir):
        for name in ("ab", "cd"):
            with each.use(name, Path.touch):
                pass
    place.delete(dataset_id)
    removal.purge(place.room, dataset_id)
    assert [path.exists() for path in copies] == [False, True, False, True]


def test_the_pointer_moves_if_the_newest_version_is_deleted_or_restored(place: Place) -> None:
    dataset_id = place.make(versions=3)
    assert place.latest(dataset_id) == 3
    removal.delete_version(place.room, "digits", 3, NOW)
    assert (place.versions(dataset_id), place.latest(dataset_id)) == (([1, 2], [3]), 2)
    with place.room.database.read_session() as session, pytest.raises(NotFound, match="no version 3 any more"):
        datasets.find_version(session, "digits", 3)
    removal.restore_version(place.room, "digits", 3)
    assert (place.versions(dataset_id), place.latest(dataset_id)) == (([1, 2, 3], []), 3)


def test_the_pointer_is_mended_if_the_version_is_deleted_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset_id = place.make()

    def refuse(_key: str, _data: bytes) -> None:
        raise StorageUnavailable()

    with monkeypatch.context() as away:
        away.setattr(place.room.storage, "put_bytes", refuse)
        with pytest.raises(StorageUnavailable):
            removal.delete_version(place.room, dataset_id, 2, NOW)
    assert place.latest(dataset_id) == 2
    removal.delete_version(place.room, dataset_id, 2, NOW)
    assert place.latest(dataset_id) == 1


def test_deleting_a_version_is_refused_if_jobs_use_it(place: Place) -> None:
    dataset_id = place.make()
    job = place.job(dataset_id, 2)
    with pytest.raises(Conflict, match=f"version 2 of 'digits' is used by jobs {job}") as caught:
        removal.delete_version(place.room, dataset_id, 2, NOW)
    assert caught.value.details == {"jobs": [job]}
    removal.delete_version(place.room, dataset_id, 1, NOW)
    assert place.versions(dataset_id) == ([2], [1])


def test_deleting_a_version_is_refused_if_it_is_the_only_one(place: Place) -> None:
    dataset_id = place.make()
    removal.delete_version(place.room, dataset_id, 1, NOW)
    with pytest.raises(Conflict, match="delete the dataset instead"):
        removal.delete_version(place.room, dataset_id, 2, NOW)


def test_its_objects_alone_go_if_a_version_is_purged(place: Place) -> None:
    dataset_id = place.make(versions=11)
    removal.delete_version(place.room, dataset_id, 1, NOW)
    removal.purge_version(place.room, dataset_id, 1)
    assert place.versions(dataset_id) == (list(range(2, 12)), [])
    assert f"datasets/{dataset_id}/1/data.zip" not in place.stored()
    assert len(place.stored()) == 11
    with pytest.raises(NotFound):
        removal.purge_version(place.room, dataset_id, 1)


@pytest.mark.parametrize("number", [3, 2**31 - 1])
def test_not_found_if_there_is_no_such_version(place: Place, number: int) -> None:
    place.make()
    for change in (removal.restore_version, removal.purge_version):
        with pytest.raises(NotFound, match=f"no version {number}"):
            change(place.room, "digits", number)


def test_not_found_if_the_name_can_be_nobodys(place: Place) -> None:
    with place.room.database.read_session() as session, pytest.raises(NotFound):
        datasets.find(session, "a\x00b")


def test_deleted_datasets_are_paged_if_they_have_one_name(place: Place) -> None:
    ids = []
    for _ in range(3):
        ids.append(place.make(versions=1))
        place.delete(ids[-1])
    found: list[str] = []
    cursor = None
    with place.room.database.read_session() as session:
        while cursor is not None or not found:
            rows, cursor = datasets.list_datasets(session, cursor=cursor, limit=1, deleted=True)
            found += [row.id for row in rows]
    assert found == sorted(ids)


def test_no_job_gets_a_dataset_if_both_come_together(place: Place) -> None:
    """Whoever submits holds the dataset; the deletion waits, and sees the job."""
    dataset_id = place.make()
    outcome: list[str] = []

    def delete() -> None:
        try:
            place.delete(dataset_id)
            outcome.append("deleted")
        except Conflict as error:
            outcome.append(error.message)

    with place.room.database.write_session() as session:
        datasets.find(session, dataset_id, lock=True)
        thread = threading.Thread(target=delete)
        thread.start()
        job = factories.job(session, dataset_id=dataset_id).id
    thread.join(20)
    assert outcome == [f"dataset 'digits' is used by jobs {job}; delete them first"]
