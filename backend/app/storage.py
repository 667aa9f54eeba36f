"""The only door to objects: a local folder, MinIO or R2 behind one small interface.

Keys are relative, `/`-separated and the same in every store. obstore renames atomically in a local folder but neither
flushes to disk nor sweeps what a crash left half-written, so `_LocalFolder` does both.
"""

import copy
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from app.errors import Invalid, NotFound, StorageUnavailable
from app.settings import Settings

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore.store import ClientConfig, RetryConfig, S3Credential

MEBIBYTE = 2**20
PART_SIZE = 8 * MEBIBYTE
MAX_PARTS = 9_000  # S3 and R2 take 10,000
PARALLEL_PARTS = 4
STREAM_PART_SIZE = 5 * MEBIBYTE  # the smallest that S3 takes: a stream costs as much memory
MAX_KEY_BYTES, MAX_SEGMENT_BYTES = 1024, 240
HALF_WRITTEN_AFTER_SECONDS = 3600
INCOMING = ".incoming"
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
STAGED = re.compile(r".*#\d+")  # how obstore names a file that it has not finished

_PATIENT: "ClientConfig" = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=120),  # one part must be answered within it
    "timeout": timedelta(hours=6),  # one object, however large; a stall ends earlier
}
_RETRIES: "RetryConfig" = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
}
_BRISK: "ClientConfig" = {**_PATIENT, "read_timeout": timedelta(seconds=20)}  # somebody waits for what is read
_FEWER_RETRIES: "RetryConfig" = {**_RETRIES, "retry_timeout": timedelta(seconds=15)}
_BRIEF: "ClientConfig" = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=3),
    "read_timeout": timedelta(seconds=3),
    "timeout": timedelta(seconds=5),
}
_NO_RETRIES: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(seconds=5)}


@dataclass(frozen=True)
class ObjectInfo:
    """`modified` is the store's own clock."""

    key: str
    size: int
    modified: datetime = field(default=datetime.min.replace(tzinfo=UTC), compare=False)


def open_storage(settings: Settings) -> "Storage":
    """The store that STORAGE_TYPE names; a local folder is made, private, and swept."""
    match settings.storage_type:
        case "local":
            folder = _LocalFolder(settings.storage_folder / settings.storage_bucket)
            folder.sweep(now=time.time())
            return folder
        case "minio":
            keys = settings.minio_access_key.get_secret_value(), settings.minio_secret_key.get_secret_value()
            return _Bucket(settings.storage_bucket, settings.minio_endpoint, "us-east-1", keys)
        case "r2":
            keys = settings.r2_access_key_id.get_secret_value(), settings.r2_secret_access_key.get_secret_value()
            return _Bucket(settings.storage_bucket, settings.r2_endpoint, "auto", keys)


def check_key(key: str) -> str:
    """The key itself, or `Invalid`: relative, no empty, hidden or `..` segment, no backslash or control character."""
    reason = _key_problem(key)
    if reason:
        raise Invalid(f"storage key {key!r} {reason}")
    return key


class Storage(ABC):
    """Objects by key. Raises `NotFound` for a missing one and `StorageUnavailable` when the store does not answer."""

    def __init__(self, store: ObjectStore, where: str, writing: ObjectStore | None = None) -> None:
        self._store, self._writing = store, writing or store
        self.where = where

    def put_file(self, key: str, path: Path) -> None:
        """Replace the object with the file's bytes, atomically, in equal parts."""
        self._put(check_key(key), path, _part_size(path.stat().st_size))

    def put_bytes(self, key: str, data: bytes) -> None:
        self._put(check_key(key), data, _part_size(len(data)))

    def put_stream(self, key: str, chunks: Iterator[bytes]) -> None:
        """Replace the object with what the iterator gives, in the memory of one part."""
        self._put(check_key(key), chunks, STREAM_PART_SIZE)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; of several who try, one writes it. False if another did."""
        try:
            with self._translated(check_key(key)):
                obstore.put(self._store, key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def get_bytes(self, key: str) -> bytes:
        with self._translated(check_key(key)):
            return bytes(obstore.get(self._store, key).bytes())

    def download(self, key: str, path: Path) -> None:
        """Write the object to `path`; the file appears complete or not at all."""
        partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
        try:
            with partial.open("wb") as file:
                for chunk in self.stream(key):
                    file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start`, at most `length` of them; a missing object raises here, not at the first chunk."""
        size = self.size(check_key(key))
        if size is None:
            raise NotFound(self._missing(key))
        end = size if length is None else min(size, start + length)
        return self._chunks(key, start, end) if start < end else iter(())

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """The bytes of each (start, length), at once; ranges that lie close together are one request to the store."""
        with self._translated(check_key(key)):
            starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
            return [bytes(found) for found in obstore.get_ranges(self._store, key, starts=starts, lengths=lengths)]

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None where there is no such object."""
        try:
            with self._translated(check_key(key)):
                return int(obstore.head(self._store, key)["size"])
        except NotFound:
            return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object in the folder `prefix`, at any depth; the empty prefix means all."""
        folder = check_key(prefix.rstrip("/")) if prefix else None
        with self._translated(prefix):
            for page in obstore.list(self._store, folder):
                for found in page:
                    if not found["path"].startswith(f"{INCOMING}/"):
                        yield ObjectInfo(found["path"], found["size"], found["last_modified"])

    def delete(self, key: str) -> None:
        """Remove the object; removing what is not there is no error."""
        self._delete([check_key(key)])

    def delete_prefix(self, prefix: str) -> int:
        """Remove every object in the folder `prefix` and say how many there were."""
        check_key(prefix.rstrip("/"))
        keys = [found.key for found in self.list(prefix)]
        for start in range(0, len(keys), 1000):
            self._delete(keys[start : start + 1000])
        return len(keys)

    def unfinished(self) -> Iterator[ObjectInfo]:
        """What writers that died left half written. A bucket hides it, and removes it by its own rules."""
        return iter(())

    def discard(self, key: str) -> None:
        """Remove what is unfinished."""
        raise NotFound(self._missing(key))

    def impatient(self) -> "Storage":
        """The same objects, for questions that must be answered within seconds or not at all."""
        return self

    @abstractmethod
    def check(self) -> None:
        """Return at once if the store answers, else raise `StorageUnavailable` within seconds."""

    def _put(self, key: str, source: Path | bytes | Iterator[bytes], part_size: int) -> None:
        parallel = 1 if isinstance(source, Iterator) else PARALLEL_PARTS
        with self._translated(key):
            obstore.put(self._writing, key, source, chunk_size=part_size, max_concurrency=parallel)

    def _chunks(self, key: str, start: int, end: int) -> Iterator[bytes]:
        with self._translated(key):
            for chunk in obstore.get(self._store, key, options={"range": (start, end)}).stream(MEBIBYTE):
                yield bytes(chunk)

    def _delete(self, keys: Sequence[str]) -> None:
        with self._translated(keys[0]), suppress(FileNotFoundError):
            obstore.delete(self._writing, keys)

    def _missing(self, key: str) -> str:
        return f"object {key!r} is not in {self.where}"

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(self._missing(key)) from error
        except AlreadyExistsError as error:
            raise FileExistsError(f"object {key!r} is in {self.where} already") from error
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"{self.where} refused {key!r}: {_reason(error)}") from error


class _Bucket(Storage):
    """A bucket behind the S3 protocol, path addressing. Nothing is taken from AWS_… variables of the machine."""

    def __init__(self, bucket: str, endpoint: str, region: str, keys: tuple[str, str]) -> None:
        self._open: Callable[[ClientConfig, RetryConfig], S3Store] = lambda client, retry: S3Store(
            bucket,
            endpoint=endpoint,
            aws_endpoint_url_s3=endpoint,
            region=region,
            virtual_hosted_style_request=False,
            skip_signature=False,
            disable_tagging=True,
            client_options=client,
            retry_config=retry,
            credential_provider=lambda: _credential(keys),
        )
        where, writing = f"bucket {bucket!r} at {endpoint}", self._open(_PATIENT, _RETRIES)
        super().__init__(self._open(_BRISK, _FEWER_RETRIES), where, writing)

    def impatient(self) -> Storage:
        other = copy.copy(self)
        other._store = other._writing = self._open(_BRIEF, _NO_RETRIES)
        return other

    def check(self) -> None:
        brief = self._open(_BRIEF, _NO_RETRIES)
        try:
            next(iter(obstore.list(brief, "installation")), None)
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"{self.where} does not answer as it should: {_reason(error)}") from error


class _LocalFolder(Storage):
    """A folder that only its owner can read. What `put` returned from is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(LocalStore(self.folder, automatic_cleanup=True), f"folder {str(self.folder)!r}")

    def check(self) -> None:
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise StorageUnavailable(f"{self.where} is missing or not writable")

    def sweep(self, now: float) -> int:
        """Remove what a crash left half-written; a younger file may belong to a trainer that still writes."""
        old = [found for found in self.unfinished() if now - found.modified.timestamp() > HALF_WRITTEN_AFTER_SECONDS]
        for found in old:
            self.discard(found.key)
        return len(old)

    def unfinished(self) -> Iterator[ObjectInfo]:
        for path in list(self.folder.rglob("*")):
            with suppress(FileNotFoundError):
                if (path.parent.name == INCOMING or STAGED.fullmatch(path.name)) and path.is_file():
                    info, key = path.stat(), path.relative_to(self.folder).as_posix()
                    yield ObjectInfo(key, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC))

    def discard(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            written = super().put_new(key, data)
        except StorageUnavailable:  # a file system without hard links, such as exFAT
            written = self.size(key) is None
            if written:
                self.put_bytes(key, data)
        with self._translated(key):
            _flush(self.folder / key)
        self._flush_names(key)
        return written

    def _put(self, key: str, source: Path | bytes | Iterator[bytes], part_size: int) -> None:
        incoming = f"{INCOMING}/{uuid4().hex}"
        try:
            super()._put(incoming, source, part_size)
            with self._translated(key):
                _flush(self.folder / incoming)
                obstore.rename(self._store, incoming, key)
            self._flush_names(key)
        except BaseException:
            with suppress(OSError):  # the folder may be away as a whole: that is what is raised
                (self.folder / incoming).unlink()
            raise

    def _flush_names(self, key: str) -> None:
        with self._translated(key):
            for folder in Path(key).parents:
                _flush(self.folder / folder)


def _key_problem(key: str) -> str | None:
    if FORBIDDEN.search(key):
        return "holds a backslash, a control character or half a surrogate pair"
    if not key or len(key.encode()) > MAX_KEY_BYTES:
        return f"has {len(key.encode())} bytes; use 1 to {MAX_KEY_BYTES}"
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            return "is not relative or has an empty, '.' or '..' segment"
        if segment.startswith(".") or STAGED.fullmatch(segment):
            return f"has a segment {segment!r} that is hidden or ends in '#' and digits"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"has a segment of more than {MAX_SEGMENT_BYTES} bytes"
    return None


def _part_size(size: int) -> int:
    """Equal parts, as R2 wants them, and never too many."""
    return max(PART_SIZE, -(-size // MAX_PARTS // MEBIBYTE) * MEBIBYTE)


def _credential(keys: tuple[str, str]) -> "S3Credential":
    return {"access_key_id": keys[0], "secret_access_key": keys[1], "token": None, "expires_at": None}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    """The server's own code and message where it gave them, else the first line of what obstore says."""
    answer = re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", str(error), re.DOTALL)
    return f"{answer[1]}: {answer[2]}" if answer else str(error).partition("\n")[0][:300]
