"""Files kept on this machine because storage is far: each made once, by whoever needs it first, and named by a digest.

Who uses a file holds its lock shared; who makes or removes it needs the lock alone. That holds between threads and
between processes. The lock's time is that of the last use. Everything here can be made again.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

INDEXES, THUMBNAILS = "cache/indexes", "cache/thumbnails"


@dataclass(frozen=True)
class Kept:
    """A file of a shelf, as it was looked at."""

    shelf: "Shelf"
    name: str
    bytes: int
    used_at: datetime
    in_use: bool

    @property
    def path(self) -> Path:
        return self.shelf.path(self.name)

    def remove(self) -> bool:
        return self.shelf.remove(self.name)


@dataclass(frozen=True)
class Shelf:
    """The files of one folder, which need not be there. Names are plain: no `/` and no `.`."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.sqlite"

    @contextmanager
    def use(self, name: str, make: Callable[[Path], None]) -> Iterator[Path]:
        """The file; if it is not there `make` writes it. It stays as long as the block lasts."""
        descriptor = self._taken(name, make)
        try:
            yield self.path(name)
        finally:
            _let_go(descriptor)

    def remove(self, name: str) -> bool:
        """False, and nothing happens, while somebody uses it or makes it."""
        try:
            descriptor = os.open(self._lock(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if not _alone(descriptor) or not _is_named(descriptor):
                return False
            for path in self._files(name):
                path.unlink(missing_ok=True)
            self._lock(name).unlink()
            return True
        finally:
            _let_go(descriptor)

    def discard(self, name: str) -> None:
        """Have a damaged file made anew by the next one; who uses it now keeps what is open."""
        for path in self._files(name):
            path.unlink(missing_ok=True)

    def kept(self) -> list[Kept]:
        """What there is now."""
        return [kept for lock in sorted(self.folder.glob("*.lock")) for kept in self._look(lock)]

    def half_made(self) -> list[Path]:
        """What is being written, or was when somebody was killed."""
        return sorted(self.folder.glob("*.part"))

    def _taken(self, name: str, make: Callable[[Path], None]) -> int:
        """A descriptor that holds the lock shared, with the file there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self._lock(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if self.path(name).exists() and _is_named(descriptor):
                    os.utime(descriptor)
                    return descriptor
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # others may have made it, or removed it, before we have it
                if not self.path(name).exists() and _is_named(descriptor):
                    self._make(name, make)
            except BaseException:
                _let_go(descriptor)
                raise
            _let_go(descriptor)

    def _make(self, name: str, make: Callable[[Path], None]) -> None:
        partial = self.folder / f"{name}.{uuid4().hex}.part"
        try:
            make(partial)
            partial.replace(self.path(name))
        except BaseException:
            partial.unlink(missing_ok=True)
            self._lock(name).unlink(missing_ok=True)
            raise

    def _look(self, lock: Path) -> Iterator[Kept]:
        with suppress(FileNotFoundError):  # removed meanwhile
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                free = _alone(descriptor)
            finally:
                _let_go(descriptor)
            size = sum(path.stat().st_size for path in self._files(lock.stem) if path.exists())
            yield Kept(self, lock.stem, size, datetime.fromtimestamp(lock.stat().st_mtime, UTC), in_use=not free)

    def _lock(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

    def _files(self, name: str) -> tuple[Path, ...]:
        path = self.path(name)
        return path, path.with_name(f"{path.name}-journal")


def shelves(data_dir: Path) -> tuple[Shelf, Shelf]:
    """That of indexes and that of thumbnails."""
    return Shelf(data_dir / INDEXES), Shelf(data_dir / THUMBNAILS)


def trim(shelves: Iterable[Shelf], limit: int) -> None:
    """Remove the least recently used of all until the rest fits; none in use."""
    known = sorted((kept for shelf in shelves for kept in shelf.kept()), key=lambda kept: kept.used_at)
    excess = sum(kept.bytes for kept in known) - limit
    for kept in known:
        if excess > 0 and kept.bytes and kept.remove():
            excess -= kept.bytes


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a child that is just being started
    os.close(descriptor)


def _is_named(descriptor: int) -> bool:
    """Whether the lock is still the one that others find: it goes with its file."""
    return os.fstat(descriptor).st_nlink > 0
