"""The categories of all COCO files as one list of classes, in the order of their ids; and the keypoints of poses."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.datasets.draft import Draft
from app.datasets.findings import Action, Finding
from app.datasets.formats.class_names import accepted_names
from app.datasets.formats.coco_files import CocoFile
from app.datasets.formats.coco_lists import id_of, shown
from app.datasets.formats.description import MAX_KEYPOINTS
from app.datasets.formats.json_stream import Element
from app.datasets.formats.numbers import whole

_SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])", re.IGNORECASE)
_OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass
class Category:
    """Of one id. `keypoints` are their names."""

    name: str
    file: str
    line: int
    keypoints: tuple[str, ...] = ()
    skeleton: list[list[int]] = field(default_factory=list)


class Categories:
    """Ids and names must agree in all files; where they do not, the first file's count and the others are told."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._found: dict[str, Category] = {}

    def add(self, file: CocoFile, element: Element) -> None:
        """An element of `categories`."""
        entry = element.value if isinstance(element.value, dict) else {}
        key, name = id_of(entry.get("id")), entry.get("name")
        if key is None or not isinstance(name, str) or element.repeated:
            problem = f"has {element.repeated!r} twice" if element.repeated else "needs an id and a name"
            message, value = f"a category {problem}", shown(element.value)
            self._draft.find(Finding("LABEL_MALFORMED", message, file.name, element.line, value))
            return
        new = Category(
            unicodedata.normalize("NFC", name).strip(), file.name, element.line, _names(entry), _skeleton(entry)
        )
        known = self._found.setdefault(key, new)
        if known.name != new.name:
            message = f"category {key} is {new.name!r} here and {known.name!r} in {known.file}"
            self._draft.find(Finding("CLASS_NAMES_DISAGREE", message, file.name, element.line, new.name))
        elif not known.keypoints:
            self._found[key] = new

    def settle(self) -> dict[str, int]:
        """Set the draft's classes. The class of each category id."""
        keys = sorted(self._found, key=_order)
        by_name: dict[str, list[str]] = {}
        for key in keys:
            by_name.setdefault(self._found[key].name, []).append(key)
        file = next((category.file for category in self._found.values()), None)
        self._draft.set_classes(accepted_names(list(by_name), file, self._draft.find, folders=False))
        for name, same in by_name.items():
            self._tell_same(name, same)
        numbers = {key: number for number, same in enumerate(by_name.values()) for key in same}
        self._tell_gaps(keys, numbers)
        return numbers

    def _tell_same(self, name: str, keys: list[str]) -> None:
        """One name, several ids: in one file they are joined; files that number a class differently are refused."""
        files = {self._found[key].file for key in keys}
        if len(keys) == 1:
            return
        last = self._found[keys[-1]]
        if len(files) > 1:
            code, action, end = "CLASS_NAMES_DISAGREE", None, "which differs from file to file"
        else:
            code, action, end = "CLASS_NAMES_ALIKE", Action.REPAIRED, "and was made one class"
        message = f"{name!r} is the name of categories {', '.join(keys[:10])}, {end}"
        self._draft.find(Finding(code, message, last.file, last.line, name, action))

    def _tell_gaps(self, keys: Sequence[str], numbers: dict[str, int]) -> None:
        ids = [whole(key) for key in keys]
        if any(number is None for number in ids) or not keys:
            return
        first = ids[0] or 0
        if first not in (0, 1) or ids != list(range(first, first + len(ids))):
            shown_ids = ", ".join(f"{key} is {numbers[key]}" for key in keys[:20])
            self._draft.find(Finding("CLASS_IDS_RENUMBERED", f"category ids have gaps: {shown_ids}", value=keys[-1]))

    def settle_poses(self, seen: Counter[int]) -> bool:
        """Set the draft's keypoints: as the categories name them, else as most annotations have them (`seen`)."""
        posed = [category for category in self._found.values() if category.keypoints]
        counts = Counter(len(category.keypoints) for category in posed) or Counter(seen)
        if len(counts) > 1:
            numbers = " and ".join(str(count) for count in sorted(counts))
            where = (posed[-1].file, posed[-1].line) if posed else (None, None)
            self._draft.find(Finding("KEYPOINTS_DISAGREE", f"there are objects of {numbers} keypoints", *where))
        count = counts.most_common(1)[0][0] if counts else 0
        if not 0 < count <= MAX_KEYPOINTS:
            message = f"poses need from 1 to {MAX_KEYPOINTS} keypoints; {count} are named or labelled"
            self._draft.find(Finding("KEYPOINTS_DISAGREE", message))
            return False
        self._draft.set("kpt_shape", [count, 3])
        named = [category for category in posed if len(category.keypoints) == count]
        flips = {flip_of(category.keypoints) for category in named}
        flip = flips.pop() if len(flips) == 1 else None
        self._draft.set("flip_idx", list(flip) if flip else None)
        if named:
            self._draft.set("kpt_names", list(named[0].keypoints))
            self._draft.set("skeleton", named[0].skeleton)
        return True


def flip_of(names: Sequence[str]) -> tuple[int, ...] | None:
    """Which keypoint each becomes in a mirror, by left and right in the names; None where they do not tell."""
    places = {name.casefold(): place for place, name in enumerate(names)}
    if len(places) < len(names) or not any(_SIDE.search(name) for name in names):
        return None
    mirrored = [_SIDE.sub(lambda side: _OTHER_SIDE[side[0].lower()], name.casefold()) for name in names]
    if any(name not in places for name in mirrored):
        return None
    return tuple(places[name] for name in mirrored)


def _names(entry: dict[str, Any]) -> tuple[str, ...]:
    names = entry.get("keypoints")
    return tuple(str(name)[:200] for name in names[: MAX_KEYPOINTS + 1]) if isinstance(names, list) else ()


def _skeleton(entry: dict[str, Any]) -> list[list[int]]:
    """Pairs of keypoints, from 1 as COCO counts them; what is no pair is left out."""
    pairs = entry.get("skeleton")
    bones = [pair for pair in pairs[: MAX_KEYPOINTS * 2] if isinstance(pair, list)] if isinstance(pairs, list) else []
    numbers = [[whole(end) for end in pair] for pair in bones if len(pair) == 2]
    return [[first, second] for first, second in numbers if first is not None and second is not None]


def _order(key: str) -> tuple[int, int, str]:
    number = whole(key)
    return (0, number, key) if number is not None else (1, 0, key)
