"""One import from its queue to its end, with the real process; where its failing is the point, with one that fails."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.context import Platform
from app.db import Database
from app.errors import Invalid, StorageUnavailable
from app.main import create_app
from app.models import Import
from app.services.datasets import ending, folders, imports, running, sources, watching
from app.services.datasets.imports import NewImport
from app.settings import Settings
from app.storage import open_storage
from app.words import ImportStatus
from tests import factories
from tests.factories import NOW
from tests.launchers.scripted import gone
from tests.uploads import yolo_files, zipped
from tests.waiting import until

OUTCOME = 'import json, pathlib, sys; folder = pathlib.Path(sys.argv[1]); (folder / "outcome.json").write_text({!r})'
PAUSE = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
(folder / "progress.json").write_text('{"phase": "inspect", "done": 3, "total": 7}')
(folder.parent / "pid.part").write_text(str(os.getpid()))
os.rename(folder.parent / "pid.part", folder.parent / "pid")
signal.pause()
"""


@dataclass
class Bench:
    """A platform whose imports run when the test says so."""

    platform: Platform

    @property
    def tools(self) -> running.Tools:
        platform = self.platform
        parts = platform.settings, platform.database, platform.storage, platform.launcher, platform.ownership
        return running.Tools(*parts)

    def queue(self, data: bytes | None = None, name: str = "digits", **fields: Any) -> int:
        """An import that is ready to run."""
        new = NewImport(name, fields.pop("source", {"kind": "upload"}), **fields)
        row = imports.create(self.platform.database, self.platform.settings, new, NOW)
        if data is not None:
            (self.folder(row.id) / folders.UPLOAD).write_bytes(data)
            imports.note_received(self.platform.database, row.id, 0, len(data), NOW)
            imports.queue(self.platform.database, row.id, len(data), NOW)
        return row.id

    def run(self, program: str | None = None, **settings: Any) -> bool:
        """Run the next one, by this program where it is not the real one."""
        tools = self.tools
        if program is not None:
            tools = replace(tools, command=(sys.executable, "-c", program))
        if settings:
            tools = replace(tools, settings=tools.settings.model_copy(update=settings))
        return running.run_next(tools, threading.Event().wait)

    def start(self, program: str, ending: Callable[[float], bool]) -> threading.Thread:
        """Run the next one elsewhere, and return once its process runs."""
        tools = replace(self.tools, command=(sys.executable, "-c", program))
        thread = threading.Thread(target=running.run_next, args=(tools, ending))
        thread.start()
        until(self.pid_file.exists)
        return thread

    @property
    def pid_file(self) -> Path:
        return folders.uploads(self.platform.settings.data_dir) / "pid"

    def row(self, import_id: int) -> Import:
        with self.platform.database.read_session() as session:
            return imports.get(session, import_id)

    def folder(self, import_id: int) -> Path:
        return folders.folder_of(self.platform.settings.data_dir, import_id)

    def cancel(self, import_id: int) -> None:
        platform = self.platform
        ending.cancel(platform.database, platform.storage, platform.settings, import_id, NOW)

    def error(self, import_id: int) -> tuple[str, str]:
        """The code and message of a failed one."""
        row = self.row(import_id)
        assert row.status == ImportStatus.FAILED and row.error is not None and row.ended_at is not None
        return row.error["code"], row.error["message"]


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    app = create_app(settings, reconciling=False, importing=False)
    with TestClient(app):
        assert isinstance(app, FastAPI)
        yield Bench(app.state.platform)


@pytest.fixture
def archive() -> bytes:
    return zipped(yolo_files())


def test_upload_becomes_a_version(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    assert bench.run() and not bench.run()
    row = bench.row(import_id)
    assert (row.status, row.version, row.is_new, row.error) == (ImportStatus.ACCEPTED, 1, True, None)
    assert row.report and row.report["format"] == "yolo" and row.ended_at
    assert not bench.folder(import_id).exists()
    keys = [found.key for found in bench.platform.storage.list(f"datasets/{row.dataset_id}")]
    assert sorted(key.partition("/")[2].partition("/")[2] for key in keys) == ["1/data.zip", "1/index.sqlite", "latest"]


def test_report_says_why_an_upload_is_refused(bench: Bench) -> None:
    import_id = bench.queue(zipped(yolo_files(label="7 0.5 0.5 0.1 0.1\n")))
    bench.run()
    row = bench.row(import_id)
    assert (row.status, row.version, row.error) == (ImportStatus.REFUSED, None, None)
    assert row.report and "CLASS_OUT_OF_RANGE" in [group["code"] for group in row.report["groups"]]
    assert not bench.folder(import_id).exists() and list(bench.platform.storage.list("datasets")) == []


def test_error_says_why_an_upload_is_no_archive(bench: Bench) -> None:
    import_id = bench.queue(b"not an archive")
    bench.run()
    row = bench.row(import_id)
    assert row.status == ImportStatus.REFUSED and row.error and row.error["code"] == "INVALID"


def test_the_first_to_be_ready_is_the_first_to_run(bench: Bench, archive: bytes) -> None:
    late, first, second = bench.queue(None, "late"), bench.queue(archive, "first"), bench.queue(archive, "second")
    bench.run()
    assert [bench.row(number).status for number in (late, first, second)] == ["receiving", "accepted", "queued"]
    bench.run()
    assert bench.row(second).status == ImportStatus.ACCEPTED
    assert not bench.run()


def test_left_alone_if_another_backend_runs_it_or_has_its_files(bench: Bench, archive: bytes) -> None:
    mine, other = bench.queue(archive), bench.queue(archive, "other")
    folders.remove(bench.folder(other))
    with folders.locked(bench.folder(mine)) as ours:
        assert ours and not bench.run()
    assert [bench.row(number).status for number in (mine, other)] == [ImportStatus.QUEUED, ImportStatus.QUEUED]


BAD_ENDINGS = [
    ("import os; os.kill(os.getpid(), 9)", "IMPORT_FAILED", "something killed the process"),
    ("raise MemoryError", "OUT_OF_MEMORY", "IMPORT_MEMORY_BYTES=3221225472"),
    ("import sys; sys.exit('terminate called after throwing std::bad_alloc')", "OUT_OF_MEMORY", "raise IMPORT_MEMORY"),
    ("import sys; sys.exit('No space left on device')", "DISK_FULL", "make room, or set DATA_DIR"),
    ("import sys; sys.exit(3)", "IMPORT_FAILED", "ended with code 3 and no verdict"),
    ("", "IMPORT_FAILED", "ended with code 0 and no verdict"),
    (OUTCOME.format("\x00garbage"), "IMPORT_FAILED", "no verdict"),
    (OUTCOME.format('{"status": "accepted"}'), "IMPORT_FAILED", "left no archive"),
    (OUTCOME.format("[" * 100_000), "IMPORT_FAILED", "no verdict"),
]


@pytest.mark.parametrize(("program", "code", "message"), BAD_ENDINGS)
def test_process_that_ends_badly_is_a_failed_import(bench: Bench, program: str, code: str, message: str) -> None:
    import_id = bench.queue(b"upload")
    assert bench.run(program)
    found_code, found_message = bench.error(import_id)
    assert found_code == code and message in found_message
    assert sorted(path.name for path in bench.folder(import_id).iterdir()) == [folders.LOCK, folders.UPLOAD]
    assert list(bench.platform.storage.list("datasets")) == []


def test_accepted_is_not_believed_if_the_archive_is_another(bench: Bench) -> None:
    import_id = bench.queue(b"upload")
    said = f'{{"status": "accepted", "packed": {factories.packed(archive_size=9).model_dump_json()}}}'
    write = '; [(folder / name).write_bytes(b"12345678") for name in ("data.zip", "index.sqlite")]'
    bench.run(OUTCOME.format(said) + write)
    assert bench.error(import_id)[0] == "IMPORT_FAILED"


def test_failed_import_runs_again_if_it_is_started_again(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    bench.run("import sys; sys.exit('MemoryError')")
    imports.queue(bench.platform.database, import_id, len(archive), NOW)
    bench.run()
    assert bench.row(import_id).status == ImportStatus.ACCEPTED


def test_real_process_is_held_to_its_memory(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    bench.run(import_memory_bytes=2**26)
    assert bench.error(import_id)[0] == "OUT_OF_MEMORY"


def test_stopped_if_it_makes_no_progress(bench: Bench) -> None:
    import_id = bench.queue(b"upload")
    bench.run(PAUSE, import_stall_seconds=1.0)
    assert "made no progress for 1 s (IMPORT_STALL_SECONDS)" in bench.error(import_id)[1]
    assert gone(int(bench.pid_file.read_text()))()


def test_process_is_stopped_and_all_files_go_if_it_is_cancelled(bench: Bench) -> None:
    import_id = bench.queue(b"upload")
    thread = bench.start(PAUSE, threading.Event().wait)
    until(lambda: bench.row(import_id).progress == {"phase": "inspect", "done": 3, "total": 7})
    bench.cancel(import_id)
    thread.join(30)
    assert gone(int(bench.pid_file.read_text()))() and not bench.folder(import_id).exists()
    assert bench.row(import_id).status == ImportStatus.CANCELLED


def test_goes_back_to_the_queue_if_the_backend_ends(bench: Bench) -> None:
    import_id, ends = bench.queue(b"upload"), threading.Event()
    thread = bench.start(PAUSE, ends.wait)
    assert bench.row(import_id).takes == 1
    ends.set()
    thread.join(30)
    row = bench.row(import_id)
    assert (row.status, row.takes, row.progress) == (ImportStatus.QUEUED, 0, None)
    assert gone(int(bench.pid_file.read_text()))() and bench.folder(import_id).exists()


def test_taken_up_again_if_its_backend_was_killed(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    (bench.folder(import_id) / "draft.sqlite").write_bytes(b"half")
    (bench.folder(import_id) / "outcome.json").write_text('{"status": "refused"}')
    with bench.platform.database.write_session() as session:
        imports.change(session, import_id, (ImportStatus.QUEUED,), status=ImportStatus.RUNNING, takes=1)
    bench.run()
    assert bench.row(import_id).status == ImportStatus.ACCEPTED


def test_only_finished_if_its_backend_was_killed_once_the_version_stood(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    bench.run()
    latest = f"datasets/{bench.row(import_id).dataset_id}/latest"
    bench.platform.storage.delete(latest)
    with bench.platform.database.write_session() as session:
        row = imports.get(session, import_id)
        row.status, row.takes = ImportStatus.RUNNING, imports.MAX_TAKES
    folders.make(bench.folder(import_id))
    bench.run("raise SystemExit('not needed any more')")
    assert bench.row(import_id).status == ImportStatus.ACCEPTED
    assert bench.platform.storage.size(latest) and not bench.folder(import_id).exists()


def test_given_up_if_the_backend_is_killed_by_it_each_time(bench: Bench, archive: bytes) -> None:
    import_id = bench.queue(archive)
    with bench.platform.database.write_session() as session:
        imports.get(session, import_id).takes = imports.MAX_TAKES
    assert not bench.run()
    assert "the backend ended 3 times" in bench.error(import_id)[1]


def test_waits_for_the_storage_and_says_so(bench: Bench, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.01)
    import_id = bench.queue(archive)
    seen: list[Any] = []
    storage = bench.platform.storage
    put_file = storage.put_file

    def refuse_twice(key: str, path: Path) -> None:
        seen.append(bench.row(import_id).error)
        if len(seen) > 2:
            monkeypatch.setattr(storage, "put_file", put_file)
        raise StorageUnavailable("the storage is away")

    monkeypatch.setattr(storage, "put_file", refuse_twice)
    bench.run()
    assert seen[0] is None and seen[2]["code"] == "STORAGE_UNAVAILABLE"
    row = bench.row(import_id)
    assert (row.status, row.version, row.error) == (ImportStatus.ACCEPTED, 1, None)


def test_folder_in_storage_is_imported(bench: Bench) -> None:
    for name, data in yolo_files().items():
        bench.platform.storage.put_bytes(f"incoming/digits/{name}", data)
    source = sources.check(bench.platform.storage, {"prefix": "incoming/digits/"})
    import_id = bench.queue(source=source)
    bench.run()
    row = bench.row(import_id)
    assert (row.status, row.version) == (ImportStatus.ACCEPTED, 1), row.report
    assert len(list(bench.platform.storage.list("incoming"))) == 7


def test_archive_in_storage_is_imported_as_the_same_version(bench: Bench, archive: bytes) -> None:
    bench.queue(archive)
    bench.platform.storage.put_bytes("incoming/digits.zip", archive)
    import_id = bench.queue(source=sources.check(bench.platform.storage, {"key": "incoming/digits.zip"}))
    assert bench.run() and bench.run()
    assert (bench.row(import_id).version, bench.row(import_id).is_new) == (1, False)


SOURCES = [
    {"prefix": "datasets/ds-01234567"},
    {"prefix": "checkpoints"},
    {"prefix": "artifacts/"},
    {"key": "installation.json"},
    {"key": "uploads/x.zip"},
    {"key": "weights/ultralytics/yolo11n.pt"},
    {"prefix": "incoming/../datasets"},
    {"prefix": "../other"},
    {"prefix": "/etc"},
    {"key": "incoming/none.zip"},
    {"prefix": "incomin"},
    {"prefix": "."},
    {"key": "a\\b"},
]


def test_source_is_refused_if_it_is_the_platforms_own_or_not_there(settings: Settings) -> None:
    storage = open_storage(settings)
    storage.put_bytes("incoming/digits.zip", b"zip")
    for source in SOURCES:
        with pytest.raises(Invalid) as caught:
            sources.check(storage, source)
        assert caught.value.details["fields"][0]["field"] == f"source.{next(iter(source))}", source


@pytest.mark.parametrize("source", [{"prefix": "incoming"}, {"key": "incoming/digits.zip"}])
def test_fails_if_the_source_is_gone_by_then(bench: Bench, source: dict[str, Any]) -> None:
    bench.platform.storage.put_bytes("incoming/digits.zip", b"zip")
    import_id = bench.queue(source=sources.check(bench.platform.storage, source))
    bench.platform.storage.delete("incoming/digits.zip")
    bench.run()
    assert bench.error(import_id)[0] == "NOT_FOUND"


@pytest.mark.parametrize("source", [{"prefix": "incoming"}, {"key": "incoming/digits.zip"}])
def test_fails_if_the_source_is_larger_than_a_dataset_may_be(bench: Bench, source: dict[str, Any]) -> None:
    bench.platform.storage.put_bytes("incoming/digits.zip", bytes(100))
    import_id = bench.queue(source=sources.check(bench.platform.storage, source))
    bench.run(max_dataset_bytes=99)
    assert bench.error(import_id)[0] == "TOO_LARGE"


def test_progress_is_told_once_a_second_at_most(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id = bench.queue(b"upload")
    database = bench.platform.database
    imports.take(database, import_id, bench.folder(import_id), NOW)
    clock = [100.0]
    told: list[int] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    note = imports.note_progress

    def listen(database: Database, import_id: int, progress: dict[str, Any], now: datetime) -> bool:
        told.append(progress["done"])
        return note(database, import_id, progress, now)

    monkeypatch.setattr(imports, "note_progress", listen)
    watch = watching.Watch(database, import_id, lambda _: False)
    for done in range(50):
        watch.tell("fetch", done, 50)
        clock[0] += 0.125
    assert told == [0, 8, 16, 24, 32, 40, 48]


NONSENSE = [
    "",
    "{",
    "[1]",
    '{"phase": "juggle", "done": 1, "total": 2}',
    '{"phase": [], "done": 1, "total": 1}',
    "1e999",
]


def test_progress_is_only_believed_if_it_is_one(tmp_path: Path, bench: Bench) -> None:
    watch = watching.Watch(bench.platform.database, bench.queue(b"upload"), lambda _: False)
    for said in NONSENSE:
        (tmp_path / "progress.json").write_text(said)
        watching.ProcessWatch(watch, tmp_path / "progress.json", 100)()
        assert watch.progress is None, said


def test_ended_with_its_backend(bench: Bench) -> None:
    """The lock of a folder is free once the process that held it is killed, and its process goes with it."""
    import_id = bench.queue(b"upload")
    program = f"""
import sys
from app.services.datasets import folders, running
from app.settings import Settings
from app.storage import open_storage
import threading
from app.context import build_platform
platform = build_platform(Settings(_env_file=None, data_dir={str(bench.platform.settings.data_dir)!r},
    database_url={bench.platform.settings.database_url!r}))
parts = platform.settings, platform.database, platform.storage, platform.launcher, platform.ownership
running.run_next(running.Tools(*parts, (sys.executable, "-c", {PAUSE!r})), threading.Event().wait)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=running.BACKEND) as backend:
        until(bench.pid_file.exists)
        with folders.locked(bench.folder(import_id)) as ours:
            assert not ours
        os.kill(backend.pid, signal.SIGKILL)
    until(gone(int(bench.pid_file.read_text())))
    assert bench.row(import_id).status == ImportStatus.RUNNING
    with folders.locked(bench.folder(import_id)) as ours:
        assert ours
