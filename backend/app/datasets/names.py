"""The images' names in the version: no two that differ only by case, by Unicode form or, where labels lie beside, by
their suffix. What has to give way gets a number, whatever order the upload was packed in."""

import unicodedata
from collections import Counter
from pathlib import PurePosixPath

from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.images import SUFFIXES
from app.words import TaskType

_NAMED = """
SELECT images.id, archive, entry, images.name, format, rewrite, split, folder.name
FROM images LEFT JOIN classes AS folder ON :by_class
    AND folder.id = (SELECT class_id FROM annotations WHERE image_id = images.id ORDER BY id LIMIT 1)
ORDER BY archive DESC, images.name, entry
"""


def settle_names(draft: Draft) -> None:
    """Give every image its final name and path. Images of the parent version keep theirs; of others the first by name
    keeps it. Every image has a split, in classification a class."""
    by_class = draft.task_type is TaskType.IMAGE_CLASSIFICATION
    taken = _Taken(draft, by_class)
    late = []
    for image_id, _, entry, name, kind, rewrite, split, class_name in draft.connection.execute(
        _NAMED, {"by_class": by_class}
    ).fetchall():
        folder = f"{split}/{class_name}" if by_class else f"images/{split}"
        wanted = _with_suffix(name if by_class else _without_images_folder(name), kind, rewrite)
        if not taken.take(folder, wanted):
            late.append((image_id, entry, folder, wanted))
            continue
        _store(draft, image_id, folder, wanted)
    numbers: Counter[str] = Counter()  # without it, ten thousand of one name would ask for each number before
    for image_id, entry, folder, wanted in late:
        free = wanted.rpartition("/")[2] if taken.is_below_file(folder, wanted) else wanted
        name, numbers[fold(free)] = taken.take_numbered(folder, free, numbers[fold(free)] or 2)
        _store(draft, image_id, folder, name)
        message = f"another image is called {wanted}, or too much like it; this one is {name} now"
        draft.find(Finding("NAME_COLLISION", message, entry, value=name, image_id=image_id))


def fold(name: str) -> str:
    """Equal for names that a file system may hold to be one (Unicode's canonical caseless matching)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class _Taken:
    """Paths in use, folded, as a table: of files, and of their folders, which no file may be called."""

    def __init__(self, draft: Draft, by_class: bool) -> None:
        self._connection = draft.connection
        self._by_class = by_class
        self._connection.execute("DROP TABLE IF EXISTS temp.names_taken")
        self._connection.execute("CREATE TEMP TABLE names_taken (path TEXT PRIMARY KEY, is_file INTEGER) WITHOUT ROWID")

    def take(self, folder: str, name: str) -> bool:
        """False if it is not free."""
        path = fold(f"{folder}/{name}")
        paths = [path] if self._by_class else [path, f"{path.rpartition('.')[0]}.txt"]
        if any(self._is_file(used) is not None for used in paths) or self.is_below_file(folder, name):
            return False
        rows = [*((used, 1) for used in dict.fromkeys(paths)), *((used, 0) for used in _folders(path))]
        self._connection.executemany("INSERT OR IGNORE INTO names_taken VALUES (?, ?)", rows)
        return True

    def take_numbered(self, folder: str, name: str, number: int) -> tuple[str, int]:
        """The name with the first number from `number` that is free, and the number after it."""
        path = PurePosixPath(name)
        while not self.take(folder, numbered := str(path.with_name(f"{path.stem}-{number}{path.suffix}"))):
            number += 1
        return numbered, number + 1

    def is_below_file(self, folder: str, name: str) -> bool:
        """Whether a folder of the name is a file elsewhere."""
        return any(self._is_file(used) for used in _folders(fold(f"{folder}/{name}")))

    def _is_file(self, path: str) -> int | None:
        query = "SELECT is_file FROM names_taken WHERE path = ?"
        found = self._connection.execute(query, (path,)).fetchone()
        return None if found is None else int(found[0])


def _store(draft: Draft, image_id: int, folder: str, name: str) -> None:
    if not {"", ".", ".."}.isdisjoint(f"{folder}/{name}".split("/")) or "\\" in name:
        raise ValueError(f"a reader named an image {name!r}")  # readers take names of the archive, which are checked
    values = (name, f"{folder}/{name}", image_id)
    draft.connection.execute("UPDATE images SET name = ?, path = ? WHERE id = ?", values)


def _with_suffix(name: str, kind: str, rewrite: str | None) -> str:
    """The name with the suffix of its content."""
    path = PurePosixPath(name)
    allowed = (rewrite,) if rewrite else SUFFIXES[kind]
    if path.suffix.lower() in allowed or (rewrite == ".jpg" and path.suffix.lower() == ".jpeg"):
        return name
    stem = path.stem if path.suffix.lower() in _KNOWN else path.name
    return str(path.with_name(f"{stem}{allowed[0]}"))


def _without_images_folder(name: str) -> str:
    """Ultralytics finds a label by the last `/images/` of the path, so no folder inside may be called that."""
    *folders, file = name.split("/")
    return "/".join([*("image" if folder == "images" else folder for folder in folders), file])


def _folders(path: str) -> list[str]:
    """The folders of a path, but for the two of its split and kind or class."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(3, len(parts) + 1)]


_KNOWN = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".jpe", ".jfif", ".gif", ".svg"}
