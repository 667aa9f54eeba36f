"""The same image more than once: told within and across splits, and where its copies are labelled differently."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from app.datasets.draft import Draft
from app.datasets.findings import Action, Finding
from app.datasets.work import SPLITS


@dataclass(frozen=True)
class _Copy:
    content: str
    id: int
    archive: int
    entry: str
    split: str


def leave_out_known(draft: Draft) -> None:
    """Of an addition: images that the parent version has already. Their labels there stand."""
    for copies in _groups(draft):
        known = [copy for copy in copies if copy.archive == 1]
        for copy in copies:
            if not known or copy.archive == 1:
                continue
            message = f"the version has this image already, as {known[0].entry}; the new copy was left out"
            _tell(draft, "IMAGE_DUPLICATE", message, copy, known[0], Action.DROPPED)
            if _label(draft, copy) != _label(draft, known[0]):
                message = f"its new labels differ from those of {known[0].entry}, which stand"
                _tell(draft, "IMAGE_TWO_LABELS", message, copy, known[0], Action.DROPPED)
            draft.drop(copy.id)


def check_duplicates(draft: Draft) -> None:
    """Every copy after the first is named once within its split, the first of each further split across."""
    for copies in _groups(draft):
        first = copies[0]
        firsts: dict[str, _Copy] = {}
        for copy in copies:
            known = firsts.setdefault(copy.split, copy)
            if known is not copy:
                _tell(draft, "IMAGE_DUPLICATE", f"the same image as {known.entry}, also in {copy.split}", copy, known)
            elif copy is not first:
                message = f"the same image as {first.entry}: this one is in {copy.split}, that one in {first.split}"
                _tell(draft, "IMAGE_DUPLICATE_ACROSS_SPLITS", message, copy, first)
            if copy is not first and _label(draft, copy) != _label(draft, first):
                _tell(draft, "IMAGE_TWO_LABELS", f"the same image as {first.entry}, labelled differently", copy, first)


def _groups(draft: Draft) -> Iterator[list[_Copy]]:
    """Images of equal content, in the order of splits and names."""
    query = (
        "SELECT source_sha256, id, archive, entry, split FROM images WHERE source_sha256 IN "
        "(SELECT source_sha256 FROM images GROUP BY source_sha256 HAVING count(*) > 1)"
    )
    copies = [_Copy(*row) for row in draft.connection.execute(query)]
    copies.sort(key=lambda copy: (copy.content, _place(copy.split), -copy.archive, copy.entry))
    groups = [list(group) for _, group in groupby(copies, key=lambda copy: copy.content)]
    yield from sorted(groups, key=lambda group: group[0].entry)


def _place(split: str | None) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _label(draft: Draft, copy: _Copy) -> str:
    """Equal for equal sets of objects."""
    query = (
        "SELECT class_id, round(x1, 6), round(y1, 6), round(x2, 6), round(y2, 6), polygons, keypoints, crowd "
        "FROM annotations WHERE image_id = ? ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
    return hashlib.sha256(repr(draft.connection.execute(query, (copy.id,)).fetchall()).encode()).hexdigest()


def _tell(draft: Draft, code: str, message: str, copy: _Copy, other: _Copy, action: Action | None = None) -> None:
    draft.find(Finding(code, message, copy.entry, value=other.entry, action=action, image_id=copy.id))
