"""From what an import made to a version: its number, its objects, its row, and the pointer, whatever comes between."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from app.datasets.work import Report
from app.db import Database
from app.errors import Conflict, StorageUnavailable
from app.models import Dataset, DatasetVersion, Import
from app.services.datasets import publish
from app.services.datasets.publish import Made
from app.services.datasets.watching import Cancelled
from app.settings import Settings
from app.storage import Storage, open_storage
from app.words import ImportStatus
from tests import factories
from tests.factories import NOW

ARCHIVE, INDEX = b"an archive", b"an index"


@dataclass
class Place:
    database: Database
    storage: Storage
    folder: Path

    def made(self, sha256: str = "a" * 64, **packed: Any) -> Made:
        """What a process would leave."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "data.zip").write_bytes(ARCHIVE + sha256.encode())
        (self.folder / "index.sqlite").write_bytes(INDEX)
        return Made(self.folder, factories.packed(sha256=sha256, **packed), Report(format="yolo", notes=1))

    def publish(self, made: Made | None = None, **fields: Any) -> Import:
        """A running import, published and with the pointer moved."""
        import_id = self.begin(**fields)
        self.go_on(import_id, made or self.made())
        return self.row(import_id)

    def begin(self, **fields: Any) -> int:
        with self.database.write_session() as session:
            return factories.dataset_import(session, status=ImportStatus.RUNNING, **fields).id

    def go_on(self, import_id: int, made: Made) -> None:
        publish.publish(self.database, self.storage, import_id, made, NOW, lambda _: None)
        publish.point_latest(self.database, self.storage, import_id)

    def row(self, import_id: int) -> Import:
        with self.database.read_session() as session:
            return session.get_one(Import, import_id)

    def versions(self) -> list[tuple[int, str]]:
        with self.database.read_session() as session:
            rows = session.query(DatasetVersion).order_by(DatasetVersion.dataset_id, DatasetVersion.version)
            return [(row.version, row.sha256[0]) for row in rows]

    def keys(self) -> list[str]:
        return sorted(found.key.split("/", 2)[2] for found in self.storage.list("datasets"))

    def latest(self, dataset_id: str | None) -> int:
        number: int = json.loads(self.storage.get_bytes(f"datasets/{dataset_id}/latest"))["version"]
        return number


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    values: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path}
    return Place(database, open_storage(Settings(**values)), tmp_path / "import-1")


def test_version_is_stored_with_all_that_is_known_of_it(place: Place) -> None:
    row = place.publish()
    assert (row.version, row.is_new, row.report) == (1, True, Report(format="yolo", notes=1).model_dump(mode="json"))
    with place.database.read_session() as session:
        dataset = session.get_one(Dataset, row.dataset_id)
        [version] = dataset.versions
        assert (dataset.name, dataset.task_type, dataset.highest_version) == ("digits", "object_detection", 1)
        assert (version.origin, version.format, version.index_sha256) == ("import", "yolo", factories.SHA256)
        assert (version.report, version.statistics) == (row.report, {"images": {"train": 1}})
    assert place.keys() == ["1/data.zip", "1/index.sqlite", "latest"]
    assert place.latest(row.dataset_id) == 1


def test_same_content_is_the_version_it_was(place: Place) -> None:
    first, second, again = place.publish(), place.publish(place.made("b" * 64)), place.publish()
    assert (second.dataset_id, second.version, second.is_new) == (first.dataset_id, 2, True)
    assert (again.dataset_id, again.version, again.is_new) == (first.dataset_id, 1, False)
    assert place.latest(first.dataset_id) == 2 and place.versions() == [(1, "a"), (2, "b")]


def test_deleted_version_comes_back_if_its_content_does(place: Place) -> None:
    first, second = place.publish(), place.publish(place.made("b" * 64))
    with place.database.write_session() as session:
        session.get_one(Dataset, first.dataset_id).all_versions[1].deleted_at = NOW
    again = place.publish(place.made("b" * 64))
    assert (again.version, again.is_new) == (second.version, False)
    with place.database.read_session() as session:
        assert len(session.get_one(Dataset, first.dataset_id).versions) == 2


def test_name_of_a_deleted_dataset_is_free(place: Place) -> None:
    first = place.publish()
    with place.database.write_session() as session:
        session.get_one(Dataset, first.dataset_id).deleted_at = NOW
    second = place.publish()
    assert second.dataset_id != first.dataset_id and (second.version, second.is_new) == (1, True)


def test_number_of_a_purged_version_is_not_given_again(place: Place) -> None:
    place.publish()
    place.publish(place.made("b" * 64))
    with place.database.write_session() as session:
        session.execute(delete(DatasetVersion).where(DatasetVersion.version == 2))
    assert place.publish(place.made("c" * 64)).version == 3


def test_pointer_is_mended_if_the_same_content_comes_again(place: Place) -> None:
    row = place.publish()
    place.storage.delete(f"datasets/{row.dataset_id}/latest")
    place.publish()
    assert place.latest(row.dataset_id) == 1


def test_nothing_is_new_if_another_task_has_the_name(place: Place) -> None:
    place.publish()
    with pytest.raises(Conflict, match="is for object_detection, not pose_estimation"):
        place.publish(place.made("b" * 64, task_type="pose_estimation"))
    assert place.versions() == [(1, "a")]


def test_number_is_kept_if_the_storage_was_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id, made = place.begin(), place.made()
    with monkeypatch.context() as away:
        away.setattr(place.storage, "put_file", _refuse)
        with pytest.raises(StorageUnavailable):
            place.go_on(import_id, made)
    assert place.versions() == [] and place.row(import_id).is_new is None
    place.go_on(import_id, made)
    assert place.row(import_id).version == 1 and place.keys() == ["1/data.zip", "1/index.sqlite", "latest"]


def test_two_at_once_get_numbers_and_objects_of_their_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.publish()
    others = {}

    def race() -> None:
        others["b"] = place.publish(place.made("b" * 64))

    made = Made(place.folder.with_name("other"), factories.packed(sha256="c" * 64), Report())
    made.folder.mkdir()
    (made.folder / "data.zip").write_bytes(b"c's archive")
    (made.folder / "index.sqlite").write_bytes(b"c's index")
    _while_storing(place.storage, monkeypatch, race)
    last = place.publish(made)
    assert (last.version, others["b"].version) == (2, 3)
    assert place.versions() == [(1, "a"), (2, "c"), (3, "b")]
    assert place.storage.get_bytes(f"datasets/{first.dataset_id}/2/data.zip") == b"c's archive"
    assert place.latest(first.dataset_id) == 3


def test_same_content_twice_at_once_is_one_version(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish(place.made("b" * 64))
    _while_storing(place.storage, monkeypatch, lambda: _kept(place.publish()))
    last = place.publish()
    assert last.is_new is False and place.versions() == [(1, "b"), (last.version, "a")]
    assert place.keys() == [
        "1/data.zip",
        "1/index.sqlite",
        f"{last.version}/data.zip",
        f"{last.version}/index.sqlite",
        "latest",
    ]


def test_new_name_twice_at_once_is_one_dataset(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    _while_storing(place.storage, monkeypatch, lambda: _kept(place.publish(place.made("b" * 64))))
    last = place.publish(place.made("a" * 64))
    assert place.versions() == [(1, "b"), (2, "a")] and last.version == 2
    assert len(list(place.storage.list("datasets"))) == 5


def test_nothing_stays_if_it_is_cancelled_while_it_is_stored(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id = place.begin()

    def cancel() -> None:
        with place.database.write_session() as session:
            session.get_one(Import, import_id).status = ImportStatus.CANCELLED

    _while_storing(place.storage, monkeypatch, cancel)
    with pytest.raises(Cancelled):
        place.go_on(import_id, place.made())
    publish.release(place.database, place.storage, import_id)
    assert place.versions() == [] and list(place.storage.list("datasets")) == []


def test_addition_is_refused_if_its_dataset_is_another_by_now(place: Place) -> None:
    first = place.publish()
    with place.database.write_session() as session:
        session.get_one(Dataset, first.dataset_id).deleted_at = NOW
    place.publish()
    with pytest.raises(Conflict, match="was deleted"):
        place.publish(parent_version=1, source={"kind": "upload", "dataset_id": first.dataset_id})


@pytest.mark.parametrize(("kind", "origin"), [("edit", "edit"), ("storage", "addition")])
def test_version_names_its_parent(place: Place, kind: str, origin: str) -> None:
    first = place.publish()
    place.publish(place.made("b" * 64), parent_version=1, source={"kind": kind, "dataset_id": first.dataset_id})
    with place.database.read_session() as session:
        version = session.get_one(Dataset, first.dataset_id).versions[1]
        assert (version.parent_version, version.origin) == (1, origin)


def test_many_at_once_get_a_number_each(place: Place, now: datetime) -> None:
    place.publish()
    threads = [threading.Thread(target=place.publish, args=(_made(place, number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [number for number, _ in place.versions()] == list(range(1, 8))
    with place.database.read_session() as session:
        [dataset] = session.query(Dataset)
        assert (dataset.highest_version, place.latest(dataset.id)) == (7, 7)
        for version in dataset.versions[1:]:
            stored = place.storage.get_bytes(f"datasets/{dataset.id}/{version.version}/data.zip")
            assert stored == version.sha256.encode()


def _made(place: Place, number: int) -> Made:
    folder = place.folder.with_name(f"made-{number}")
    folder.mkdir()
    sha256 = f"{number}" * 64
    (folder / "data.zip").write_bytes(sha256.encode())
    (folder / "index.sqlite").write_bytes(INDEX)
    return Made(folder, factories.packed(sha256=sha256), Report())


def _while_storing(storage: Storage, monkeypatch: pytest.MonkeyPatch, between: Callable[[], None]) -> None:
    """Something happens, once, after the first archive is stored and before its row is."""
    put_file = storage.put_file

    def put(key: str, path: Path) -> None:
        put_file(key, path)
        if key.endswith("data.zip"):
            monkeypatch.setattr(storage, "put_file", put_file)
            between()

    monkeypatch.setattr(storage, "put_file", put)


def _kept(row: Import) -> None:
    assert row.is_new


def _refuse(_key: str, _path: Path) -> None:
    raise StorageUnavailable()
