"""An archive that remembers what was read: for the progress of reading, and to name what nobody looked into."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.inspecting import IMAGE_SUFFIXES, OTHER_IMAGES
from app.datasets.work import Progress


class Tracked:
    """An `Archive` around another one, for a format's `read`."""

    def __init__(self, archive: Archive, draft: Draft, progress: Progress) -> None:
        self._archive, self._draft, self._progress = archive, draft, progress
        self._read: set[str] = set()
        self._done = 0
        self._total = sum(size for name, size in archive.files.items() if draft.image(name) is None)

    @property
    def files(self) -> Mapping[str, int]:
        return self._archive.files

    @property
    def ignored(self) -> int:
        return self._archive.ignored

    def read(self, name: str, limit: int) -> bytes:
        self._read.add(name)
        data = self._archive.read(name, limit)
        self._count(len(data))
        return data

    def head(self, name: str, length: int) -> bytes:
        return self._archive.head(name, length)

    def chunks(self, name: str) -> Iterator[bytes]:
        self._read.add(name)
        for chunk in self._archive.chunks(name):
            self._count(len(chunk))
            yield chunk

    def unread(self) -> list[str]:
        """The names of files that nobody looked into and no finding is about, images aside."""
        told = {file for (file,) in self._draft.connection.execute("SELECT DISTINCT file FROM findings")}
        seen = self._read | told
        return [name for name in self.files if name not in seen and not self._is_image(name)]

    def _is_image(self, name: str) -> bool:
        suffix = PurePosixPath(name).suffix.lower()
        return suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGES or self._draft.image(name) is not None

    def _count(self, size: int) -> None:
        self._done += size
        self._progress("read", self._done, max(self._done, self._total))
