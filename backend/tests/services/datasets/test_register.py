"""Datasets and versions: rows, objects, and the pointer to the newest."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.errors import Conflict, Invalid, StorageUnavailable
from app.services import datasets
from app.services.datasets import Registered
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import TaskType
from tests import factories
from tests.services.datasets.zips import write_zip, yolo_files

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DETECTION = TaskType.OBJECT_DETECTION


@dataclass
class Place:
    database: Database
    storage: Storage
    folder: Path

    def register(self, name: str = "digits", task_type: TaskType = DETECTION, **changes: str | bytes) -> Registered:
        upload = write_zip(self.folder / "upload.zip", yolo_files(task_type, **changes))
        arguments: dict[str, Any] = {"name": name, "task_type": task_type, "max_bytes": 2**20, "now": NOW}
        return datasets.register(self.database, self.storage, upload, **arguments)

    def latest(self, dataset_id: str) -> dict[str, Any]:
        pointer: dict[str, Any] = json.loads(self.storage.get_bytes(f"datasets/{dataset_id}/latest"))
        return pointer


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path}
    return Place(database, open_storage(Settings(**values)), tmp_path)


def test_dataset_is_stored_with_its_objects(place: Place) -> None:
    made = place.register()
    with place.database.read_session() as session:
        dataset = datasets.find(session, "digits")
        version = dataset.versions[0]
        assert (dataset.id, dataset.task_type, version.classes) == (made.dataset_id, DETECTION, ["cat", "dog"])
    assert made.dataset_id.startswith("ds-")
    assert (made.version, made.is_new) == (1, True)
    assert place.storage.size(f"datasets/{made.dataset_id}/1/data.zip") == version.archive_size
    assert place.latest(made.dataset_id) == {"version": 1, "archive_sha256": version.archive_sha256}


def test_same_content_is_the_version_it_was(place: Place) -> None:
    first = place.register()
    second = place.register(label="0 0 0 1 1")
    again = place.register()
    assert (again.dataset_id, again.version, again.is_new) == (first.dataset_id, 1, False)
    assert (second.dataset_id, second.version, second.is_new) == (first.dataset_id, 2, True)
    assert place.latest(first.dataset_id)["version"] == 2


def test_pointer_is_mended_if_the_same_content_comes_again(place: Place) -> None:
    made = place.register()
    place.storage.delete(f"datasets/{made.dataset_id}/latest")
    place.register()
    assert place.latest(made.dataset_id)["version"] == 1


def test_nothing_is_stored_if_the_archive_is_refused(place: Place) -> None:
    with pytest.raises(Invalid):
        place.register(label="9 0 0 1 1")
    with place.database.read_session() as session:
        assert datasets.list_datasets(session, cursor=None, limit=10) == ([], None)
    assert list(place.storage.list("")) == []


def test_no_row_is_stored_if_the_archive_cannot_be(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_key: str, _path: Path) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(place.storage, "put_file", refuse)
    with pytest.raises(StorageUnavailable):
        place.register()
    with place.database.read_session() as session:
        assert datasets.list_datasets(session, cursor=None, limit=10) == ([], None)


def test_upload_is_refused_if_another_replica_took_its_number(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made = place.register()
    put_file = place.storage.put_file

    def race(key: str, path: Path) -> None:
        put_file(key, path)
        with place.database.write_session() as session:
            factories.dataset_version(session, dataset_id=made.dataset_id, version=2)

    monkeypatch.setattr(place.storage, "put_file", race)
    with pytest.raises(Conflict, match="send it again"):
        place.register(label="0 0 0 1 1")
    assert place.storage.size(f"datasets/{made.dataset_id}/2/data.zip")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../a", ".a", "-a", "x" * 101, "ds-0123abcd", "a\n", "a?b"])
def test_name_is_refused_if_a_url_cannot_hold_it(place: Place, name: str) -> None:
    with place.database.read_session() as session, pytest.raises(Invalid, match="letters, digits"):
        datasets.check_request(session, name, DETECTION)


@pytest.mark.parametrize("name", ["digits", "숫자_2", "a.b-c", "7"])
def test_name_is_taken_in_any_language(place: Place, name: str) -> None:
    with place.database.read_session() as session:
        assert datasets.check_request(session, name, DETECTION) == (name, DETECTION)


def test_name_is_the_same_however_it_is_composed(place: Place) -> None:
    made = place.register("숫자")
    with place.database.read_session() as session:
        assert datasets.find(session, "숫자").id == made.dataset_id


def test_name_is_refused_if_it_belongs_to_another_task(place: Place) -> None:
    place.register()
    with pytest.raises(Conflict, match="is for object_detection, not pose_estimation"):
        place.register(task_type=TaskType.POSE_ESTIMATION)


def test_datasets_are_paged_by_name(place: Place) -> None:
    for name in ("b", "c", "a"):
        place.register(name)
    with place.database.read_session() as session:
        first, cursor = datasets.list_datasets(session, cursor=None, limit=2)
        rest, end = datasets.list_datasets(session, cursor=cursor, limit=2)
    assert ([item.name for item in first], [item.name for item in rest], end) == (["a", "b"], ["c"], None)
