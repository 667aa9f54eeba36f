"""What every reader is given, whatever the person sent."""

from collections.abc import Iterator, Mapping
from typing import Protocol


class Archive(Protocol):
    """The regular files of an upload by name: NFC, `/`-separated, relative, unique, without junk and common folder."""

    @property
    def files(self) -> Mapping[str, int]:
        """Name to size in bytes, in the order of the names' bytes."""
        ...

    @property
    def ignored(self) -> int:
        """How many files were left out as junk: `__MACOSX`, hidden ones, `Thumbs.db`."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """A small file, whole. `Invalid` if it has more than `limit` bytes or is damaged."""
        ...

    def head(self, name: str, length: int) -> bytes:
        """At most the first `length` bytes. `Invalid` if they are damaged."""
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes in order, a mebibyte each. `Invalid` if they are damaged. Several threads may read at once."""
        ...
