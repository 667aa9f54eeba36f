"""Hostile archives all the way through an import: a verdict that names the entry, and nothing left behind."""

import gzip
import stat
from pathlib import Path

import pytest

from app.datasets.run import UPLOAD, run
from app.datasets.work import Outcome, Request
from tests.datasets.imports import MAX_BYTES, ignore, make, yolo, yolo_splits
from tests.datasets.versioned import picture
from tests.hostile import tars, zips
from tests.hostile.tars import END, member, pax
from tests.hostile.zips import DEFLATED, Member, zip_bytes

LIE = {"crc": 1}


def _import(folder: Path, data: bytes) -> Outcome:
    (folder / UPLOAD).write_bytes(data)
    (folder / "request.json").write_text(Request(max_bytes=MAX_BYTES).model_dump_json())
    outcome = run(folder, ignore)
    assert sorted(path.name for path in folder.iterdir()) == ["request.json", UPLOAD]
    return outcome


def _members() -> list[Member]:
    """An honest dataset."""
    return [Member(name.encode(), data if isinstance(data, bytes) else data.encode()) for name, data in yolo().items()]


@pytest.mark.parametrize(
    ("data", "code", "problem"),
    [
        (zip_bytes(Member(), Member(b"../../evil.jpg")), "INVALID", "'../../evil.jpg' is absolute or has"),
        (zip_bytes(Member(), Member(b"C:\\evil.jpg")), "INVALID", "backslash"),
        (
            zip_bytes(Member(), Member(b"link.jpg", b"/etc/passwd", mode=stat.S_IFLNK)),
            "INVALID",
            "'link.jpg' is a link",
        ),
        (zip_bytes(Member(), Member(b"x" * 4096)), "INVALID", "of more than 480 bytes"),
        (zip_bytes(Member(), Member(b"bomb.bmp", bytes(2**22), DEFLATED)), "INVALID", "'bomb.bmp' grows more than 200"),
        (zips.quoting(), "TOO_LARGE", "MAX_DATASET_BYTES"),
        (zips.end_record(0, 0, 0, end={"count": 60_000}), "INVALID", "directory is damaged"),
        (zip_bytes(Member(), Member(b"a.jpg", flags=0x801)), "INVALID", "'a.jpg' is encrypted"),
        (
            zip_bytes(Member(), Member(b"labels/train/a.txt", b"0 0 0 1 1", local=LIE)),
            "INVALID",
            "another name or size",
        ),
        (member() + member(b"link.jpg", b"", tars.LINK, link=b"/etc/passwd") + END, "INVALID", "is a symbolic link"),
        (member() + member(b"link.jpg", b"", tars.HARD_LINK, link=b"/etc/passwd") + END, "INVALID", "is a hard link"),
        (gzip.compress(member() + member(b"pipe", b"", tars.FIFO) + END), "INVALID", "'pipe' is a FIFO"),
        (gzip.compress(pax({"path": "/etc/cron.d/x"}) + member() + END), "INVALID", "'/etc/cron.d/x' is absolute"),
        (gzip.compress(member())[:-20], "INVALID", "cut off|its end is missing"),
        (tars.gzip_of_zeros(32, tars.header(size=2**32)), "TOO_LARGE", "MAX_DATASET_BYTES"),
        (tars.zstd_of_zeros(32, tars.header(size=2**23)), "INVALID", "grows more than 200 times|after its end"),
    ],
)
def test_upload_is_invalid_and_leaves_nothing_if_it_is_hostile(
    data: bytes, code: str, problem: str, tmp_path: Path
) -> None:
    outcome = _import(tmp_path, data)
    assert (outcome.status, outcome.code, outcome.packed) == ("invalid", code, None)
    with pytest.raises(ValueError, match=problem):
        raise ValueError(outcome.message)


def test_version_is_refused_with_the_label_named_if_that_is_damaged(tmp_path: Path) -> None:
    lie = {"crc": 1}
    damaged = Member(b"labels/damaged.txt", b"0 0.5 0.5 0.1 0.1", local=lie, central=lie)
    outcome = _import(tmp_path, zip_bytes(*_members(), Member(b"images/damaged.jpg", picture(9)), damaged))
    assert outcome.status in ("refused", "invalid")
    assert "labels/damaged.txt" in outcome.model_dump_json()
    assert "its checksum is wrong" in outcome.model_dump_json()


def test_image_is_left_out_and_named_if_it_is_damaged(tmp_path: Path) -> None:
    lie = {"crc": 1}
    damaged = Member(b"images/damaged.jpg", picture(9), local=lie, central=lie)
    (tmp_path / UPLOAD).write_bytes(zip_bytes(*_members(), damaged))
    (tmp_path / "request.json").write_text(Request(max_bytes=MAX_BYTES).model_dump_json())
    outcome = run(tmp_path, ignore)
    assert outcome.status == "accepted"
    named = [line.file for group in outcome.report.groups for line in group.first if group.code.startswith("IMAGE_")]
    assert "images/damaged.jpg" in named


@pytest.mark.parametrize(
    ("first", "second"), [("IMG", "img"), ("straße", "STRASSE"), ("é", "É"), ("ﬁ", "fi"), ("Σ", "ς")]
)
def test_images_are_renamed_and_named_if_a_disk_might_not_tell_them_apart(
    first: str, second: str, tmp_path: Path
) -> None:
    label = "0 0.5 0.5 0.2 0.2\n"
    files = {**yolo_splits(), f"images/train/{first}.jpg": picture(7), f"labels/train/{first}.txt": label}
    files |= {f"images/train/{second}.jpg": picture(8), f"labels/train/{second}.txt": label.replace("0 ", "1 ", 1)}
    made = make(tmp_path / "import", files)
    assert made.outcome.status == "accepted", made.outcome.report
    assert made.codes["NAME_COLLISION"] == 1
    new = [name for name in made.files if name not in files and name.startswith("images/")]
    assert [made.annotations(name)[0].class_id for name in new] in ([0], [1])
    assert len({name.casefold() for name in made.files}) == len(files)
