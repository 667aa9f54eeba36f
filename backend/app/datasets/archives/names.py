"""Names in an upload: which are refused, which are junk, and what is left once the folders around everything are gone.

A name becomes NFC, so that 한글.jpg from a Mac is 한글.jpg. Folders named like parts of a format are never taken away.
"""

import re
import unicodedata
from collections.abc import Collection

MAX_NAME_BYTES = 480  # with images/train/ before it, trainers still take it
MAX_PART_BYTES = 240
SHOWN = 120
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
NESTED = (".zip", ".tar", ".gz", ".tgz", ".zst", ".bz2", ".xz", ".7z", ".rar")
# what zip tools wrote before they said UTF-8: Korean Windows, then DOS
ENCODINGS = ("utf-8", "euc_kr", "cp437")
LAYOUT = re.compile(
    r"(images?|imgs?|labels?|annotations?|masks?|jpegimages|imagesets|(train|val|test)(ing|id|idation)?[-_]?\d*)", re.I
)


def decoded(raw: bytes, *, is_utf8: bool = False) -> str:
    """A name as text, NFC. What says that it is UTF-8 and is not raises UnicodeDecodeError."""
    if is_utf8:
        return unicodedata.normalize("NFC", raw.decode())
    for encoding in ENCODINGS:
        try:
            return unicodedata.normalize("NFC", raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    raise AssertionError("cp437 decodes every byte")


def shown(name: str) -> str:
    """A name for a message: quoted, and not 4 kB of it."""
    return repr(name if len(name) <= SHOWN else name[:SHOWN] + "…")


def problem(name: str, longest: int = MAX_NAME_BYTES) -> str | None:
    """Why a decoded name is refused, with the way out."""
    parts = name.removesuffix("/").split("/")
    if FORBIDDEN.search(name):
        return "has a backslash or a control character in its name; rename it"
    if name[1:2] == ":" or not {"", ".", ".."}.isdisjoint(parts):
        return "is absolute or has an empty, '.' or '..' part in its name; use names relative to the dataset's folder"
    if len(name.encode()) > longest or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"has a name of more than {longest} bytes, or a part of it more than {MAX_PART_BYTES}; shorten it"
    return None


def is_junk(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in JUNK for part in name.split("/"))


def is_nested(name: str) -> bool:
    return name.lower().endswith(NESTED)


def wrapping(names: Collection[str]) -> str:
    """The folders, `a/b/`, in which everything lies and which say nothing."""
    if not names:
        return ""
    # what all have in common the first and the last in order have
    first, last = min(names).split("/")[:-1], max(names).split("/")[:-1]
    wrapped = ""
    for one, other in zip(first, last, strict=False):
        if one != other or LAYOUT.fullmatch(one):
            break
        wrapped += f"{one}/"
    return wrapped
