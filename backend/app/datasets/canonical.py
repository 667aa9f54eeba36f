"""From a settled draft to the one object that trainers fetch: data.zip, stored; equal content gives equal bytes.

A version's identity is the sha256 of lines `{sha256}  {path}` in the order of the paths' bytes, as
`find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints it for the unpacked files without their `./`.
"""

import hashlib
import os
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import yaml

from app.datasets.draft import Draft
from app.datasets.images import encode_upright
from app.datasets.labels import label_text
from app.datasets.work import SPLITS, Progress
from app.words import TaskType

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say
THREADS = min(4, os.cpu_count() or 1)  # images encoded at once: each may take as much memory as its pixels
REWRITTEN = {".jpg": "JPEG", ".png": "PNG"}
DATA_YAML = "data.yaml"

Chunks = Callable[[int, str], Iterator[bytes]]  # the bytes of an entry of the archive with this number


@dataclass(frozen=True)
class Written:
    sha256: str  # the identity
    archive_sha256: str
    archive_size: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file of data.zip: data.yaml, else an image or the label of one."""

    path: str
    image_id: int | None
    is_label: bool
    archive: int
    entry: str
    rewrite: str | None


def write(draft: Draft, chunks: Chunks, target: Path, progress: Progress) -> Written:
    """Write data.zip to `target` in the order of the paths, unpacked, with one time for all.

    Tells the draft where each image lies. Splits and names are settled (`splits.py`, `names.py`).
    """
    identity = hashlib.sha256()
    total, done = draft.connection.execute("SELECT count(*) FROM images").fetchone()[0], 0
    with target.open("wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as output:
        for file, content in _with_contents(draft, chunks):
            sha256, size, offset = _add(output, raw, file.path, content)
            identity.update(f"{sha256}  {file.path}\n".encode())
            if file.image_id is not None and not file.is_label:
                _record(draft, file, sha256, size, offset)
                done += 1
                progress("write", done, total)
    with target.open("rb") as finished:
        digest = hashlib.file_digest(finished, "sha256").hexdigest()
    return Written(identity.hexdigest(), digest, target.stat().st_size)


def data_yaml(draft: Draft) -> bytes:
    """Generated: what a user's data.yaml says beside names and keypoints is never handed on (`download:` runs code)."""
    used = {split for (split,) in draft.connection.execute("SELECT DISTINCT split FROM images")}
    names = draft.classes
    content: dict[str, Any] = {split: f"images/{split}" for split in SPLITS if split in used}
    content |= {"nc": len(names), "names": names}
    if draft.task_type is TaskType.POSE_ESTIMATION:
        content |= {key: draft.get(key) for key in ("kpt_shape", "flip_idx") if draft.get(key) is not None}
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode()


def _files(draft: Draft) -> Iterator[_File]:
    """In the order of the paths' bytes, which is how SQLite compares text. An unlabelled image has no label file."""
    connection = draft.connection
    connection.execute("DROP TABLE IF EXISTS temp.files")
    connection.execute(
        "CREATE TEMP TABLE files (path TEXT PRIMARY KEY, image_id INTEGER, is_label INTEGER) WITHOUT ROWID"
    )
    connection.execute("INSERT INTO files SELECT path, id, 0 FROM images")
    if draft.task_type is not TaskType.IMAGE_CLASSIFICATION:
        connection.create_function("label_path", 1, _label_path, deterministic=True)
        labelled = "background OR id IN (SELECT image_id FROM annotations)"
        connection.execute(f"INSERT INTO files SELECT label_path(path), id, 1 FROM images WHERE {labelled}")
        connection.execute("INSERT INTO files VALUES (?, NULL, 0)", (DATA_YAML,))
    columns = "files.path, image_id, is_label, coalesce(archive, 0), coalesce(entry, ''), rewrite"
    query = f"SELECT {columns} FROM files LEFT JOIN images ON images.id = image_id ORDER BY files.path"
    return (_File(*row) for row in connection.execute(query))


def _label_path(path: str) -> str:
    """`images/train/a/b.jpg` is labelled by `labels/train/a/b.txt`."""
    return str(PurePosixPath("labels" + path.removeprefix("images")).with_suffix(".txt"))


def _with_contents(draft: Draft, chunks: Chunks) -> Iterator[tuple[_File, Iterable[bytes]]]:
    """Every file with its bytes; images that are encoded anew are so a few files ahead, in threads."""
    waiting: deque[tuple[_File, Callable[[], Iterable[bytes]]]] = deque()
    with ThreadPoolExecutor(THREADS, "encode") as pool:
        for file in _files(draft):
            if file.is_label or file.image_id is None:
                waiting.append((file, partial(_generated, draft, file)))
            elif file.rewrite is None:
                waiting.append((file, partial(chunks, file.archive, file.entry)))
            else:
                waiting.append((file, pool.submit(_encode, chunks, file).result))
            if len(waiting) > THREADS:
                ready, content = waiting.popleft()
                yield ready, content()
        yield from ((ready, content()) for ready, content in waiting)


def _generated(draft: Draft, file: _File) -> list[bytes]:
    if file.image_id is None:
        return [data_yaml(draft)]
    numbers = (draft.get("kpt_shape") or (0, 3))[1]
    return [label_text(draft.connection, file.image_id, draft.task_type, numbers).encode()]


def _encode(chunks: Chunks, file: _File) -> list[bytes]:
    return [encode_upright(b"".join(chunks(file.archive, file.entry)), file.rewrite or "")]


def _add(output: zipfile.ZipFile, raw: BinaryIO, path: str, content: Iterable[bytes]) -> tuple[str, int, int]:
    """The file's sha256, its size and the offset of its first byte."""
    entry = zipfile.ZipInfo(path, EPOCH)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16
    digest, size = hashlib.sha256(), 0
    with output.open(entry, "w") as file:
        offset = raw.tell()
        for chunk in content:
            digest.update(chunk)
            size += file.write(chunk)
    return digest.hexdigest(), size, offset


def _record(draft: Draft, file: _File, sha256: str, size: int, offset: int) -> None:
    kind = REWRITTEN.get(file.rewrite or "")
    draft.connection.execute(
        "UPDATE images SET sha256 = ?, size = ?, offset = ?, format = coalesce(?, format) WHERE id = ?",
        (sha256, size, offset, kind, file.image_id),
    )
