"""Storage against a local folder and against a real S3 server, with `minio` and with `r2` settings."""

import hashlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import storage as storage_module
from app.errors import Invalid, NotFound, StorageUnavailable
from app.settings import Settings
from app.storage import PART_SIZE, ObjectInfo, Storage, check_key, open_storage
from tests.s3 import S3Server, s3_server

BUCKET = "vision"


@pytest.fixture(scope="module")
def minio_server() -> Iterator[S3Server]:
    with s3_server("us-east-1", BUCKET) as server:
        yield server


@pytest.fixture(scope="module")
def r2_server() -> Iterator[S3Server]:
    with s3_server("auto", BUCKET) as server:
        yield server


@pytest.fixture(params=["local", "minio", "r2"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(_local(tmp_path))
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    found = open_storage(server.settings(request.param, BUCKET))
    for entry in found.list(""):
        found.delete(entry.key)
    return found


def _local(tmp_path: Path) -> Settings:
    values: dict[str, Any] = {"_env_file": None, "storage_bucket": BUCKET, "storage_path": tmp_path / "storage"}
    return Settings(**values)


def _local_storage(tmp_path: Path) -> tuple[Storage, Path]:
    return open_storage(_local(tmp_path)), tmp_path / "storage" / BUCKET


def _age(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


# every store


def test_bytes_come_back_as_they_were_put(storage: Storage) -> None:
    storage.put_bytes("folder/한글 x+y%20.txt", b"hello")
    assert storage.get_bytes("folder/한글 x+y%20.txt") == b"hello"
    assert list(storage.list("folder")) == [ObjectInfo("folder/한글 x+y%20.txt", 5)]


def test_object_is_replaced_if_put_again(storage: Storage) -> None:
    storage.put_bytes("pointer.json", b"a longer first one")
    storage.put_bytes("pointer.json", b"second")
    assert storage.get_bytes("pointer.json") == b"second"


def test_new_object_is_written_once(storage: Storage) -> None:
    assert storage.put_new("claims/one.json", b"first")
    assert not storage.put_new("claims/one.json", b"second")
    assert storage.get_bytes("claims/one.json") == b"first"


@pytest.mark.parametrize("size", [0, 1, 12 * 2**20])
def test_stream_is_stored_whole(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    storage.put_stream("stream", (data[start : start + 100_000] for start in range(0, size, 100_000)))
    assert hashlib.sha256(storage.get_bytes("stream")).digest() == hashlib.sha256(data).digest()


def test_nothing_is_stored_if_the_stream_breaks(storage: Storage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 6 * 2**20
        raise OSError("the disk does not answer")

    with pytest.raises(StorageUnavailable):
        storage.put_stream("stream", broken())
    assert storage.size("stream") is None


def test_age_is_told(storage: Storage) -> None:
    storage.put_bytes("folder/key", b"x")
    [found] = storage.list("folder")
    assert abs((found.modified - datetime.now(UTC)).total_seconds()) < 60


def test_impatient_storage_has_the_same_objects(storage: Storage) -> None:
    storage.put_bytes("key", b"x")
    assert storage.impatient().get_bytes("key") == b"x"


def test_empty_object_is_an_object(storage: Storage) -> None:
    storage.put_bytes("empty", b"")
    assert (storage.size("empty"), storage.get_bytes("empty"), list(storage.stream("empty"))) == (0, b"", [])


def test_ranges_come_back_in_their_order_if_read_at_once(storage: Storage) -> None:
    data = os.urandom(3 * 2**20)
    storage.put_bytes("archive.zip", data)
    ranges = [(2**21, 5), (0, 10), (8, 4), (3 * 2**20 - 1, 1)]
    assert storage.read_ranges("archive.zip", ranges) == [data[start : start + length] for start, length in ranges]


def test_ranges_are_not_found_if_the_object_is_missing(storage: Storage) -> None:
    with pytest.raises(NotFound, match=r"'archive\.zip'"):
        storage.read_ranges("archive.zip", [(0, 1)])


def test_file_of_many_parts_is_streamed_back_whole_and_in_ranges(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(2 * PART_SIZE + 5)
    (tmp_path / "source").write_bytes(data)
    storage.put_file("big/file.bin", tmp_path / "source")
    assert storage.size("big/file.bin") == len(data)
    assert hashlib.sha256(b"".join(storage.stream("big/file.bin"))).digest() == hashlib.sha256(data).digest()
    assert b"".join(storage.stream("big/file.bin", PART_SIZE - 2, 4)) == data[PART_SIZE - 2 : PART_SIZE + 2]
    assert b"".join(storage.stream("big/file.bin", 2 * PART_SIZE, 1000)) == data[-5:]
    assert list(storage.stream("big/file.bin", len(data) + 1)) == []


def test_download_leaves_one_complete_file(storage: Storage, tmp_path: Path) -> None:
    storage.put_bytes("weights/yolo/yolo11n.pt", b"weights")
    storage.download("weights/yolo/yolo11n.pt", tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == b"weights"
    assert list(tmp_path.glob("*.part")) == []


def test_download_leaves_nothing_if_the_object_is_missing(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        storage.download("weights/none.pt", tmp_path / "w.pt")
    assert list(tmp_path.glob("w.pt*")) == []


def test_missing_object_is_named(storage: Storage) -> None:
    assert storage.size("none/here") is None
    with pytest.raises(NotFound, match="'none/here'"):
        storage.get_bytes("none/here")
    with pytest.raises(NotFound, match="'none/here'"):
        storage.stream("none/here")


def test_prefix_is_a_folder_and_not_the_beginning_of_a_name(storage: Storage) -> None:
    for key in ("jobs/job-1/a", "jobs/job-1/b/c", "jobs/job-10/a"):
        storage.put_bytes(key, b"x")
    assert storage.delete_prefix("jobs/job-1/") == 2
    assert [found.key for found in storage.list("")] == ["jobs/job-10/a"]


def test_nothing_is_deleted_if_there_is_nothing(storage: Storage) -> None:
    storage.delete("none/here")
    assert storage.delete_prefix("none") == 0


def test_whole_bucket_is_never_a_prefix_to_delete(storage: Storage) -> None:
    with pytest.raises(Invalid):
        storage.delete_prefix("/")


def test_check_passes_if_the_store_answers(storage: Storage) -> None:
    storage.check()


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "a\0b",
            "a\nb",
            ".incoming/x",
            "a/.b",
        ),
        *("a#1", "a#1/b", "x" * 241, "a/" * 600 + "b"),
    ],
)
def test_key_is_refused_if_it_could_leave_its_place(key: str, tmp_path: Path) -> None:
    storage, _ = _local_storage(tmp_path)
    with pytest.raises(Invalid):
        check_key(key)
    with pytest.raises(Invalid):
        storage.put_bytes(key, b"x")
    with pytest.raises(Invalid):
        storage.stream(key)


# the local folder


def test_local_folder_is_private(tmp_path: Path) -> None:
    _, folder = _local_storage(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_local_put_flushes_the_file_before_it_is_named_and_each_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, folder = _local_storage(tmp_path)
    flushed: list[tuple[Path, bool]] = []

    def record(descriptor: int) -> None:
        flushed.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")), (folder / "a/b/c").exists()))

    monkeypatch.setattr(os, "fsync", record)
    storage.put_bytes("a/b/c", b"x")
    (first, named), *rest = flushed
    assert (first.parent.name, named) == (storage_module.INCOMING, False)
    assert rest == [(folder / "a/b", True), (folder / "a", True), (folder, True)]


def test_local_object_survives_if_its_replacement_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, folder = _local_storage(tmp_path)
    storage.put_bytes("pointer", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        storage.put_bytes("pointer", b"new")
    assert storage.get_bytes("pointer") == b"old"
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "pointer"]


def test_local_sweep_removes_old_half_written_files_alone(tmp_path: Path) -> None:
    storage, folder = _local_storage(tmp_path)
    storage.put_bytes("checkpoints/job-1/last.json", b"{}")
    _age(folder / "checkpoints/job-1/last.json", 10**6)
    (folder / ".incoming").mkdir(exist_ok=True)
    half_written = [folder / "checkpoints/job-1/best.pt#1", folder / ".incoming" / "0f"]
    fresh = folder / "checkpoints/job-1/last.pt#2"
    for path in [*half_written, fresh]:
        path.write_bytes(b"half")
    for path in half_written:
        _age(path, storage_module.HALF_WRITTEN_AFTER_SECONDS + 5)
    open_storage(_local(tmp_path))
    assert [path.exists() for path in half_written] == [False, False]
    assert fresh.exists()
    assert [found.key for found in storage.list("")] == ["checkpoints/job-1/last.json"]


def test_local_check_names_the_folder_if_it_is_gone(tmp_path: Path) -> None:
    storage, folder = _local_storage(tmp_path)
    folder.rmdir()
    with pytest.raises(StorageUnavailable, match=str(folder)):
        storage.check()


# S3


@pytest.mark.parametrize("storage_type", ["minio", "r2"])
def test_boto3_reads_equal_parts_of_what_was_written(
    storage_type: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: S3Server = request.getfixturevalue(f"{storage_type}_server")
    data = os.urandom(3 * PART_SIZE + 7)
    (tmp_path / "source").write_bytes(data)
    open_storage(server.settings(storage_type, BUCKET)).put_file("datasets/ds-1/1/data.zip", tmp_path / "source")
    witness = server.witness()
    read = witness.get_object(Bucket=BUCKET, Key="datasets/ds-1/1/data.zip")["Body"].read()
    parts = [
        witness.head_object(Bucket=BUCKET, Key="datasets/ds-1/1/data.zip", PartNumber=number)["ContentLength"]
        for number in (1, 2, 3, 4)
    ]
    assert read == data
    assert parts == [PART_SIZE, PART_SIZE, PART_SIZE, 7]


@pytest.mark.parametrize("storage_type", ["minio", "r2"])
def test_objects_of_boto3_are_read_and_deleted(storage_type: str, request: pytest.FixtureRequest) -> None:
    server: S3Server = request.getfixturevalue(f"{storage_type}_server")
    storage, witness = open_storage(server.settings(storage_type, BUCKET)), server.witness()
    witness.put_object(Bucket=BUCKET, Key="theirs/한 글.txt", Body=b"hello")
    assert storage.get_bytes("theirs/한 글.txt") == b"hello"
    assert storage.delete_prefix("theirs") == 1
    assert witness.list_objects_v2(Bucket=BUCKET, Prefix="theirs/")["KeyCount"] == 0


def test_variables_of_the_machine_are_ignored(minio_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_SESSION_TOKEN": "stray", "AWS_ACCESS_KEY_ID": "stray"}
    stray |= {"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "eu-north-1", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    storage = open_storage(minio_server.settings("minio", BUCKET))
    storage.put_bytes("plain", b"x")
    assert storage.get_bytes("plain") == b"x"


def test_store_is_unavailable_if_the_secret_is_wrong(minio_server: S3Server) -> None:
    storage = open_storage(minio_server.settings("minio", BUCKET, minio_secret_key="wrong"))
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch"):
        storage.check()
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch"):
        storage.put_bytes("a", b"x")


def test_store_is_unavailable_if_the_bucket_is_missing(minio_server: S3Server) -> None:
    with pytest.raises(StorageUnavailable, match="'no-such' at http"):
        open_storage(minio_server.settings("minio", "no-such")).check()


def test_check_gives_up_within_seconds_if_the_server_is_silent(minio_server: S3Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        storage = open_storage(minio_server.settings("minio", BUCKET, minio_endpoint=endpoint))
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            storage.check()
        assert time.monotonic() - began < 15
