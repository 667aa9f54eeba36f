"""A version made from another: its images and labels changed, or joined by those of an upload."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.datasets.classes import renumber, sort_used
from app.datasets.draft import Draft
from app.datasets.duplicates import leave_out_known
from app.datasets.findings import Finding
from app.datasets.formats.class_names import name_problem
from app.datasets.index import Index
from app.datasets.names import fold
from app.datasets.work import Edit
from app.errors import Invalid
from app.words import TaskType

PARENT = 1  # the number of its archive in a draft
SHOWN = 20
_COPIES = "SELECT min(id) FROM annotations GROUP BY image_id, class_id, x1, y1, x2, y2, polygons, keypoints, crowd"


def load_parent(draft: Draft, path: Path) -> None:
    """Take over the version whose index is at `path`: classes unless the draft has some, images, annotations."""
    with Index(path) as parent:
        for key, value in parent.meta.items():
            draft.set(key, value)
        if not draft.classes:
            draft.set_classes(parent.classes)
        _copy_images(draft.connection, parent.connection)


def join(draft: Draft, path: Path) -> None:
    """Let the version join the images that the draft has from an upload; classes are matched by their names.

    Where the upload names none, its numbers are those of the version.
    """
    with Index(path) as parent:
        before, meta = parent.classes, parent.meta
    _compare_keypoints(draft, meta)
    added = draft.classes
    if "CLASS_NAMES_MISSING" in draft.found and len(added) <= len(before):
        message = f"the {len(added)} class numbers of the upload are those of the version: {', '.join(before[:SHOWN])}"
        draft.find(Finding("CLASS_NUMBERS_TAKEN", message))
        added = before[: len(added)]
    names = [*before, *(name for name in added if name not in before)]
    for name, other in _alike(names):
        code = "CLASS_NAME_INVALID" if draft.task_type is TaskType.IMAGE_CLASSIFICATION else "CLASS_NAMES_ALIKE"
        message = f"class {name!r} of the upload differs from {other!r} by case or form alone"
        draft.find(Finding(code, message, value=name))
    renumber(draft, names, {number: names.index(name) for number, name in enumerate(added)})
    load_parent(draft, path)
    leave_out_known(draft)
    if draft.task_type is TaskType.IMAGE_CLASSIFICATION:
        sort_used(draft)


def apply(draft: Draft, edit: Edit) -> None:
    """Change what was loaded, but for the splits. `Invalid` lists what the edit names and the version does not have."""
    problems = _unknown_images(draft, edit.remove_images)
    names, numbers = _renamed(draft, edit, problems)
    if problems:
        first = problems[0]
        text = f"{first['field']}: {first['value']!r} {first['message']}"
        raise Invalid(f"the edit is refused: {text}", fields=problems[:SHOWN], total=len(problems))
    draft.connection.executemany(
        "DELETE FROM images WHERE archive = ? AND entry = ?", ((PARENT, path) for path in edit.remove_images)
    )
    draft.connection.execute("CREATE TEMP TABLE labelled AS SELECT DISTINCT image_id FROM annotations")
    renumber(draft, names, numbers)
    draft.connection.execute(  # someone looked at the image: now it shows nothing
        "UPDATE images SET background = 1 WHERE id IN (SELECT image_id FROM labelled) "
        "AND id NOT IN (SELECT image_id FROM annotations)"
    )
    draft.connection.execute("DROP TABLE labelled")
    if len(names) + len(edit.remove_classes) < len(numbers):
        _drop_copies(draft)


def _copy_images(connection: sqlite3.Connection, parent: sqlite3.Connection) -> None:
    base = connection.execute("SELECT coalesce(max(id), 0) FROM images").fetchone()[0]
    columns = "source_sha256, format, width, height, orientation, split, name, background"
    rows = parent.execute(f"SELECT id + {base}, {PARENT}, path, {columns} FROM images ORDER BY id")
    marks = ", ".join("?" * 11)
    connection.executemany(f"INSERT INTO images (id, archive, entry, {columns}) VALUES ({marks})", rows)
    columns = "class_id, x1, y1, x2, y2, polygons, keypoints, crowd, attributes"
    rows = parent.execute(f"SELECT image_id + {base}, {columns} FROM annotations ORDER BY id")
    connection.executemany(f"INSERT INTO annotations (image_id, {columns}) VALUES ({', '.join('?' * 10)})", rows)


def _compare_keypoints(draft: Draft, meta: dict[str, Any]) -> None:
    if draft.task_type is TaskType.POSE_ESTIMATION and draft.get("kpt_shape") != meta.get("kpt_shape"):
        message = f"the upload's kpt_shape is {draft.get('kpt_shape')}, that of the version {meta.get('kpt_shape')}"
        draft.find(Finding("KEYPOINTS_DISAGREE", message))


def _unknown_images(draft: Draft, paths: Iterable[str]) -> list[dict[str, Any]]:
    query = "SELECT 1 FROM images WHERE archive = ? AND entry = ?"
    return [
        _problem("remove_images", path, "is no image of the version")
        for path in paths
        if not draft.connection.execute(query, (PARENT, path)).fetchone()
    ]


def _renamed(draft: Draft, edit: Edit, problems: list[dict[str, Any]]) -> tuple[list[str], dict[int, int | None]]:
    """The names afterwards and the new number of every class; all renaming happens at once, then the removing."""
    before = draft.classes
    is_folder = draft.task_type is TaskType.IMAGE_CLASSIFICATION
    for old, new in edit.rename_classes.items():
        if old not in before:
            problems.append(_problem("rename_classes", old, "is no class of the version"))
        if problem := name_problem(new, folder=is_folder):
            problems.append(_problem("rename_classes", new, problem))
    renamed = [edit.rename_classes.get(name, name) for name in before]
    for name in edit.remove_classes:
        if name not in renamed:
            problems.append(_problem("remove_classes", name, "is no class of the version"))
    names = [name for name in dict.fromkeys(renamed) if name not in edit.remove_classes]
    for name, other in _alike(names) if is_folder else ():
        problems.append(_problem("rename_classes", name, f"differs from {other!r} by case or form alone"))
    return names, _numbers(renamed, names)


def _alike(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names with an earlier one that a disk may not tell apart."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(fold(name), name)
        if other != name:
            yield name, other


def _numbers(renamed: Sequence[str], names: Sequence[str]) -> dict[int, int | None]:
    places = {name: number for number, name in enumerate(names)}
    return {old: places.get(name) for old, name in enumerate(renamed)}


def _drop_copies(draft: Draft) -> None:
    """Classes were merged: an object that had both labels has one now."""
    images = "annotations JOIN images ON images.id = image_id"
    query = f"SELECT entry, image_id FROM {images} WHERE annotations.id NOT IN ({_COPIES})"
    for entry, image_id in draft.connection.execute(query):
        draft.find(Finding("LABEL_DUPLICATE", "two labels of merged classes were the same", entry, image_id=image_id))
    draft.connection.execute(f"DELETE FROM annotations WHERE id NOT IN ({_COPIES})")


def _problem(field: str, value: str, message: str) -> dict[str, Any]:
    return {"field": f"edit.{field}", "value": value, "message": message}
