"""Whatever a dataset was packed with, readers see the same files under the same names."""

import io
import random
import struct
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.datasets.archives import open_upload, open_version
from app.datasets.archives.entries import CHUNK
from app.errors import Invalid
from tests.datasets.archives.packing import KINDS, pack
from tests.hostile.zips import Member, zip_bytes

MAX_BYTES = 100 * 2**20
FILES = {
    "images/train/a.jpg": random.Random(0).randbytes(3 * CHUNK + 17),
    "images/val/b.jpg": b"",
    "data.yaml": b"names",
}


def _names(path: Path) -> list[str]:
    with open_upload(path, path.parent, MAX_BYTES) as archive:
        return list(archive.files)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_the_same_whatever_they_are_packed_in(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "upload", FILES, kind)
    with open_upload(path, tmp_path, MAX_BYTES) as archive:
        assert list(archive.files.items()) == sorted((name, len(data)) for name, data in FILES.items())
        assert {name: b"".join(archive.chunks(name)) for name in archive.files} == FILES
        assert all(len(chunk) <= CHUNK for chunk in archive.chunks("images/train/a.jpg"))
        assert archive.read("data.yaml", 5) == b"names"
        assert archive.head("images/train/a.jpg", 100) == FILES["images/train/a.jpg"][:100]
        assert archive.head("data.yaml", 100) == b"names"
        with pytest.raises(Invalid, match=r"data.yaml has 5 bytes; at most 4 are allowed"):
            archive.read("data.yaml", 4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_several_threads_read_at_once(kind: str, tmp_path: Path) -> None:
    files = {f"images/{number}.jpg": random.Random(number).randbytes(100_000) for number in range(40)}
    with (
        open_upload(pack(tmp_path / "upload", files, kind), tmp_path, MAX_BYTES) as archive,
        ThreadPoolExecutor(8) as pool,
    ):
        names = [*files, *reversed(files)]
        assert list(pool.map(lambda name: b"".join(archive.chunks(name)), names)) == [files[name] for name in names]


@pytest.mark.parametrize("format", ["v7", "ustar", "oldgnu", "gnu", "pax"])
@pytest.mark.parametrize("compression", ["", "--gzip", "--zstd"])
def test_tar_of_gnu_tar_is_read(format: str, compression: str, tmp_path: Path) -> None:
    source = tmp_path / "source/데이터"
    (source / "images").mkdir(parents=True)
    name = "a" if format in ("v7", "ustar") else "긴 이름 " * 20  # the first two hold no name of 200 bytes
    (source / f"images/{name}.jpg").write_bytes(b"x" * 1000)
    options = [f"--format={format}", *filter(None, [compression]), "-C", str(tmp_path / "source")]
    subprocess.run(["tar", *options, "-cf", str(tmp_path / "upload"), "."], check=True)
    assert _names(tmp_path / "upload") == [f"images/{name}.jpg"]


def test_zip_written_without_seeking_is_read(tmp_path: Path) -> None:
    """Sizes come after the bytes then, as `zip -` and servers write them."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a stream has no position")

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"text" * 100)
        with archive.open("b.txt", "w", force_zip64=True) as file:
            file.write(b"more")
    (tmp_path / "upload").write_bytes(stream.getvalue())
    with open_upload(tmp_path / "upload", tmp_path, MAX_BYTES) as opened:
        assert (opened.read("a.txt", 400), opened.read("b.txt", 4)) == (b"text" * 100, b"more")


@pytest.mark.parametrize("size", [0, 8])
def test_zip_piped_through_info_zip_is_read(size: int, tmp_path: Path) -> None:
    """Its headers know the size where the file's was known, and neither the checksum nor what it packs to."""
    told = {"crc": 0, "packed": 0, "size": size}
    (tmp_path / "upload").write_bytes(zip_bytes(Member(b"a.jpg", flags=0x808, local=told)))
    assert _names(tmp_path / "upload") == ["a.jpg"]


def test_zip64_is_read(tmp_path: Path) -> None:
    numbers = struct.pack("<2H3Q", 1, 24, 8, 8, 0)
    told = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "offset": 0xFFFFFFFF, "extra": b"\x99\x00\x02\x00ab" + numbers}
    (tmp_path / "upload").write_bytes(zip_bytes(Member(b"a.jpg", central=told)))
    with open_upload(tmp_path / "upload", tmp_path, MAX_BYTES) as archive:
        assert archive.read("a.jpg", 8) == b"an image"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["data/a.jpg", "data/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["x/y/z/a.jpg", "x/y/z/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["x/cat/a.jpg", "x/dog/a.jpg"], ["cat/a.jpg", "dog/a.jpg"]),
        (["x/cat/a.jpg", "x/category/a.jpg"], ["cat/a.jpg", "category/a.jpg"]),
        (["x/train/cat/a.jpg", "x/train/dog/a.jpg"], ["train/cat/a.jpg", "train/dog/a.jpg"]),
        (["images/train/a.jpg", "images/val/b.jpg"], ["images/train/a.jpg", "images/val/b.jpg"]),
        (["VOCdevkit/VOC2012/JPEGImages/a.jpg"], ["JPEGImages/a.jpg"]),
        (["coco/train2017/a.jpg"], ["train2017/a.jpg"]),
        (["x/a.jpg", "__MACOSX/x/._a.jpg", ".DS_Store", "x/Thumbs.db"], ["a.jpg"]),
    ],
)
def test_folders_around_everything_and_junk_are_left_out(
    names: list[str], expected: list[str], kind: str, tmp_path: Path
) -> None:
    path = pack(tmp_path / "upload", dict.fromkeys(names, b"x"), kind)
    with open_upload(path, tmp_path, MAX_BYTES) as archive:
        assert (list(archive.files), archive.ignored) == (expected, len(names) - len(expected))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_are_composed_if_they_come_from_a_mac(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "upload", {"\u1112\u1161\u11ab.jpg": b"x", "e\u0301.txt": b"y"}, kind)
    assert _names(path) == ["é.txt", "한.jpg"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("한글/고양이.jpg".encode("cp949"), "고양이.jpg"),
        ("한글/고양이.jpg".encode(), "고양이.jpg"),
        ("café.jpg".encode("cp437"), "café.jpg"),
        (b"plain.jpg", "plain.jpg"),
    ],
)
def test_names_are_understood_if_the_zip_does_not_say_their_encoding(raw: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(zip_bytes(Member(raw, flags=0)))
    assert _names(tmp_path / "upload") == [expected]


def test_names_that_differ_by_case_are_kept_apart(tmp_path: Path) -> None:
    """Annotations name each of them; the version's own names are settled when it is written."""
    path = pack(tmp_path / "upload", {"IMG.JPG": b"x", "img.jpg": b"y", "straße.jpg": b"", "STRASSE.jpg": b""})
    assert _names(path) == ["IMG.JPG", "STRASSE.jpg", "img.jpg", "straße.jpg"]


def test_version_is_opened_as_it_is(tmp_path: Path) -> None:
    files = {f"train/{'c' * 200}/{'d' * 200}/{'e' * 200}.jpg": b"x", "train/.hidden/a.zip": b"y"}
    with open_version(pack(tmp_path / "data.zip", files, "stored zip")) as archive:
        assert {name: archive.read(name, 1) for name in archive.files} == files


def test_unpacking_starts_anew_if_a_process_was_killed(tmp_path: Path) -> None:
    (tmp_path / "unpacked.tar").write_bytes(b"half of it")
    path = pack(tmp_path / "upload", FILES, "tar.gz")
    assert _names(path) == sorted(FILES)
