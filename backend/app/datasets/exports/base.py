"""The shape of an export: a sequence of files, each written as it is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.datasets.index import Index, IndexedImage
from app.words import TaskType

OpenImage = Callable[[IndexedImage], Iterator[bytes]]


@dataclass(frozen=True)
class ExportedFile:
    """`size` in bytes where it is known beforehand."""

    name: str
    chunks: Iterator[bytes]
    size: int | None = None


@dataclass(frozen=True)
class Export:
    """`files` reads the index in pages and one image at a time; nothing of the dataset's size is held."""

    tasks: tuple[TaskType, ...]
    files: Callable[[Index, OpenImage], Iterator[ExportedFile]]
