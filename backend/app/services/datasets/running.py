"""One import from its queue to its end: files fetched, read by a process of their own, and published.

The process may be killed, run out of memory or write nonsense: that ends this import with a reason, and nothing else.
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.datasets.work import Outcome, Request
from app.db import Database, trouble
from app.errors import AppError, ImportFailed
from app.launchers import environment
from app.launchers.base import CompletedRun, Launcher
from app.models import Import
from app.services.datasets import folders, imports, publish, sources, versions
from app.services.datasets.publish import Made
from app.services.datasets.watching import Cancelled, Ending, ProcessWatch, Stalled, Watch
from app.services.ownership import Ownership
from app.settings import REPOSITORY, Settings
from app.storage import Storage
from app.words import ImportStatus

BACKEND = REPOSITORY / "backend"
COMMAND = (sys.executable, "-m", "app.datasets")
MAX_OUTCOME_BYTES = 16 * 2**20
STDERR_SHOWN = 2_000
OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory")
NO_SPACE = "No space left on device"
KILLED = (137, -9)  # as the launcher says it, and where the one that says it was killed
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # each more reserves address space
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What running an import needs of the platform. `command` is the process, but for its folder."""

    settings: Settings
    database: Database
    storage: Storage
    launcher: Launcher
    ownership: Ownership
    command: tuple[str, ...] = COMMAND


def run_next(tools: Tools, ending: Callable[[float], bool]) -> bool:
    """Run the first import whose files are on this machine and that nobody runs. False if there is none.

    Raises what the database raises; the import is then taken up again.
    """
    for import_id in imports.waiting(tools.database):
        folder = folders.folder_of(tools.settings.data_dir, import_id)
        with folders.locked(folder) as ours:
            row = imports.take(tools.database, import_id, folder, datetime.now(UTC)) if ours else None
            if row is not None:
                _run(tools, row, folder, ending)
                return True
    return False


def _run(tools: Tools, row: Import, folder: Path, ending: Callable[[float], bool]) -> None:
    watch = Watch(tools.database, row.id, ending)
    try:
        _judge(tools, row, folder, watch)
    except Cancelled:
        publish.release(tools.database, tools.storage, row.id)
        folders.remove(folder)
    except Ending:
        imports.put_back(tools.database, row.id, datetime.now(UTC))


def _judge(tools: Tools, row: Import, folder: Path, watch: Watch) -> None:
    try:
        with folders.disk_trouble(folder):
            _to_the_end(tools, row, folder, watch)
    except (Cancelled, Ending):
        raise
    except AppError as error:
        _fail(tools, row, folder, watch, imports.error_of(error.code, error.message, **error.details))
    except Exception as error:  # the next import is not to wait for what this one broke
        if trouble(error):
            raise
        log.exception("import %d failed", row.id)
        _fail(tools, row, folder, watch, imports.error_of("IMPORT_FAILED", f"{type(error).__name__}: {error}"))


def _to_the_end(tools: Tools, row: Import, folder: Path, watch: Watch) -> None:
    database, storage = tools.database, tools.storage
    if row.is_new is None:
        outcome = _outcome(tools, row, folder, watch)
        if outcome.status != "accepted":
            _refuse(row, folder, watch, outcome)
            return
        tools.ownership.require()
        made = _made(folder, outcome)
        stored = partial(watch.tell, "store", total=made.packed.archive_size)
        watch.patiently(partial(publish.publish, database, storage, row.id, made, datetime.now(UTC), stored))
    watch.patiently(partial(publish.point_latest, database, storage, row.id))
    watch.end(ImportStatus.ACCEPTED)
    folders.remove(folder)


def _outcome(tools: Tools, row: Import, folder: Path, watch: Watch) -> Outcome:
    """What the process says of the files. ImportFailed and DiskFull if it says nothing."""
    settings = tools.settings
    folders.clean(folder)
    limits = {"max_bytes": settings.max_dataset_bytes, "max_memory_bytes": settings.import_memory_bytes}
    request = Request.model_validate(row.request).model_copy(update=limits)
    fetched = partial(watch.tell, "fetch")
    watch.patiently(partial(sources.fetch, tools.storage, row, folder, settings.max_dataset_bytes, fetched))
    watch.patiently(partial(_fetch_index, tools, row, folder, fetched))
    (folder / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    (folder / "tmp").mkdir(mode=0o700)
    asked = ProcessWatch(watch, folder / "progress.json", settings.import_stall_seconds)
    words = [*tools.command, str(folder)]
    run = tools.launcher.run_until(words, BACKEND, _environment(folder), folder, asked)
    if run.exit_code is None:
        _raise(asked.reason, settings)
    return _read(folder / "outcome.json") or _explain(run, folder, settings)


def _fetch_index(tools: Tools, row: Import, folder: Path, fetched: sources.Fetched) -> None:
    """Images without splits stay where the newest version of the name has them; a parent is there already."""
    if row.parent_version is not None:
        return
    with tools.database.read_session() as session:
        key = versions.newest_index(session, row.dataset_name)
    if key is not None:
        sources.fetch_index(tools.storage, key, folder, fetched)


def _environment(folder: Path) -> dict[str, str]:
    own = {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), "MALLOC_ARENA_MAX": "2", "PYTHONUTF8": "1"}
    return environment.allowed(os.environ) | own | dict.fromkeys(ONE_THREAD, "1")


def _raise(reason: Exception | None, settings: Settings) -> None:
    if isinstance(reason, Stalled):
        seconds = settings.import_stall_seconds
        raise ImportFailed(f"the import made no progress for {seconds:g} s (IMPORT_STALL_SECONDS) and was stopped")
    raise reason or Cancelled()


def _read(path: Path) -> Outcome | None:
    """None as well for what is no outcome: the process was up to something else than its work."""
    try:
        with path.open("rb") as file:
            return Outcome.model_validate_json(file.read(MAX_OUTCOME_BYTES))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is no outcome: %s", path, error)
        return None


def _explain(run: CompletedRun, folder: Path, settings: Settings) -> Outcome:
    said = run.stderr_tail
    details: dict[str, Any] = {"exit_code": run.exit_code, "stderr": said[-STDERR_SHOWN:]}
    if NO_SPACE in said:
        raise folders.disk_full(folder)
    if run.out_of_memory or any(word in said for word in OUT_OF_MEMORY):
        raise _OutOfMemory(run.out_of_memory or f"IMPORT_MEMORY_BYTES={settings.import_memory_bytes}", **details)
    if run.exit_code in KILLED:
        raise ImportFailed("something killed the process that read the upload; look at the system's log", **details)
    raise ImportFailed(f"the process that read the upload ended with code {run.exit_code} and no verdict", **details)


class _OutOfMemory(ImportFailed):
    """The import needed more memory than it may have."""

    code = "OUT_OF_MEMORY"

    def __init__(self, limit: str, **details: Any) -> None:
        fix = "raise IMPORT_MEMORY_BYTES or give the machine more, or send the dataset in smaller parts"
        super().__init__(f"the import needed more memory than it may have ({limit}); {fix}", **details)


def _made(folder: Path, outcome: Outcome) -> Made:
    archive, index = folder / "data.zip", folder / "index.sqlite"
    packed = outcome.packed
    if packed is None or not index.is_file() or not archive.is_file() or archive.stat().st_size != packed.archive_size:
        raise ImportFailed("the process that read the upload left no archive, or not the one that it names")
    return Made(folder, packed, outcome.report)


def _refuse(row: Import, folder: Path, watch: Watch, outcome: Outcome) -> None:
    error = None
    if outcome.status == "invalid":
        message = outcome.message or "the upload is not an archive"
        error = imports.error_of(outcome.code or "INVALID", message, **outcome.details)
    watch.end(ImportStatus.REFUSED, report=outcome.report.model_dump(mode="json"), error=error)
    folders.remove(folder)


def _fail(tools: Tools, row: Import, folder: Path, watch: Watch, error: dict[str, Any]) -> None:
    """The upload is kept for a day: a person may mend what was wrong and start it again."""
    log.warning("import %d failed: %s", row.id, error["message"])
    publish.release(tools.database, tools.storage, row.id)
    watch.end(ImportStatus.FAILED, error=error)
    folders.clean(folder)
