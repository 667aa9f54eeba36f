"""A version as a zip to take away: YOLO is the archive as it lies in storage, others are written while they go."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from app.datasets import exports
from app.datasets.index import IndexedImage
from app.errors import Invalid
from app.models import DatasetVersion
from app.services.datasets import browse
from app.services.datasets.browse import Library

FORMATS = ("yolo", *exports.EXPORTS)


@dataclass(frozen=True)
class Exported:
    """`size` in bytes, where it is known before the end."""

    filename: str
    size: int | None
    chunks: Iterator[bytes]


def export(library: Library, version: DatasetVersion, form: str) -> Exported:
    """`Invalid` at once for an unknown format, or one that cannot say what the version holds."""
    if form not in FORMATS:
        message = f"is not one of {', '.join(FORMATS)}"
        raise Invalid(f"format={form!r} {message}", fields=[{"field": "format", "value": form, "message": message}])
    filename = f"{version.dataset.name}-{version.version}-{form}.zip"
    if form == "yolo":
        return Exported(filename, version.archive_size, library.storage.stream(browse.archive_key(version)))
    return Exported(filename, None, _written(library, version, form))


def _written(library: Library, version: DatasetVersion, form: str) -> Iterator[bytes]:
    def read(image: IndexedImage) -> Iterator[bytes]:
        return browse.stream(library, version, image, 0, image.size)

    with ExitStack() as opened:
        index = opened.enter_context(browse.opened(library, version))
        chunks = exports.stream(form, index, read)
        until_sent = opened.pop_all()
    return _closing(until_sent, chunks)


def _closing(held: ExitStack, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with held:
        yield from chunks
