"""Which column of a table is what: by its header, else by what stands in its first rows."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app.datasets.formats.paths import is_image, split_of
from app.datasets.formats.text import MAX_LINE
from app.errors import Invalid

ROWS_SEEN = 50
_DELIMITERS = (",", "\t", ";", "|")
_FILES = re.compile(r"(file|image|img)([ _]?(name|path|id))?|path|name|id|파일명?|이미지")
_LABELS = re.compile(r"(label|class|category)([ _]?name)?|labels|target|species|tag|y|라벨|레이블|클래스")
_SPLITS = re.compile(r"split|set|subset|partition|fold|usage|phase")
_BOXES = re.compile(r"[xy](min|max|[12])|bbox.*|region_shape_attributes")


@dataclass(frozen=True, slots=True)
class Columns:
    """Places of the columns, from 0."""

    delimiter: str
    has_header: bool
    file: int
    label: int
    split: int | None


def columns_of(head: bytes, file: str, is_known: Callable[[str], bool]) -> Columns | None:
    """The columns of a table from its beginning; None where it names no image, or boxes too.

    `is_known`: whether a cell names an image of the upload.
    """
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, "replace")
    delimiters = ("\t",) if file.lower().endswith(".tsv") else _DELIMITERS
    for delimiter in delimiters:
        rows = _first_rows(text, delimiter)
        columns = _columns(rows, delimiter, is_known) if rows else None
        if columns:
            return columns
    return None


def rows_of(text: str, columns: Columns) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, without the header, with the line on which they end.

    `csv.Error` or `Invalid` if it is no table.
    """
    lines = _Lines(text)
    rows = csv.reader(lines, delimiter=columns.delimiter)
    is_header = columns.has_header
    for cells in rows:
        lines.pending = 0
        if not any(cell.strip() for cell in cells):
            continue
        if not is_header:
            yield rows.line_num, cells
        is_header = False


class _Lines:
    """Lines for a reader of rows, which quotes could make take them all for one row."""

    def __init__(self, text: str) -> None:
        self.pending = 0  # characters since the last row was complete
        self._lines = io.StringIO(text, newline="")

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.pending += len(line)
            if self.pending > MAX_LINE:
                raise Invalid(f"a row has more than {MAX_LINE} characters; is a quote missing?")
            yield line


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        found = [[cell.strip() for cell in row] for row in islice(rows, ROWS_SEEN) if any(row)]
    except csv.Error:
        return []
    return [row for row in found if len(row) > 1]


def _columns(rows: Sequence[Sequence[str]], delimiter: str, is_known: Callable[[str], bool]) -> Columns | None:
    width = min(len(rows[0]), 50)
    words = [cell.casefold() for cell in rows[0][:width]]
    if any(map(_BOXES.fullmatch, words)):
        return None
    known = [sum(len(row) > column and is_known(row[column]) for row in rows) for column in range(width)]
    named = next((place for place, word in enumerate(words) if _FILES.fullmatch(word) and known[place]), None)
    file = named if named is not None else max(range(width), key=known.__getitem__)
    if not known[file]:
        return None
    has_header = _is_header(rows, file, is_known)
    rest = [column for column in range(width) if column != file]
    split = _split_column(rows, words if has_header else [], rest)
    label = _label_column(words if has_header else [], [column for column in rest if column != split])
    return None if label is None else Columns(delimiter, has_header, file, label, split)


def _is_header(rows: Sequence[Sequence[str]], file: int, is_known: Callable[[str], bool]) -> bool:
    """The first row is one if it names no image and none of its other cells stands again below."""
    first = rows[0]
    if is_known(first[file]) or is_image(first[file]):
        return False
    others = [column for column in range(len(first)) if column != file]
    return not any(row[column] == first[column] for row in rows[1:] for column in others if len(row) > column)


def _split_column(rows: Sequence[Sequence[str]], words: Sequence[str], rest: Sequence[int]) -> int | None:
    if words:
        return next((column for column in rest if _SPLITS.fullmatch(words[column])), None)
    if len(rest) < 2:
        return None
    return next((column for column in rest if all(len(row) > column and split_of(row[column]) for row in rows)), None)


def _label_column(words: Sequence[str], rest: Sequence[int]) -> int | None:
    """By its name; without a header, or with a single column left, that; None where several could be meant."""
    named = next((column for column in rest if words and _LABELS.fullmatch(words[column])), None)
    if named is not None:
        return named
    return rest[0] if rest and (not words or len(rest) == 1) else None
