"""An import's status: every verb on every status, and the queue."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.db import Database
from app.errors import Conflict
from app.models import Import
from app.services.datasets import imports
from app.words import ImportStatus
from tests import factories
from tests.factories import NOW

LATER = NOW + timedelta(minutes=1)
Verb = Callable[[Database, int, Path], Any]


def take(database: Database, import_id: int, folder: Path) -> Any:
    return imports.take(database, import_id, folder, LATER)


def queue(database: Database, import_id: int, _folder: Path) -> Any:
    imports.queue(database, import_id, 5, LATER)


def put_back(database: Database, import_id: int, _folder: Path) -> Any:
    imports.put_back(database, import_id, LATER)


def note_progress(database: Database, import_id: int, _folder: Path) -> Any:
    imports.note_progress(database, import_id, {"phase": "read", "done": 1, "total": 2}, LATER)


def note_received(database: Database, import_id: int, _folder: Path) -> Any:
    imports.note_received(database, import_id, 0, 5, LATER)


def accept(database: Database, import_id: int, _folder: Path) -> Any:
    with database.write_session() as session:
        imports.end(session, import_id, ImportStatus.ACCEPTED, LATER)


def cancel(database: Database, import_id: int, _folder: Path) -> Any:
    with database.write_session() as session:
        imports.cancel(session, imports.get(session, import_id), LATER)


BECOMES: dict[Verb, dict[str, str]] = {
    take: {"queued": "running", "running": "running"},
    queue: {"receiving": "queued", "failed": "queued"},
    put_back: {"running": "queued"},
    note_progress: {"running": "running"},
    note_received: {"receiving": "receiving"},
    accept: {"running": "accepted"},
    cancel: {"receiving": "cancelled", "queued": "cancelled", "running": "cancelled"},
}
REFUSES = (queue, cancel)


def make(database: Database, **fields: Any) -> int:
    with database.write_session() as session:
        return factories.dataset_import(session, **fields).id


def read(database: Database, import_id: int) -> Import:
    with database.read_session() as session:
        return imports.get(session, import_id)


@pytest.mark.parametrize("verb", BECOMES, ids=lambda verb: verb.__name__)
def test_status_changes_only_as_it_may(database: Database, verb: Verb, tmp_path: Path) -> None:
    for status in ImportStatus:
        import_id = make(database, status=status)
        becomes = BECOMES[verb].get(status)
        if becomes is None and verb in REFUSES:
            with pytest.raises(Conflict):
                verb(database, import_id, tmp_path / "folder")
        else:
            verb(database, import_id, tmp_path / "folder")
        row = read(database, import_id)
        assert (row.status, row.updated_at) == ((becomes, LATER) if becomes else (status, NOW))


def test_queue_is_in_the_order_in_which_all_was_there(database: Database) -> None:
    slow = make(database, status=ImportStatus.QUEUED, updated_at=LATER)
    quick = make(database, status=ImportStatus.QUEUED)
    make(database, status=ImportStatus.RECEIVING)
    cut_short = make(database, status=ImportStatus.RUNNING, updated_at=LATER)
    assert imports.waiting(database) == [cut_short, quick, slow]


def test_takes_are_counted_but_for_those_that_were_put_back(database: Database, tmp_path: Path) -> None:
    import_id = make(database, status=ImportStatus.QUEUED)
    for _ in range(imports.MAX_TAKES):
        row = imports.take(database, import_id, tmp_path, NOW)
        assert row is not None and row.takes == 1
        imports.put_back(database, import_id, NOW)
    for takes in range(1, imports.MAX_TAKES + 1):
        row = imports.take(database, import_id, tmp_path, NOW)
        assert row is not None and row.takes == takes
    assert imports.take(database, import_id, tmp_path, NOW) is None
    assert read(database, import_id).status == ImportStatus.FAILED


def test_what_it_waits_for_is_shown_until_it_goes_on(database: Database) -> None:
    import_id = make(database, status=ImportStatus.RUNNING)
    imports.note_waiting(database, import_id, "STORAGE_UNAVAILABLE", "away", NOW)
    row = read(database, import_id)
    assert (row.status, row.error) == ("running", imports.error_of("STORAGE_UNAVAILABLE", "away"))
    assert imports.note_progress(database, import_id, {}, NOW) and read(database, import_id).error is None


def test_pages_are_newest_first(database: Database) -> None:
    numbers = [make(database, status=status) for status in ImportStatus]
    with database.read_session() as session:
        first, cursor = imports.list_imports(session, status=(), cursor=None, limit=5)
        rest, end = imports.list_imports(session, status=(), cursor=cursor, limit=5)
        failed, _ = imports.list_imports(session, status=[ImportStatus.FAILED], cursor=None, limit=5)
    assert [row.id for row in first + rest] == numbers[::-1] and end is None
    assert [row.status for row in failed] == ["failed"]
