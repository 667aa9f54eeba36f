"""Tars that lie, bomb, point elsewhere or are no files are refused by member; so is what hides in their compression."""

import gzip
from pathlib import Path

import pytest
import zstandard

from app.datasets.archives import listing, open_upload
from app.errors import AppError, Invalid, TooLarge
from tests.hostile import tars
from tests.hostile.opening import MAX_BYTES, open_in_child, read_all
from tests.hostile.tars import END, FOLDER, IMAGE, compressions, header, member, padded, pax
from tests.hostile.zips import flipped

MEMORY_CAP = 32 * 2**20
FILES = {"images/train/a.jpg": b"an image", "images/train/b.jpg": b"another " * 200, "labels/train/a.txt": b""}
WHOLE = member(b"./", b"", FOLDER) + b"".join(member(b"./" + name.encode(), data) for name, data in FILES.items()) + END


def _refused(data: bytes, tmp_path: Path, problem: str, error: type[AppError] = Invalid) -> None:
    """Compressed or not; and what was unpacked is gone."""
    for kind, packed in compressions(data):
        path = tmp_path / kind
        path.write_bytes(packed)
        with pytest.raises(error, match=problem):
            read_all(path)
        path.unlink()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
def test_honest_tar_is_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(dict(compressions(WHOLE))[kind])
    assert read_all(tmp_path / "upload") == FILES


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"../evil.jpg", "'..' part"),
        (b"./../evil.jpg", "'..' part"),
        (b"images/../../evil.jpg", "'..' part"),
        (b"/etc/passwd", "is absolute"),
        (b".//etc/passwd", "is absolute"),
        (b"C:/evil.jpg", "is absolute"),
        (b"a\\..\\b.jpg", "has a backslash"),
        (b"a\nb.jpg", "control character"),
        (b"", "has an empty"),
    ],
)
def test_member_is_refused_if_its_name_is_hostile(name: bytes, problem: str, tmp_path: Path) -> None:
    _refused(member(name) + END, tmp_path, problem)
    if name:  # an empty one in an extension header means: none
        _refused(pax({"path": name}) + member() + END, tmp_path, problem)
        _refused(member(b"././@LongLink", name + b"\0", b"L") + member() + END, tmp_path, problem)


@pytest.mark.parametrize("name", [b"x/" * 2000 + b"a.jpg", b"x" * 4096, b"x" * 241])
def test_member_is_refused_if_its_name_is_long(name: bytes, tmp_path: Path) -> None:
    _refused(pax({"path": name}) + member() + END, tmp_path, "of more than 480 bytes, or a part")
    _refused(member(b"././@LongLink", name + b"\0", b"L") + member() + END, tmp_path, "of more than 480 bytes, or a")


def test_member_is_refused_if_the_folder_before_its_name_leads_out(tmp_path: Path) -> None:
    _refused(member(b"passwd", prefix=b"/etc") + END, tmp_path, "'/etc/passwd' is absolute")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tars.HARD_LINK, "'images/train/a.jpg' is a hard link; pack with --hard-dereference"),
        (tars.LINK, "is a symbolic link; pack with --dereference"),
        (tars.CHARACTER, "is a character device"),
        (tars.DEVICE, "is a block device"),
        (tars.FIFO, "is a FIFO"),
        (b"S", "is a sparse file"),
        (b"M", "is of the unknown type b'M'"),
        (b"V", "is of the unknown type b'V'"),
        (b"\xff", "is of the unknown type"),
    ],
)
def test_member_is_refused_if_it_is_no_plain_file(kind: bytes, problem: str, tmp_path: Path) -> None:
    _refused(member(kind=kind, data=b"", link=b"/etc/passwd") + END, tmp_path, problem)


@pytest.mark.parametrize("key", ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.name"])
def test_member_is_refused_if_a_pax_header_makes_it_sparse(key: str, tmp_path: Path) -> None:
    _refused(pax({key: "1"}) + member() + END, tmp_path, "describes a sparse file; pack without --sparse")


def test_members_are_refused_if_a_global_pax_header_names_them(tmp_path: Path) -> None:
    _refused(pax({"path": "/etc/passwd"}, b"g") + member() + END, tmp_path, "names every file alike")
    _refused(pax({"size": "4"}, b"g") + member() + END, tmp_path, "names every file alike")


@pytest.mark.parametrize(
    "lines", [b"", b"path", b"11 path=abc", b"99 path=abc\n", b"-1 path=a\n", b"9" * 600, b"0 a=b\n"]
)
def test_member_is_refused_if_its_pax_header_is_damaged(lines: bytes, tmp_path: Path) -> None:
    whole = member(b"PaxHeaders/a", lines, b"x") + member(b"images/../a") + END
    _refused(whole, tmp_path, "is a damaged pax header" if lines else "'..' part")


@pytest.mark.parametrize("size", ["-1", "1e3", "9" * 30, "0x10", ""])
def test_member_is_refused_if_a_pax_header_gives_it_no_size(size: str, tmp_path: Path) -> None:
    _refused(pax({"size": size}) + member() + END, tmp_path, "is no number")


@pytest.mark.parametrize("size", [b"99999999999\0", b"-0000000001\0", b"\xff" * 12, b"abcdefghijk\0"])
def test_member_is_refused_if_its_size_is_no_number(size: bytes, tmp_path: Path) -> None:
    _refused(header(size=size) + END, tmp_path, "has a size that is no number")


@pytest.mark.parametrize("size", [b"\x80" + b"\0" * 3 + b"\xff" * 8, b"77777777777\0"])
def test_member_is_refused_if_its_size_is_beyond_all_limits(size: bytes, tmp_path: Path) -> None:
    _refused(header(size=size) + END, tmp_path, "more than 67108864 bytes when unpacked", TooLarge)
    _refused(pax({"size": str(2**62)}) + member() + END, tmp_path, "more than 67108864 bytes when unpacked", TooLarge)


def test_member_is_refused_if_it_is_longer_than_the_tar(tmp_path: Path) -> None:
    _refused(header(size=2**20) + END, tmp_path, "was cut off: the tar ends within it")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_member_is_refused_if_its_extension_header_is_huge(kind: bytes, tmp_path: Path) -> None:
    _refused(header(b"pax", 2**21, kind) + bytes(2**21) + END, tmp_path, "an extension header of 2097152 bytes")


def test_extension_headers_are_counted(tmp_path: Path) -> None:
    path, each = tmp_path / "upload", header(b"pax", 2**20, b"g") + b"%d comment=%s\n" % (2**20, b"x" * (2**20 - 17))
    path.write_bytes(b"".join(each + member(b"%d.jpg" % number) for number in range(3)) + END)
    with pytest.raises(TooLarge, match="more than 2097152 bytes"):
        read_all(path, 2 * 2**20)


@pytest.mark.parametrize("count", [5, 10_000])
def test_member_is_refused_if_it_has_a_chain_of_extension_headers(count: int, tmp_path: Path) -> None:
    _refused(pax({"path": "a.jpg"}) * count + member() + END, tmp_path, "more than 4 extension headers")
    _refused(member(b"././@LongLink", b"a.jpg\0", b"L") * count + member() + END, tmp_path, "more than 4 extension")


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a.jpg", "a.jpg", "is in the archive twice"),
        ("a.jpg", "./a.jpg", "is in the archive twice"),
        ("한글.jpg", "\u1112\u1161\u11ab\u1100\u1173\u11af.jpg", "is in the archive twice"),
        ("a", "a/b.jpg", "both a file and a folder"),
    ],
)
def test_member_is_refused_if_another_has_its_name(first: str, second: str, problem: str, tmp_path: Path) -> None:
    _refused(member(first.encode()) + member(second.encode()) + END, tmp_path, problem)


def test_folder_is_refused_if_it_has_bytes(tmp_path: Path) -> None:
    _refused(member(b"images/", b"hidden", FOLDER) + END, tmp_path, "is a folder of 6 bytes")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (WHOLE[:-1024], "its end is missing"),
        (WHOLE[: len(WHOLE) // 2 - 100], "was cut off"),
        (WHOLE[:700], "was cut off"),
        (WHOLE + WHOLE, "has bytes after its end"),
        (WHOLE + b"tail", "has bytes after its end"),
        (WHOLE + bytes(2 * 2**20), "more than 1048576 bytes after its end"),
        (member() + pax({"path": "b.jpg"}) + END, "belongs to the next entry"),
        (member() + header(checksum=1) + END, "damaged at byte 1024: a header's checksum is wrong"),
        (member(b"images/", b"", FOLDER) + END, "has no files"),
        (member(b"more.zip") + END, "is an archive within the archive"),
    ],
)
def test_tar_is_refused_if_it_is_not_one_whole_archive(data: bytes, problem: str, tmp_path: Path) -> None:
    _refused(data, tmp_path, problem)


def test_bomb_is_refused_by_its_size_together(tmp_path: Path) -> None:
    data = b"".join(member(b"%d.jpg" % number, bytes(2**20)) for number in range(65)) + END
    (tmp_path / "upload").write_bytes(data)
    with pytest.raises(TooLarge, match=r"more than 67108864 bytes when unpacked \(MAX_DATASET_BYTES\)"):
        read_all(tmp_path / "upload")


def test_bomb_is_refused_by_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 3)
    _refused(member(b"d.jpg") + WHOLE, tmp_path, "more than 3 entries", TooLarge)


@pytest.mark.parametrize("compressed", [tars.gzip_of_zeros, tars.zstd_of_zeros])
def test_bomb_is_refused_by_its_ratio(compressed: tars.Compressed, tmp_path: Path) -> None:
    """What would be allowed by its size."""
    path = tmp_path / "upload"
    path.write_bytes(compressed(128, header(size=2**31)))
    opened = open_in_child(path, max_bytes=2**40)
    assert (opened.code, "grows more than 200 times" in opened.message) == ("INVALID", True)
    assert opened.grown_bytes < MEMORY_CAP
    assert list(tmp_path.iterdir()) == [path]


def test_bomb_is_refused_before_it_is_unpacked_if_its_header_is_honest(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(tars.zstd_of_zeros(16, header(size=2**30)))
    with pytest.raises(TooLarge, match="more than 67108864 bytes when unpacked"):
        read_all(tmp_path / "upload")


def test_frame_is_refused_if_it_wants_a_gibibyte_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(tars.zstd_of_window(30))
    opened = open_in_child(path)
    assert (opened.code, "the upload is damaged" in opened.message) == ("INVALID", True)
    assert opened.grown_bytes < MEMORY_CAP


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_compressed_tar_is_refused_if_it_was_cut_off(share: float, kind: str, tmp_path: Path) -> None:
    data = dict(compressions(WHOLE))[kind]
    (tmp_path / "upload").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Invalid, match=r"its end is missing|was cut off|no archive"):
        read_all(tmp_path / "upload")


def test_compressed_tar_is_refused_if_something_follows_it(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(gzip.compress(WHOLE) + b"tail")
    with pytest.raises(Invalid, match="the upload is damaged"):
        read_all(tmp_path / "upload")


def test_gzip_header_without_end_is_refused(tmp_path: Path) -> None:
    """A name of many mebibytes, which a reader in Python goes through byte by byte."""
    (tmp_path / "upload").write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 2**25)
    with pytest.raises(Invalid, match=r"cut off|its end is missing"):
        read_all(tmp_path / "upload")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no archive of a known kind"),
        (b"just text", "no archive of a known kind"),
        (bytes(2048), "no archive of a known kind"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(600), "is a RAR file; send a zip, or a tar"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is a 7-Zip file"),
        (b"\xfd7zXZ\0" + bytes(600), "is a xz file"),
        (b"BZh9" + bytes(600), "is a bzip2 file"),
        (b"\xff\xd8\xff\xe0" + bytes(600), "is a JPEG file"),
        (gzip.compress(b"name,label\n" * 100), "what it holds is no tar"),
        (gzip.compress(b"short"), "its end is missing"),
        (zstandard.compress(b"name,label\n" * 100), "what it holds is no tar"),
        (gzip.compress(gzip.compress(WHOLE)), "its end is missing|what it holds is no tar"),
    ],
)
def test_upload_is_refused_if_it_is_no_archive(data: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(data)
    with pytest.raises(Invalid, match=problem):
        read_all(tmp_path / "upload")


@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
def test_tar_never_crashes_the_reader_if_a_byte_of_it_is_wrong(kind: str, tmp_path: Path) -> None:
    """A plain tar has no checksum of its files; a compressed one is refused, or reads as it was."""
    whole, path, different = dict(compressions(member() + END))[kind], tmp_path / "upload", 0
    expected = {IMAGE.decode(): b"an image"}
    for position in range(len(whole)):
        path.write_bytes(flipped(whole, position))
        try:
            different += read_all(path) != expected
        except AppError:
            continue
    assert different == (len(b"an image") if kind == "plain" else 0)


def test_tar_with_names_older_than_its_standard_is_read(tmp_path: Path) -> None:
    """The first tars had no magic number, no prefix and no type."""
    old = member(magic=bytes(8), kind=b"\0") + member(b"labels/", b"", b"\0", magic=bytes(8)) + END
    (tmp_path / "upload").write_bytes(old)
    with open_upload(tmp_path / "upload", tmp_path, MAX_BYTES) as archive:
        assert dict(archive.files) == {IMAGE.decode(): 8}


def test_padding_of_a_tar_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(gzip.compress(padded(WHOLE) + bytes(10240)) + bytes(512))
    assert read_all(tmp_path / "upload") == FILES
