"""What is in a version: its index, fetched to this machine once, and its images, read from the archive in storage."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.datasets.annotations import Box, Keypoint
from app.datasets.findings import KINDS
from app.datasets.index import Index, IndexedFinding, IndexedImage, Summary
from app.errors import Invalid, NotFound, StorageUnavailable
from app.models import DatasetVersion
from app.services.datasets import folders, shelf
from app.storage import Storage

SAFE_TYPES = {
    ".bmp": "image/bmp",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Library:
    """Where versions are looked at: the storage, and what this machine keeps of it."""

    storage: Storage
    data_dir: Path
    limit: int

    @cached_property
    def indexes(self) -> shelf.Shelf:
        return shelf.shelves(self.data_dir)[0]

    @cached_property
    def thumbnails(self) -> shelf.Shelf:
        return shelf.shelves(self.data_dir)[1]

    def trim(self) -> None:
        shelf.trim((self.indexes, self.thumbnails), self.limit)


@dataclass(frozen=True)
class Row:
    """An image as lists show it."""

    id: int
    path: str
    split: str
    width: int
    height: int
    size: int
    sha256: str
    objects: int
    classes: list[str]
    findings: list[str]


@dataclass(frozen=True)
class Label:
    """An annotation with its number and the name of its class."""

    id: int
    class_id: int
    class_name: str
    box: Box | None
    polygons: list[list[float]]
    keypoints: list[Keypoint]
    crowd: bool
    attributes: dict[str, bool | int | str]


@dataclass(frozen=True)
class Filters:
    """Which images; None means any."""

    split: str | None = None
    class_name: str | None = None
    finding: str | None = None


@contextmanager
def opened(library: Library, version: DatasetVersion) -> Iterator[Index]:
    """The version's index. `NotFound` if it was made before there were any."""
    name = index_name(version)
    is_new = False

    def fetch(path: Path) -> None:
        nonlocal is_new
        is_new = True
        _fetch(library.storage, _key(version, "index.sqlite"), path, name)

    with library.indexes.use(name, fetch) as path:
        if is_new:
            library.trim()
        with _index(library, path, name) as index:
            yield index


def index_name(version: DatasetVersion) -> str:
    """The digest of its index, by which this machine's copies are named."""
    if version.index_sha256 is None:
        raise NotFound(f"version {version.version} has no index, since it is older than those; import its files again")
    return version.index_sha256


def page(index: Index, filters: Filters, *, cursor: str | None, limit: int) -> tuple[list[Row], str | None]:
    """Images by id, and the cursor of the next page. `Invalid` for a class or a finding that there cannot be."""
    classes = index.classes
    _check(index, filters, classes)
    found = index.images(
        split=filters.split,
        class_name=filters.class_name,
        finding=filters.finding,
        after=parse_cursor(cursor),
        limit=limit + 1,
    )
    summaries = index.summaries([image.id for image in found[:limit]])
    rows = [_row(image, summaries[image.id], classes) for image in found[:limit]]
    return rows, str(found[limit - 1].id) if len(found) > limit else None


def row(index: Index, image_id: int) -> Row:
    image = find_image(index, image_id)
    return _row(image, index.summaries([image_id])[image_id], index.classes)


def labels(index: Index, image_id: int) -> list[Label]:
    """All that is annotated on the image."""
    classes = index.classes
    return [
        Label(
            id=label_id,
            class_id=annotation.class_id,
            class_name=classes[annotation.class_id],
            box=annotation.box,
            polygons=[list(polygon) for polygon in annotation.polygons],
            keypoints=list(annotation.keypoints),
            crowd=annotation.crowd,
            attributes=dict(annotation.attributes),
        )
        for label_id, annotation in index.annotations(image_id)
    ]


def find_image(index: Index, image_id: int) -> IndexedImage:
    image = index.image(image_id)
    if image is None:
        raise NotFound(f"the version has no image {image_id}")
    return image


def findings(
    index: Index, *, code: str | None, severity: str | None, image_id: int | None, cursor: str | None, limit: int
) -> tuple[list[IndexedFinding], str | None]:
    """In the order they were found, and the cursor of the next page."""
    after = parse_cursor(cursor)
    found = index.findings(code=code, severity=severity, image_id=image_id, after=after, limit=limit + 1)
    return found[:limit], str(found[limit - 1].id) if len(found) > limit else None


def stream(library: Library, version: DatasetVersion, image: IndexedImage, start: int, length: int) -> Iterator[bytes]:
    """`length` bytes of the image from `start`, straight from the archive."""
    return library.storage.stream(archive_key(version), image.offset + start, length)


def archive_key(version: DatasetVersion) -> str:
    return _key(version, "data.zip")


def media_type(image: IndexedImage) -> str:
    """By the suffix, which the import made that of the content; nothing that a browser would run."""
    return SAFE_TYPES.get(Path(image.path).suffix.lower(), "application/octet-stream")


def parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal()) or len(cursor) > 18:
        problem = _problem("cursor", cursor, "must be the next_cursor of an earlier answer")
        raise Invalid(f"cursor {cursor!r} is not one that this list gave", fields=[problem])
    return int(cursor)


def _key(version: DatasetVersion, name: str) -> str:
    return f"datasets/{version.dataset_id}/{version.version}/{name}"


def _fetch(storage: Storage, key: str, path: Path, sha256: str) -> None:
    with folders.disk_trouble(path.parent):
        storage.download(key, path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise StorageUnavailable(f"object {key!r} has the digest {found}, not {sha256}: it was changed or is damaged")


def _index(library: Library, path: Path, name: str) -> Index:
    try:
        return Index(path)
    except Invalid:
        library.indexes.discard(name)
        raise


def _check(index: Index, filters: Filters, classes: list[str]) -> None:
    problems: list[dict[str, str]] = []
    if filters.class_name is not None and filters.class_name not in classes:
        problems.append(_problem("class", filters.class_name, "is not a class of this version"))
    if filters.finding is not None and filters.finding not in KINDS and filters.finding not in index.finding_counts:
        problems.append(_problem("finding", filters.finding, "is not the code of a finding"))
    if problems:
        words = [f"{problem['field']}={problem['value']!r} {problem['message']}" for problem in problems]
        raise Invalid("; ".join(words), fields=problems)


def _problem(field: str, value: str, message: str) -> dict[str, str]:
    return {"field": field, "value": value, "message": message}


def _row(image: IndexedImage, summary: Summary, classes: list[str]) -> Row:
    return Row(
        id=image.id,
        path=image.path,
        split=image.split,
        width=image.width,
        height=image.height,
        size=image.size,
        sha256=image.sha256,
        objects=summary.objects,
        classes=[classes[class_id] for class_id in summary.classes],
        findings=list(summary.findings),
    )
