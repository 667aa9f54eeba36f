"""One import from beginning to end, in a folder: request.json and the upload in; the version and its report out."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from app.datasets import editing
from app.datasets.archives import Archive, open_upload, open_version
from app.datasets.canonical import write
from app.datasets.checks import check, tidy
from app.datasets.draft import Draft
from app.datasets.duplicates import check_duplicates
from app.datasets.findings import Finding, Severity
from app.datasets.formats.recognise import NotRecognised, recognise
from app.datasets.index import Index
from app.datasets.indexing import write_index
from app.datasets.inspecting import inspect_all
from app.datasets.names import settle_names
from app.datasets.report import report_of
from app.datasets.splits import make_splits
from app.datasets.statistics import counts_of, statistics_of
from app.datasets.tracking import Tracked
from app.datasets.work import Edit, Outcome, Packed, Progress, Report, Request, Wish
from app.errors import Invalid, TooLarge
from app.words import TaskType

UPLOAD, PARENT_ZIP, PARENT_INDEX = "upload", "parent.zip", "parent.sqlite"
DRAFT, ARCHIVE, INDEX = "draft.sqlite", "data.zip", "index.sqlite"


def run(folder: Path, progress: Progress) -> Outcome:
    """Make the version that request.json of the folder asks for; data.zip and index.sqlite are there if accepted.

    Raises what is not about the data: a full disk, too little memory.
    """
    request = Request.model_validate_json((folder / "request.json").read_bytes())
    draft_path = folder / DRAFT
    draft_path.unlink(missing_ok=True)
    draft = Draft(draft_path)
    packed, refusal = None, None
    try:
        with ExitStack() as open_files:
            packed = _Import(folder, request, draft, progress, open_files).make()
    except (Invalid, TooLarge) as error:
        refusal = error
    draft.close()
    report = _report(draft_path)
    if packed:
        progress("write", 0, 0)
        packed = packed.model_copy(update={"index_sha256": write_index(draft_path, folder / INDEX)})
    draft_path.unlink()
    if refusal:
        text = refusal.message
        return Outcome(status="invalid", report=report, code=refusal.code, message=text, details=refusal.details)
    return Outcome(status="accepted" if packed else "refused", report=report, packed=packed)


class _Import:
    """The steps of one import, and what they share."""

    def __init__(self, folder: Path, request: Request, draft: Draft, progress: Progress, open_files: ExitStack) -> None:
        self._folder, self._request, self._draft, self._progress = folder, request, draft, progress
        self._open_files = open_files
        self._archives: dict[int, Archive] = {}
        index = folder / PARENT_INDEX
        self._parent = index if index.exists() else None
        self._ignored = 0

    def make(self) -> Packed | None:
        """The version, but for its index; None if it is refused, for reasons that the draft has."""
        draft, edit = self._draft, self._request.edit
        if edit is not None:
            self._edit(edit)
        elif not self._import():
            return None
        plan = edit.split.model_copy(update={"anew": True}) if edit and edit.split else self._request.wish.split
        make_splits(draft, plan, self._parent)
        settle_names(draft)
        self._progress("check", 0, 0)
        check(draft)
        check_duplicates(draft)
        refused = draft.count(Severity.ERROR) or (self._request.wish.strict and draft.count(Severity.WARNING))
        return None if refused else self._pack()

    def _edit(self, edit: Edit) -> None:
        parent = self._known_parent()
        editing.load_parent(self._draft, parent)
        editing.apply(self._draft, edit)
        if self._draft.task_type is TaskType.IMAGE_CLASSIFICATION:
            tidy(self._draft, (), 0, tell_unused=False)

    def _import(self) -> bool:
        """Fill the draft from the upload; False if nobody can say what the upload is."""
        draft, request = self._draft, self._request
        self._progress("unpack", 0, 0)
        upload = open_upload(self._folder / UPLOAD, self._folder, request.max_bytes)
        archive = self._archives[0] = self._open_files.enter_context(upload)
        inspect_all(archive, draft, self._progress)
        wish = self._wish()
        try:
            known = recognise(archive, wish)
        except NotRecognised as error:
            draft.find(error.finding)
            return False
        draft.set("format", known.name)
        tracked = Tracked(archive, draft, self._progress)
        known.read(tracked, draft, wish)
        if draft.get("task_type") is None:
            if not draft.count(Severity.ERROR):
                draft.find(Finding("FORMAT_UNKNOWN", f"nothing in the upload can be read as {known.title}"))
            return False
        unread = tracked.unread()
        self._ignored = archive.ignored + len(unread)
        tidy(draft, unread, archive.ignored, tell_unused="IMAGE_UNUSED" not in draft.found)
        if request.adds:
            editing.join(draft, self._known_parent())
        return True

    def _wish(self) -> Wish:
        """What is added to a version is for its task."""
        if not self._request.adds:
            return self._request.wish
        with Index(self._known_parent()) as parent:
            return self._request.wish.model_copy(update={"task_type": parent.task_type})

    def _known_parent(self) -> Path:
        """The parent's index; its archive is opened."""
        if self._parent is None:
            raise FileNotFoundError(f"{self._folder / PARENT_INDEX} is missing; edits and additions need it")
        if editing.PARENT not in self._archives:
            parent = open_version(self._folder / PARENT_ZIP)
            self._archives[editing.PARENT] = self._open_files.enter_context(parent)
        return self._parent

    def _pack(self) -> Packed:
        draft = self._draft
        written = write(draft, self._chunks, self._folder / ARCHIVE, self._progress)
        return Packed(
            sha256=written.sha256,
            archive_sha256=written.archive_sha256,
            archive_size=written.archive_size,
            index_sha256="",
            task_type=draft.task_type,
            format=draft.get("format"),
            classes=draft.classes,
            counts=counts_of(draft, self._ignored),
            statistics=statistics_of(draft),
        )

    def _chunks(self, archive: int, entry: str) -> Iterator[bytes]:
        return self._archives[archive].chunks(entry)


def _report(draft: Path) -> Report:
    with closing(sqlite3.connect(draft)) as connection:
        facts = {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM meta")}
        return report_of(connection, facts.get("format"), facts.get("task_type"))
