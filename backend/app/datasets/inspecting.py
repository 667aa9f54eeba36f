"""Every image of an upload looked at once and entered in the draft, before any format is read."""

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Finding
from app.datasets.images import ONE_LARGE, SUFFIXES, Inspected, inspect
from app.datasets.sniffing import FORMATS, HEAD, content_of
from app.datasets.work import Progress
from app.errors import Invalid

THREADS = 2
WAITING = 4 * THREADS  # results ahead of the draft
FILE_LIMIT = 256 * 2**20  # bytes: an image is held in memory while it is looked at
LARGE_FILE = 16 * 2**20  # bytes; larger ones are read one at a time

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".jpe", ".jfif", ".dib"}
OTHER_IMAGES = frozenset(
    (".gif", ".svg", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".ico", ".tga", ".pgm", ".ppm", ".pbm")
) | frozenset((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".dcm", ".exr", ".hdr", ".mpo"))
TEXTS = frozenset(
    (
        ".txt",
        ".json",
        ".xml",
        ".yaml",
        ".yml",
        ".csv",
        ".tsv",
        ".md",
        ".names",
        ".data",
        ".cfg",
        ".html",
        ".py",
        ".cache",
    )
)

_Found = tuple[str, str, Inspected | Finding]  # name, sha256, what became of it


def inspect_all(archive: Archive, draft: Draft, progress: Progress) -> int:
    """Enter each image of the upload in the draft, by name, with findings; how many there are.

    What cannot be taken is a finding and nothing else: `draft.image` answers None for it.
    """
    names = [name for name in archive.files if _is_image(archive, name)]
    taken = 0
    for done, (name, sha256, found) in enumerate(_inspected(archive, names), 1):
        if isinstance(found, Finding):
            draft.find(found)
        else:
            _enter(draft, name, sha256, found)
            taken += 1
        progress("inspect", done, len(names))
    return taken


def _is_image(archive: Archive, name: str) -> bool:
    """By its suffix, or by its first bytes where the suffix says neither image nor text."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGES:
        return True
    if suffix in TEXTS:
        return False
    try:
        return content_of(archive.head(name, HEAD)) in FORMATS
    except Invalid:
        return False


def _inspected(archive: Archive, names: list[str]) -> Iterator[_Found]:
    """In the order of the names, a few ahead."""
    ahead: deque[Future[_Found]] = deque()
    with ThreadPoolExecutor(THREADS, "inspect") as pool:
        try:
            for name in names:
                ahead.append(pool.submit(_inspect, archive, name))
                if len(ahead) > WAITING:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _inspect(archive: Archive, name: str) -> _Found:
    size = archive.files[name]
    if size > FILE_LIMIT:
        return name, "", Finding("IMAGE_TOO_LARGE", f"{size:,} bytes; {FILE_LIMIT:,} are the most", name)
    try:
        with ONE_LARGE if size > LARGE_FILE else nullcontext():
            data = _read(archive, name)
            return name, hashlib.sha256(data).hexdigest(), inspect(name, data)
    except Invalid as error:
        return name, "", Finding("IMAGE_UNREADABLE", error.message, name)


def _read(archive: Archive, name: str) -> bytes:
    """Whole, and never twice in memory, as joining the parts would have it."""
    data = io.BytesIO()
    data.writelines(archive.chunks(name))
    return data.getvalue()


def _enter(draft: Draft, name: str, sha256: str, found: Inspected) -> None:
    facts = (found.format, found.width, found.height, found.orientation, found.rewrite)
    image_id = draft.add_image(SourceImage(0, name, sha256, *facts))
    for finding in found.findings:
        draft.find(replace(finding, image_id=image_id))
