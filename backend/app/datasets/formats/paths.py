"""Paths as people's files write them, found among the names of an upload and nowhere else."""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.datasets.inspecting import IMAGE_SUFFIXES, OTHER_IMAGES
from app.datasets.work import Split

MAX_PARTS = 64
_SUFFIXES = IMAGE_SUFFIXES | OTHER_IMAGES
_SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_YEAR = re.compile(r"[_-]?(?:19|20)\d\d$")  # images/train2017
_DRIVE = re.compile(r"^[A-Za-z]:(?=/|$)")


def split_of(word: str) -> Split | None:
    """The split that a folder or a key of this name means."""
    return _SPLIT_WORDS.get(_YEAR.sub("", word.casefold()))


def folder_split(name: str) -> Split | None:
    """The split that the outermost telling folder of a file says."""
    return next((split for part in name.split("/")[:-1] if (split := split_of(part))), None)


def is_image(name: str) -> bool:
    """By its suffix alone, be it one that can be read or not."""
    return name[name.rfind(".") :].lower() in _SUFFIXES


def folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def folders_of(names: Iterable[str]) -> set[str]:
    """Every folder that holds one of the files, however deep; the upload itself is ''."""
    folders = {""}
    for name in names:
        folder = folder_of(name)
        while folder not in folders:
            folders.add(folder)
            folder = folder_of(folder)
    return folders


def short_names(entries: Sequence[str]) -> dict[str, str]:
    """Each image's name below its split: without `images`, the split's folder and what all have in common."""
    tidy = {entry: "/".join(_telling(entry)) for entry in entries}
    common = _common_folder(list(tidy.values()))
    return {entry: name[len(common) :] for entry, name in tidy.items()}


def _telling(entry: str) -> Iterator[str]:
    *folders, name = entry.split("/")
    is_split_gone = False
    for folder in folders:
        if split_of(folder) and not is_split_gone:
            is_split_gone = True
        elif folder.casefold() != "images":
            yield folder
    yield name


def _common_folder(names: Sequence[str]) -> str:
    """`a/b/`, where every name begins with it."""
    if not names:
        return ""
    low, high = min(names).split("/")[:-1], max(names).split("/")[:-1]
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return "".join(f"{part}/" for part in low[:same])


@dataclass(frozen=True, slots=True)
class Found:
    """`repaired`: not where the path says, but the one name that ends like it."""

    name: str
    repaired: bool


class Paths:
    """Names of an upload (files or folders), to be found by what somebody's file says of them."""

    def __init__(self, names: Iterable[str], *, without_suffix: bool = False) -> None:
        """`without_suffix`: names are looked up by their stems, as tables of ids do."""
        self._names = [(_without_suffix(name) if without_suffix else name, name) for name in names]
        counts = Counter(key for key, _ in self._names)
        self._exact = {key: name for key, name in self._names if counts[key] == 1}
        self._backwards: list[tuple[str, str]] | None = None

    def find(self, written: str, bases: Iterable[str] = ("",)) -> Found | None:
        """Where `written` points from one of the folders `bases`; else the one name with most of its last parts."""
        parts, absolute = _parts(written)
        if not absolute:
            for base in bases:
                joined = _joined(base, parts)
                if joined is not None and joined in self._exact:
                    return Found(self._exact[joined], False)
        return self._ending(parts)

    def _ending(self, parts: list[str]) -> Found | None:
        index = self._index()
        tail = [part for part in parts if part != ".."][-MAX_PARTS:]
        for start in range(len(tail)):
            key = _backwards(tail[start:])
            first = bisect_left(index, (key, ""))
            matches = [name for path, name in index[first : first + 2] if path.startswith(key)]
            if matches:
                return Found(matches[0], True) if len(matches) == 1 else None
        return None

    def _index(self) -> list[tuple[str, str]]:
        if self._backwards is None:
            self._backwards = sorted((_backwards(key.split("/")), name) for key, name in self._names)
        return self._backwards


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _backwards(parts: Sequence[str]) -> str:
    return "".join(f"{part.casefold()}/" for part in reversed(parts))


def _parts(written: str) -> tuple[list[str], bool]:
    """The parts of a path in anybody's notation, and whether it is absolute."""
    path = unicodedata.normalize("NFC", written.strip().strip("\"'")).replace("\\", "/")
    bare = _DRIVE.sub("", path)
    return [part for part in bare.split("/") if part not in ("", ".")], bare != path or bare.startswith("/")


def _joined(base: str, parts: Iterable[str]) -> str | None:
    """`base` and `parts` as one name; None where `..` leaves the upload."""
    result = base.split("/") if base else []
    for part in parts:
        if part != "..":
            result.append(part)
        elif result:
            result.pop()
        else:
            return None
    return "/".join(result)
