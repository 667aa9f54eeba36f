"""Zips that lie, bomb or lead elsewhere are refused by entry, before they cost anything."""

import stat
import struct
from pathlib import Path

import pytest

from app.datasets.archives import listing, open_upload, zip
from app.errors import AppError, Invalid, TooLarge
from tests.hostile import zips
from tests.hostile.opening import MAX_BYTES, open_in_child, read_all
from tests.hostile.zips import DEFLATED, Member, zip_bytes

MEMORY_CAP = 32 * 2**20
IMAGES = (Member(), Member(b"images/train/b.jpg", b"another " * 500, DEFLATED), Member(b"labels/train/a.txt", b""))


def _refused(data: bytes, tmp_path: Path, problem: str, error: type[AppError] = Invalid) -> None:
    path = tmp_path / "upload"
    path.write_bytes(data)
    with pytest.raises(error, match=problem):
        read_all(path)


def test_honest_zip_is_read(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(zip_bytes(*IMAGES, comment=b"made by hand"))
    assert read_all(tmp_path / "upload") == {member.name.decode(): member.data for member in IMAGES}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"../evil.jpg", "'..' part"),
        (b"images/../../evil.jpg", "'..' part"),
        (b"images/..", "'..' part"),
        (b"../", "'..' part"),
        (b"/etc/passwd", "is absolute"),
        (b"//host/share.jpg", "is absolute"),
        (b"C:/evil.jpg", "is absolute"),
        (b"c:evil.jpg", "is absolute"),
        (b"", "has an empty"),
        (b"a//b.jpg", "has an empty"),
        (b"a/./b.jpg", "'.' or"),
        (b"a\\..\\b.jpg", "has a backslash"),
        (b"\\\\host\\share.jpg", "has a backslash"),
        (b"a.jpg\0.exe", "control character"),
        (b"a\nb.jpg", "control character"),
        (b"a\x1b[2Jb.jpg", "control character"),
        ("a\u2028b.jpg".encode(), "control character"),
        (b"\xff\xfe.jpg", "not the UTF-8"),
        (b"\xed\xa0\x80.jpg", "not the UTF-8"),
        (b"x" * 241, "of more than 480 bytes, or a part of it more than 240"),
        (b"x/" * 2000 + b"a.jpg", "of more than 480 bytes"),
        (b"x" * 4096, "of more than 480 bytes"),
        (b"x" * 65535, "of more than 480 bytes"),
    ],
)
def test_entry_is_refused_if_its_name_is_hostile(name: bytes, problem: str, tmp_path: Path) -> None:
    _refused(zip_bytes(Member(name)), tmp_path, problem)


def test_message_stays_short_if_the_name_is_long(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(zip_bytes(Member(b"x" * 65535)))
    with pytest.raises(Invalid) as refused:
        read_all(tmp_path / "upload")
    assert len(refused.value.message) < 400
    assert len(refused.value.details["entry"]) <= 120


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_entry_is_refused_if_it_is_no_plain_file(kind: int, tmp_path: Path) -> None:
    _refused(zip_bytes(Member(data=b"/etc/passwd", mode=kind | 0o777)), tmp_path, "is a link or a device")


@pytest.mark.parametrize("flags", [0x801, 0x840, 0x2800])
def test_entry_is_refused_if_it_is_encrypted(flags: int, tmp_path: Path) -> None:
    _refused(zip_bytes(Member(flags=flags)), tmp_path, "is encrypted; pack it without a password")


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99, 65535])
def test_entry_is_refused_if_its_method_is_unusual(method: int, tmp_path: Path) -> None:
    _refused(zip_bytes(Member(method=method)), tmp_path, f"method {method}; use stored")


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a.jpg", "a.jpg", "is in the archive twice"),
        ("한글.jpg", "\u1112\u1161\u11ab\u1100\u1173\u11af.jpg", "is in the archive twice"),
        ("é.jpg", "e\u0301.jpg", "is in the archive twice"),
        ("a", "a/b.jpg", "both a file and a folder"),
        ("a/b", "a/b/c/d.jpg", "both a file and a folder"),
        ("a", "a/", "both a file and a folder"),
    ],
)
def test_entry_is_refused_if_another_has_its_name(first: str, second: str, problem: str, tmp_path: Path) -> None:
    members = [Member(name.encode(), b"") for name in (first, second)]
    _refused(zip_bytes(*members), tmp_path, problem)
    _refused(zip_bytes(*reversed(members)), tmp_path, problem)


@pytest.mark.parametrize(
    "local",
    [
        {"name": b"images/train/b.jpg"},
        {"name": b"../../etc/passwd"},
        {"method": DEFLATED},
        {"flags": 0x801},
        {"size": 9},
        {"packed": 7},
        {"crc": 1},
        {"crc": 0, "packed": 0, "size": 0},
        {"crc": 0, "packed": 0, "size": 9, "flags": 0x808},
        {"crc": 1, "packed": 0, "size": 0, "flags": 0x808},
        {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF},
        {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": struct.pack("<2H2Q", 1, 16, 9, 9)},
    ],
)
def test_entry_is_refused_if_its_header_disagrees_with_the_directory(local: dict[str, object], tmp_path: Path) -> None:
    _refused(zip_bytes(Member(local=local)), tmp_path, "tells another name or size|zip64 field is too short")


@pytest.mark.parametrize("method", [zips.STORED, DEFLATED])
@pytest.mark.parametrize("size", [0, 7, 9, 2**20])
def test_entry_is_refused_if_its_size_is_a_lie(size: int, method: int, tmp_path: Path) -> None:
    lie = {"size": size}
    problem = "is stored, yet has" if method == zips.STORED else "is damaged in the archive"
    _refused(zip_bytes(Member(method=method, local=lie, central=lie)), tmp_path, problem)


@pytest.mark.parametrize("method", [zips.STORED, DEFLATED])
def test_entry_is_refused_if_its_checksum_is_wrong(method: int, tmp_path: Path) -> None:
    lie = {"crc": 1}
    member = Member(method=method, local=lie, central=lie)
    _refused(zip_bytes(member), tmp_path, "a.jpg is damaged in the archive: its checksum is wrong; pack and send")


@pytest.mark.parametrize("change", [-1, 1])
def test_entry_is_refused_if_its_packed_size_is_a_lie(change: int, tmp_path: Path) -> None:
    honest = Member(method=DEFLATED)
    lie = {"packed": len(honest.packed) + change}
    members = (Member(method=DEFLATED, local=lie, central=lie), Member(b"b.jpg"))
    _refused(zip_bytes(*members), tmp_path, "overlaps|is damaged in the archive")


@pytest.mark.parametrize("offset", [1, 8, 10_000, 0xFFFFFFFE])
def test_entry_is_refused_if_it_does_not_begin_where_it_should(offset: int, tmp_path: Path) -> None:
    member = Member(central={"offset": offset})
    _refused(zip_bytes(member), tmp_path, "does not begin where the directory says")


def test_entry_is_refused_if_its_zip64_offset_is_beyond_every_file(tmp_path: Path) -> None:
    lie = {"offset": 0xFFFFFFFF, "extra": struct.pack("<2HQ", 1, 8, 2**63 - 1)}
    _refused(zip_bytes(Member(central=lie)), tmp_path, "does not begin where the directory says")


def test_entry_is_refused_if_it_reaches_into_the_directory(tmp_path: Path) -> None:
    lie = {"packed": 20, "size": 20}
    _refused(zip_bytes(Member(local=lie, central=lie)), tmp_path, "overlaps another entry")


def test_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    _refused(zip_bytes(Member(data=bytes(4 * 2**20), method=DEFLATED)), tmp_path, "grows more than 200 times")


def test_bomb_is_refused_by_its_size_together(tmp_path: Path) -> None:
    lie = {"size": MAX_BYTES // 64, "packed": MAX_BYTES // 64}  # the first 64 are what is allowed, and are not there
    members = [Member(b"%d.jpg" % number, local=lie, central=lie) for number in range(65)]
    _refused(zip_bytes(*members), tmp_path, r"more than 67108864 bytes when unpacked \(MAX_DATASET_BYTES\)", TooLarge)


def test_bomb_is_refused_if_its_entries_quote_each_other(tmp_path: Path) -> None:
    _refused(zips.quoting(), tmp_path, "overlaps another entry")


def test_bomb_is_refused_if_its_entries_share_one_file(tmp_path: Path) -> None:
    _refused(zips.overlapping(), tmp_path, "is in the archive twice")


def test_bomb_is_refused_if_it_is_an_archive_of_archives(tmp_path: Path) -> None:
    bomb = zip_bytes(Member(data=bytes(2**20), method=DEFLATED))
    for _ in range(3):
        bomb = zip_bytes(*(Member(b"%d.zip" % number, bomb, DEFLATED) for number in range(8)))
    _refused(bomb, tmp_path, "is an archive within the archive; unpack it")


def test_nested_archive_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(zip_bytes(Member(), Member(b"more.tar.gz"), Member(b"42.zip")))
    with open_upload(tmp_path / "upload", tmp_path, MAX_BYTES) as archive:
        assert (list(archive.files), archive.ignored) == (["images/train/a.jpg"], 2)


def test_bomb_is_refused_by_its_count_before_its_directory_is_read(tmp_path: Path) -> None:
    opened = open_in_child(zips.million_empty(tmp_path / "upload"))
    assert opened.code == "TOO_LARGE"
    assert "has 1000000 entries; at most 500000" in opened.message
    assert opened.grown_bytes < MEMORY_CAP


@pytest.mark.slow
def test_memory_is_bounded_if_there_are_as_many_entries_as_allowed(tmp_path: Path) -> None:
    opened = open_in_child(zips.million_empty(tmp_path / "upload", count=listing.MAX_ENTRIES))
    assert (opened.files, opened.message) == (listing.MAX_ENTRIES, "")
    assert opened.grown_bytes < 300 * 2**20


def test_bomb_is_refused_if_its_end_record_hides_the_count(tmp_path: Path) -> None:
    path = zips.million_empty(tmp_path / "upload", count=300_000)
    data = path.read_bytes()
    length, offset = struct.unpack_from("<2Q", data, len(data) - 22 - 20 - 16)
    path.write_bytes(data[: offset + length] + zips.zip64_end(1, length, offset))
    opened = open_in_child(path)
    assert (opened.code, "directory is damaged" in opened.message) == ("INVALID", True)
    assert opened.grown_bytes < MEMORY_CAP


@pytest.mark.parametrize("length", [zip.MAX_DIRECTORY_BYTES + 1, 2**63])
def test_bomb_is_refused_by_the_length_of_its_directory(length: int, tmp_path: Path) -> None:
    _refused(zips.zip64_end(1, length, 0), tmp_path, "zip64 records are damaged|no archive of a known kind")
    data = b"PK\3\4" + zips.zip64_end(1, length, 4).replace(struct.pack("<Q", 4 + length), struct.pack("<Q", 4))
    _refused(data, tmp_path, "the archive's directory has", TooLarge)


def test_bomb_is_refused_by_its_count_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 2)
    _refused(zip_bytes(*IMAGES), tmp_path, "more than 2 entries", TooLarge)


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        ({"disk": 1}, "one part of several"),
        ({"count": 1}, "directory is damaged"),
        ({"count": 4}, "directory is damaged"),
        ({"length": 46}, "is not where its end record says"),
        ({"offset": 0}, "is not where its end record says"),
        ({"comment_length": 7}, "bytes after its end record"),
        ({"count": 0xFFFF}, "zip64 records are damaged"),
        ({"offset": 0xFFFFFFFF}, "zip64 records are damaged"),
    ],
)
def test_zip_is_refused_if_its_end_record_lies(end: dict[str, int], problem: str, tmp_path: Path) -> None:
    _refused(zip_bytes(*IMAGES, end=end), tmp_path, problem)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (zip_bytes(*IMAGES) + b"tail", "bytes after its end record"),
        (zip_bytes(*IMAGES, comment=zip_bytes(Member(b"other.jpg"))), "bytes after|is not where"),
        (b"PK" + zip_bytes(*IMAGES), "is not where its end record says"),
        (b"PK\3\4" + bytes(100), "has no end record"),
        (b"PK\5\6", "has no end record"),
        (zips.end_record(0, 0, 0), "has no files"),
        (zip_bytes(Member(b"images/", b"")), "has no files"),
        (zip_bytes(Member(b"images/", b"x")), "is a folder of 1 bytes"),
        (zip_bytes(Member(b"__MACOSX/a.jpg"), Member(b".DS_Store")), "has no files"),
    ],
)
def test_zip_is_refused_if_it_is_not_one_whole_archive(data: bytes, problem: str, tmp_path: Path) -> None:
    _refused(data, tmp_path, problem)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_zip_is_refused_if_it_was_cut_off(share: float, tmp_path: Path) -> None:
    whole = zip_bytes(*IMAGES)
    _refused(whole[: int(len(whole) * share)], tmp_path, "has no end record: it was cut off")


def test_zip_never_crashes_the_reader_if_a_byte_of_it_is_wrong(tmp_path: Path) -> None:
    """It is refused, or reads as it was: dates and attributes are not looked at."""
    whole, expected = zip_bytes(*IMAGES), {member.name.decode(): member.data for member in IMAGES}
    path, different = tmp_path / "upload", 0
    for position in range(len(whole)):
        path.write_bytes(zips.flipped(whole, position))
        try:
            different += read_all(path) != expected
        except AppError:
            continue
    assert different == 0
