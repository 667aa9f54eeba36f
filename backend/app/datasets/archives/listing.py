"""The files of an upload as its directory names them, one after the other, each checked before it is believed."""

from typing import BinaryIO

from app.datasets.archives import names
from app.datasets.archives.entries import Entry, FileArchive
from app.errors import Invalid, TooLarge

MAX_ENTRIES = 500_000
MAX_RATIO = 200  # no photograph deflates so well; deflate itself ends at 1032
RATIO_APPLIES_FROM = 2**20


def refusal(name: str, problem: str) -> Invalid:
    return Invalid(f"archive entry {names.shown(name)} {problem}", entry=name[: names.SHOWN])


class Listing:
    """What was seen so far. `Invalid` or `TooLarge` with the first entry that cannot be taken."""

    def __init__(self, max_bytes: int, *, longest_name: int = names.MAX_NAME_BYTES) -> None:
        self._max_bytes, self._total, self._count = max_bytes, 0, 0
        self._longest_name = longest_name
        self._files: dict[str, Entry] = {}
        self._folders: set[str] = set()

    def add(self, name: str, entry: Entry) -> None:
        """A file; its bytes are counted before anyone reads them."""
        self._check(name)
        if name in self._files:
            raise refusal(name, "is in the archive twice; keep one of them")
        if entry.size > RATIO_APPLIES_FROM and entry.size > MAX_RATIO * entry.packed:
            raise refusal(name, f"grows more than {MAX_RATIO} times when unpacked; store it with less compression")
        self.charge(entry.size)
        self._files[name] = entry

    def add_folder(self, name: str) -> None:
        self._check(name)
        self._folders.add(name.removesuffix("/"))

    def charge(self, size: int) -> None:
        """Count bytes that will be unpacked."""
        self._total += size
        if self._total > self._max_bytes:
            raise TooLarge(
                f"the archive's files have more than {self._max_bytes} bytes when unpacked (MAX_DATASET_BYTES)"
            )

    def everything(self, file: BinaryIO) -> FileArchive:
        """All files under the names they have."""
        return FileArchive(file, dict(sorted(self._files.items())), ignored=0)

    def dataset(self, file: BinaryIO) -> FileArchive:
        """What is left without junk, nested archives and the folders around everything. `Invalid` if nothing is."""
        self._check_folders()
        kept = sorted(name for name in self._files if not names.is_junk(name) and not names.is_nested(name))
        if not kept:
            nested = next((name for name in self._files if names.is_nested(name)), None)
            if nested:
                raise refusal(nested, "is an archive within the archive; unpack it and send what is in it")
            raise Invalid("the archive has no files; pack the dataset's folder and send that")
        wrapped = len(names.wrapping(kept))
        entries = {name[wrapped:]: self._files[name] for name in kept}
        return FileArchive(file, entries, ignored=len(self._files) - len(kept))

    def _check(self, name: str) -> None:
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise TooLarge(f"the archive has more than {MAX_ENTRIES} entries; split the dataset")
        if problem := names.problem(name, self._longest_name):
            raise refusal(name, problem)

    def _check_folders(self) -> None:
        folders = self._folders | {name.rpartition("/")[0] for name in self._files}
        for folder in sorted(folders):
            while folder:
                if folder in self._files:
                    raise refusal(folder, "is both a file and a folder; rename one")
                folder = folder.rpartition("/")[0]
