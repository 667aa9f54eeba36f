"""Hostile and damaged archives are refused by name; nothing outside is touched."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from app.errors import AppError, Invalid, TooLarge
from app.services.datasets import archive as archive_module
from app.services.datasets.archive import open_archive
from tests.services.datasets.zips import write_zip, yolo_files

MAX_BYTES = 10 * 2**20


def _open(path: Path, max_bytes: int = MAX_BYTES) -> list[str]:
    with open_archive(path, max_bytes) as archive:
        return list(archive.files)


def _write_entry(path: Path, entry: zipfile.ZipInfo, data: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, data)
    return path


def test_plain_archive_gives_its_files_without_folders(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"images/": b"", "images/train/a.jpg": b"x", "data.yaml": b"y"})
    with open_archive(path, MAX_BYTES) as archive:
        assert list(archive.files) == ["images/train/a.jpg", "data.yaml"]
        assert archive.read("data.yaml", 10) == b"y"
        with pytest.raises(Invalid, match="at most 0"):
            archive.read("data.yaml", 0)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.jpg", "images/../../evil.jpg", "/etc/passwd", "C:/evil.jpg", "a\\..\\b.jpg", "a//b.jpg", "./a.jpg"),
        *("a\nb.jpg", "x" * 241, "a/" * 450 + "b"),
    ],
)
def test_entry_is_refused_if_its_name_could_lead_out(name: str, tmp_path: Path) -> None:
    path = _write_entry(tmp_path / "a.zip", zipfile.ZipInfo(name))
    with pytest.raises(Invalid, match="archive entry"):
        _open(path)


def test_entry_is_refused_if_its_name_hides_behind_a_nul(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg_.exe": b"x"})
    path.write_bytes(path.read_bytes().replace(b"a.jpg_.exe", b"a.jpg\0.exe"))
    with pytest.raises(Invalid, match="control character"):
        _open(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_entry_is_refused_if_it_is_not_a_plain_file(kind: int, tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("images/train/a.jpg")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    with pytest.raises(Invalid, match="link or a device"):
        _open(_write_entry(tmp_path / "a.zip", entry, b"/etc/passwd"))


def test_entry_is_refused_if_it_is_encrypted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(Invalid, match="encrypted"):
        _open(path)


def test_entry_is_refused_if_its_method_is_unusual(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="compression method 12; use stored or deflated"):
        _open(write_zip(tmp_path / "a.zip", {"a.jpg": b"x"}, zipfile.ZIP_BZIP2))


def test_entry_is_refused_if_it_is_there_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"y")
    with pytest.raises(Invalid, match=r"'a.jpg' is in the archive twice"):
        _open(tmp_path / "a.zip")


def test_entry_is_refused_if_it_is_a_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="both a file and the folder"):
        _open(write_zip(tmp_path / "a.zip", {"a/b": b"x", "a/b/c/d": b"y"}))


def test_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="grows more than 200 times"):
        _open(write_zip(tmp_path / "a.zip", {"a.bmp": bytes(4 * 2**20)}))


def test_bomb_is_refused_by_its_size_together(tmp_path: Path) -> None:
    files = {f"{number}.jpg": bytes(2**19) for number in range(3)}
    with pytest.raises(TooLarge, match="more than 1048576 bytes when unpacked"):
        _open(write_zip(tmp_path / "a.zip", files), max_bytes=2**20)


def test_bomb_is_refused_by_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_ENTRIES", 2)
    with pytest.raises(TooLarge, match="has 3 entries"):
        _open(write_zip(tmp_path / "a.zip", {"a": b"", "b": b"", "c": b""}))


def test_bomb_is_refused_by_its_directory_before_that_is_read(tmp_path: Path) -> None:
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, archive_module.MAX_DIRECTORY_BYTES + 1, 0, 0)
    (tmp_path / "a.zip").write_bytes(end)
    with pytest.raises(TooLarge, match="directory has"):
        _open(tmp_path / "a.zip")


def test_bomb_is_refused_by_its_zip64_directory_before_that_is_read(tmp_path: Path) -> None:
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, archive_module.MAX_DIRECTORY_BYTES + 1, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.zip").write_bytes(end64 + locator + end)
    with pytest.raises(TooLarge, match="directory has"):
        _open(tmp_path / "a.zip")


def test_file_gives_no_more_than_the_directory_says(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"y" * 1000})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    with open_archive(path, MAX_BYTES) as archive, pytest.raises(Invalid, match=r"a.jpg is damaged"):
        archive.read("a.jpg", 2**20)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\5\6", b"PK\3\4" + bytes(100)])
def test_upload_is_refused_if_it_is_no_zip(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(Invalid, match="not a"):
        _open(tmp_path / "a.zip")


def test_upload_is_refused_and_never_crashes_if_it_is_damaged_anywhere(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", yolo_files())
    good = path.read_bytes()
    for position in range(len(good)):
        data = bytearray(good)
        data[position] ^= 0xFF
        path.write_bytes(data)
        try:
            with open_archive(path, MAX_BYTES) as archive:
                for name in archive.files:
                    archive.read(name, 2**20)
        except AppError:
            continue


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_upload_is_refused_if_it_was_cut_off(share: float, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", yolo_files())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(Invalid, match="not a"):
        _open(path)
