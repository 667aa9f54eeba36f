"""Files with a class name a line: classes.txt, as labelImg and Label Studio write it, and darknet's obj.names."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats.class_names import Find
from app.datasets.formats.description import Description
from app.datasets.formats.paths import Paths, folder_of
from app.datasets.formats.text import read_text
from app.errors import Invalid

MAX_BYTES = 2**20
MAX_FILES = 100


@dataclass(frozen=True)
class Names:
    file: str
    names: list[str]


def names_of_files(archive: Archive, files: Sequence[str], description: Description | None, find: Find) -> Names | None:
    """The names of the file that the description means, else of the longest; files that contradict it are findings.

    A file that stops early contradicts nothing: labelImg leaves one in each folder, as long as it had classes then.
    """
    found = [names for file in files[:MAX_FILES] if (names := _read(archive, file, find))]
    if description and description.names_file:
        named = Paths(files).find(description.names_file, (folder_of(description.file), ""))
        found.sort(key=lambda names: named is None or names.file != named.name)
        chosen = found[0] if found else None
    else:
        chosen = max(found, key=lambda names: len(names.names), default=None)
    described = description.names if description else None
    code = "CLASS_NAMES_DISAGREE" if described is None else "CLASS_NAMES_IGNORED"
    source = description.file if description and described is not None else chosen.file if chosen else ""
    truth = described if described is not None else chosen.names if chosen else []
    for other in found:
        if other.names != truth[: len(other.names)]:
            shown = ", ".join(other.names[:20])
            find(Finding(code, f"{other.file} and {source} name different classes", other.file, value=shown))
    return chosen


def _read(archive: Archive, file: str, find: Find) -> Names | None:
    try:
        text = read_text(archive, file, MAX_BYTES)
    except Invalid as error:
        find(Finding("LABEL_UNREADABLE", error.message, file))
        return None
    names = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while names and not names[-1]:
        names.pop()
    return Names(file, names) if names else None
