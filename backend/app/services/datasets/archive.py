"""An uploaded zip, opened with suspicion: nothing is extracted, and no file gives more bytes than the directory says.

Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4. Refusals are `Invalid` and name the entry.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import Invalid, TooLarge

CHUNK = 2**20
MAX_ENTRIES = 500_000
MAX_NAME_BYTES, MAX_PART_BYTES = 800, 240
MAX_RATIO = 200  # no photograph deflates so well; deflate itself ends at 1032
RATIO_APPLIES_FROM = 2**20
ENCRYPTED = 0x1
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
END_RECORD, END64_RECORD = b"PK\x05\x06", b"PK\x06\x06"
END_LENGTH, LOCATOR_LENGTH, END64_LENGTH = 22, 20, 56
LONGEST_END = END64_LENGTH + LOCATOR_LENGTH + END_LENGTH + 65535  # with the longest comment
MAX_DIRECTORY_BYTES = MAX_ENTRIES * 256
# what zipfile raises for one flipped bit or another
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


@dataclass(frozen=True)
class Archive:
    """The regular files of an uploaded zip by their names, all checked."""

    source: zipfile.ZipFile
    files: dict[str, zipfile.ZipInfo]

    def read(self, name: str, limit: int) -> bytes:
        """A small file, whole. `Invalid` if it has more than `limit` bytes."""
        size = self.files[name].file_size
        if size > limit:
            raise Invalid(f"{name} has {size} bytes; at most {limit} are allowed")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes in order; `Invalid` if they are damaged."""
        try:
            with self.source.open(self.files[name]) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except DAMAGED as error:
            raise Invalid(f"{name} is damaged in the archive: {error}") from error


@contextmanager
def open_archive(path: Path, max_bytes: int) -> Iterator[Archive]:
    """The archive at `path`, whose files may have `max_bytes` together when unpacked."""
    with path.open("rb") as file:
        _check_directory(file)
        try:
            source = zipfile.ZipFile(file)
        except DAMAGED as error:
            raise Invalid(f"the upload is not a readable zip archive: {error}") from error
        with source:
            yield Archive(source, _checked(source.infolist(), max_bytes))


def _check_directory(file: BinaryIO) -> None:
    """Refuse, from the end record alone, a directory too long to read into memory."""
    size = file.seek(0, 2)
    tail_length = min(size, LONGEST_END)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    start = tail.rfind(END_RECORD)
    if start < 0 or len(tail) - start < END_LENGTH:
        raise Invalid("the upload is not a zip archive: it has no end record")
    length: int = struct.unpack_from("<I", tail, start + 12)[0]
    start64 = start - LOCATOR_LENGTH - END64_LENGTH
    if start64 >= 0 and tail[start64 : start64 + 4] == END64_RECORD:
        length = struct.unpack_from("<Q", tail, start64 + 40)[0]
    if length > MAX_DIRECTORY_BYTES:
        raise TooLarge(f"the archive's directory has {length} bytes; at most {MAX_DIRECTORY_BYTES} are allowed")


def _checked(entries: list[zipfile.ZipInfo], max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"the archive has {len(entries)} entries; at most {MAX_ENTRIES} are allowed")
    files: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    total = 0
    for entry in entries:
        problem = _entry_problem(entry)
        if problem is None and entry.filename.rstrip("/") in seen:
            problem = "is in the archive twice"
        if problem:
            raise Invalid(f"archive entry {entry.orig_filename!r} {problem}")
        seen.add(entry.filename.rstrip("/"))
        total += entry.file_size
        if total > max_bytes:
            raise TooLarge(f"the archive's files have more than {max_bytes} bytes when unpacked (MAX_DATASET_BYTES)")
        if not entry.is_dir():
            files[entry.filename] = entry
    for name in files:
        if folder := next((folder for folder in _folders(name) if folder in files), None):
            raise Invalid(f"archive entry {folder!r} is both a file and the folder of {name!r}")
    return files


def _folders(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if FORBIDDEN.search(name):
        return "has a backslash or a control character in its name"
    if name[1:2] == ":" or not {"", ".", ".."}.isdisjoint(name.removesuffix("/").split("/")):
        return "is absolute or has an empty, '.' or '..' segment"
    if len(name.encode()) > MAX_NAME_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in name.split("/")):
        return f"has a name of more than {MAX_NAME_BYTES} bytes, or a part of it more than {MAX_PART_BYTES}"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device; only plain files are allowed"
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted; remove the password"
    if entry.compress_type not in METHODS:
        return f"uses compression method {entry.compress_type}; use {' or '.join(METHODS.values())}"
    if entry.file_size > RATIO_APPLIES_FROM and entry.file_size > MAX_RATIO * entry.compress_size:
        return f"grows more than {MAX_RATIO} times when unpacked"
    return None
