"""What a class may be called. A name is data: nothing runs it, and whoever shows it escapes it."""

import unicodedata
from collections.abc import Callable, Sequence

from app.datasets.findings import Finding

MAX_CLASSES = 10_000
MAX_LENGTH = 200
MAX_FOLDER_BYTES = 240  # file systems end at 255
_JOINERS = "\u200c\u200d"  # Persian and Indic scripts are not written without them
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

Find = Callable[[Finding], None]


def accepted_names(names: Sequence[str], file: str | None, find: Find, *, folders: bool) -> list[str]:
    """The names as a version has them, NFC and distinct; a finding for each that cannot stay.

    `folders`: each becomes a folder (classification), so that names must differ by more than case there.
    What is refused gets a stand-in, so that reading goes on and finds the rest.
    """
    if not names:
        find(Finding("NO_CLASSES", "no class is named", file))
    if len(names) > MAX_CLASSES:
        find(Finding("CLASS_NAME_INVALID", f"{len(names)} classes; at most {MAX_CLASSES} are allowed", file))
    accepted: dict[str, int] = {}
    alike: dict[str, str] = {}
    for number, written in enumerate(names[:MAX_CLASSES]):
        name = unicodedata.normalize("NFC", written)
        finding = _finding(name, number, accepted, alike, folders)
        if finding:
            find(Finding(finding[0], finding[1], file, value=written))
        alike.setdefault(_folded(name), name)
        refused = finding is not None and finding[0] != "CLASS_NAMES_ALIKE"
        accepted[_stand_in(number, accepted) if refused else name] = number
    return list(accepted)


def _finding(
    name: str, number: int, accepted: dict[str, int], alike: dict[str, str], folders: bool
) -> tuple[str, str] | None:
    """Code and message of what is wrong with a name."""
    if problem := name_problem(name, folder=folders):
        return "CLASS_NAME_INVALID", f"the name of class {number} {problem}"
    if name in accepted:
        return "CLASS_NAMES_DISAGREE", f"class {number} has the name of class {accepted[name]}"
    twin = alike.get(_folded(name))
    if twin is None:
        return None
    message = f"the name of class {number} differs from {twin!r} by case or form alone"
    return ("CLASS_NAME_INVALID" if folders else "CLASS_NAMES_ALIKE"), message


def name_problem(name: str, *, folder: bool) -> str | None:
    """Why a class cannot be called so, as the end of a sentence."""
    if not name or name != name.strip():
        return "is empty, or begins or ends with a space"
    if len(name) > MAX_LENGTH:
        return f"has {len(name)} characters; at most {MAX_LENGTH} are allowed"
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES and char not in _JOINERS for char in name):
        return "has a control character"
    if folder and (name.startswith(".") or "/" in name or "\\" in name):
        return "cannot be a folder: it has '/' or '\\', or begins with '.'"
    if folder and len(name.encode()) > MAX_FOLDER_BYTES:
        return f"cannot be a folder: it has more than {MAX_FOLDER_BYTES} bytes"
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _stand_in(number: int, taken: dict[str, int]) -> str:
    name = f"class {number}"
    while name in taken:
        name += "'"
    return name
