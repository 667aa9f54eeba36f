"""Classification by a table: CSV or TSV with a column of files, one of labels and perhaps one of splits.

The columns are known by a header or by what stands in them; a file is named with or without folder and suffix. Several
tables (`train.csv`, `val.csv`) give their splits by their names. A table with boxes is not this format.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.datasets.annotations import Annotation, Place
from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.class_names import accepted_names
from app.datasets.formats.columns import Columns, columns_of, rows_of
from app.datasets.formats.paths import Paths, folder_of, folder_split, is_image, short_names, split_of
from app.datasets.formats.text import read_text
from app.datasets.mending import add
from app.datasets.work import Split, Wish
from app.errors import Invalid
from app.words import TaskType

MAX_TABLE_BYTES = 32 * 2**20
HEAD = 2**16
MAX_TABLES = 100
_SUFFIXES = (".csv", ".tsv")


def recognise(archive: Archive) -> Clues | None:
    """By a table whose first rows name images of the upload and no boxes."""
    tables = _tables(archive, _Images([name for name in archive.files if is_image(name)]))
    return Clues(3, f"{next(iter(tables))} names images and their labels") if tables else None


def read(archive: Archive, draft: Draft, wish: Wish) -> None:
    """One class an image; images that no table names are left out, rows without an image are findings."""
    draft.set("task_type", TaskType.IMAGE_CLASSIFICATION)
    images = {image.entry: image for image in draft.images()}
    lookup = _Images(sorted({*images, *filter(is_image, archive.files)}, key=str.encode))
    labelled = _Labelled(draft, lookup)
    tables = _tables(archive, lookup)
    if not tables:
        draft.find(Finding("LABEL_UNREADABLE", "no CSV or TSV names images of the upload in one of its columns"))
    for file, columns in tables.items():
        labelled.read(archive, file, columns)
    written = sorted({entry.label for entry in labelled.entries.values()})
    draft.set_classes(accepted_names(written, None, draft.find, folders=True))
    numbers = {name: number for number, name in enumerate(written)}
    names = short_names(list(images))
    for entry, image in images.items():
        row = labelled.entries.get(entry)
        if row is None:
            draft.find(Finding("IMAGE_UNUSED", "no table names the image", entry, image_id=image.id))
            continue
        draft.place(image.id, names[entry], row.split)
        add(draft, image, Annotation(numbers[row.label]), row.place)


FORMAT = Format(
    name="table",
    title="a table of files and labels",
    tasks=(TaskType.IMAGE_CLASSIFICATION,),
    recognise=recognise,
    read=read,
)


class _Images:
    """Images of the upload by what a cell says: a path, a file's name, or its name without suffix."""

    def __init__(self, images: Sequence[str]) -> None:
        self._paths = Paths(images)
        self._stems = Paths(images, without_suffix=True)

    def find(self, cell: str, file: str) -> str | None:
        bases = (folder_of(file), "")
        if not cell:
            return None
        found = self._paths.find(cell, bases) or self._stems.find(cell, bases)
        return found.name if found else None


def _tables(archive: Archive, images: _Images) -> dict[str, Columns]:
    """Tables that name images, with their columns."""
    files = [name for name in archive.files if name.lower().endswith(_SUFFIXES)][:MAX_TABLES]
    found = {}
    for file in files:
        try:
            head = archive.head(file, HEAD)
        except Invalid:
            continue
        columns = columns_of(head, file, lambda cell, file=file: images.find(cell, file) is not None)  # type: ignore[misc]
        if columns:
            found[file] = columns
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    split: Split | None
    place: Place


@dataclass
class _Labelled:
    """What the tables say of images, and findings for the rows that say nothing usable."""

    draft: Draft
    images: _Images
    entries: dict[str, _Row] = field(default_factory=dict)

    def read(self, archive: Archive, file: str, columns: Columns) -> None:
        own_split = split_of(PurePosixPath(file).stem) or folder_split(file)
        try:
            for line, cells in rows_of(read_text(archive, file, MAX_TABLE_BYTES), columns):
                self._add(file, line, cells, columns, own_split)
        except (Invalid, csv.Error) as error:
            self.draft.find(Finding("LABEL_UNREADABLE", f"{file} cannot be read as a table: {error}", file))

    def _add(self, file: str, line: int, cells: list[str], columns: Columns, own_split: Split | None) -> None:
        shown = columns.delimiter.join(cells)
        if problem := _problem(cells, columns):
            self.draft.find(Finding("LABEL_MALFORMED", f"the row {problem}", file, line, shown))
            return
        written, label = cells[columns.file].strip(), cells[columns.label].strip()
        split = own_split
        if columns.split is not None:
            split = split_of(cells[columns.split].strip())
        entry = self.images.find(written, file)
        if entry is None:
            self.draft.find(Finding("IMAGE_MISSING", "the row names an image that is not there", file, line, written))
            return
        row = _Row(label, split or (folder_split(entry) if columns.split is None else None), Place(file, line, shown))
        before = self.entries.setdefault(entry, row)
        if before is not row:
            code = "LABEL_DUPLICATE" if before.label == label else "LABEL_CONTRADICTS"
            where = f"line {before.place.line} of {before.place.file}"
            message = f"{entry} is listed before, as {before.label[:80]!r} in {where}"
            self.draft.find(Finding(code, message, file, line, shown))


def _problem(cells: Sequence[str], columns: Columns) -> str | None:
    """Why a row cannot be read, as the end of a sentence."""
    wanted = max(columns.file, columns.label, columns.split or 0)
    if len(cells) <= wanted:
        return f"has {len(cells)} columns, not {wanted + 1} or more"
    if not cells[columns.file].strip():
        return "names no file"
    if not cells[columns.label].strip():
        return "has no label"
    if columns.split is not None:
        split = cells[columns.split].strip()
        if split and split_of(split) is None:
            return f"has the split {split[:40]!r}; it is train, val or test"
    return None
