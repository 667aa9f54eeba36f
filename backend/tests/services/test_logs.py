from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid, NotFound
from app.models import Attempt
from app.services import logs
from app.services.logs import LogPart, last_lines, read, tail
from app.settings import Settings
from app.storage import Storage, open_storage
from tests import factories


def make_log(attempt_dir: Path, *pieces: bytes, start: int = 0) -> Path:
    folder = attempt_dir / "log"
    folder.mkdir(exist_ok=True)
    for piece in pieces:
        (folder / f"{start:016d}.log").write_bytes(piece)
        start += len(piece)
    return attempt_dir


def test_range_spans_files(tmp_path: Path) -> None:
    make_log(tmp_path, b"0123456789", b"abcdefghij", b"ABCDEFGHIJ")
    assert read(tmp_path, 8, 14) == LogPart(8, 22, 30, "89abcdefghijAB")
    assert read(tmp_path, 22, 100) == LogPart(22, 30, 30, "CDEFGHIJ")


def test_following_reads_every_byte_once(tmp_path: Path) -> None:
    text = "".join(f"line {number} öß한\n" for number in range(500))
    data = text.encode()
    make_log(tmp_path, data[:999], data[999:2001], data[2001:])
    offset, found = 0, ""
    while offset < len(data):
        part = read(tmp_path, offset, 37)
        assert part.offset == offset and part.next_offset > offset
        offset, found = part.next_offset, found + part.text
    assert found == text


def test_empty_at_the_end_and_more_once_it_has_grown(tmp_path: Path) -> None:
    make_log(tmp_path, b"one\n")
    assert read(tmp_path, 4, 10) == LogPart(4, 4, 4, "")
    with (tmp_path / "log" / f"{0:016d}.log").open("ab") as file:
        file.write(b"two\n")
    assert read(tmp_path, 4, 10) == LogPart(4, 8, 8, "two\n")


def test_starts_at_the_oldest_byte_if_the_asked_one_was_removed(tmp_path: Path) -> None:
    make_log(tmp_path, b"abc", b"def", start=1000)
    assert read(tmp_path, 0, 4) == LogPart(1000, 1004, 1006, "abcd")


def test_refused_if_offset_is_beyond_the_end(tmp_path: Path) -> None:
    make_log(tmp_path, b"abc")
    with pytest.raises(Invalid, match="offset 4 is beyond the log's end, 3"):
        read(tmp_path, 4, 1)


def test_broken_bytes_never_stop_a_reader(tmp_path: Path) -> None:
    make_log(tmp_path, b"a\xff\xfeb\xed")
    assert read(tmp_path, 0, 100) == LogPart(0, 4, 5, "a\ufffd\ufffdb")
    assert read(tmp_path, 4, 100) == LogPart(4, 5, 5, "\ufffd")


def test_nothing_yet_if_trainer_is_just_starting(tmp_path: Path) -> None:
    assert read(tmp_path, 0, 100) == tail(tmp_path, 10) == LogPart(0, 0, 0, "")


@pytest.mark.parametrize("lines", [1, 3, 9, 10, 11])
def test_last_lines_over_several_files(tmp_path: Path, lines: int) -> None:
    text = "".join(f"line {number}\n" for number in range(10))
    make_log(tmp_path, *(text.encode()[start : start + 7] for start in range(0, len(text), 7)))
    part = tail(tmp_path, lines)
    assert part.text.splitlines() == text.splitlines()[-lines:]
    assert (part.offset, part.next_offset, part.total) == (len(text) - len(part.text), len(text), len(text))


def test_unfinished_line_is_a_line(tmp_path: Path) -> None:
    make_log(tmp_path, b"one\ntwo\nthr")
    assert tail(tmp_path, 2).text == "two\nthr"
    assert tail(tmp_path, 0).text == ""


def test_last_lines_of_a_long_log_reach_over_blocks(tmp_path: Path) -> None:
    lines = [f"{number:06d} {'x' * 90}" for number in range(5000)]
    make_log(tmp_path, "\n".join(lines).encode())
    assert tail(tmp_path, 2000).text.splitlines() == lines[-2000:]


def test_tail_is_bounded_if_lines_are_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    make_log(tmp_path, b"x" * 1000)
    assert tail(tmp_path, 5).text == "x" * 100


def test_lines_for_the_database_are_short(tmp_path: Path) -> None:
    make_log(tmp_path, b"x" * 5000 + b"\nlast\n")
    assert last_lines(tmp_path, 50) == ["x" * 2000, "last"]


def test_file_rotated_away_while_reading_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log(tmp_path, b"abc", b"def", b"ghi")
    segments = logs._segments(tmp_path)
    (tmp_path / "log" / f"{3:016d}.log").unlink()
    monkeypatch.setattr(logs, "_segments", lambda _: segments)
    assert read(tmp_path, 1, 100) == LogPart(6, 9, 9, "ghi")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    values: dict[str, Any] = {"_env_file": None, "storage_path": tmp_path / "storage"}
    return open_storage(Settings(**values))


def test_stored_log_reads_as_the_files_did(tmp_path: Path, storage: Storage) -> None:
    text = "".join(f"line {number} öß한\n" for number in range(20_000)).encode()
    make_log(tmp_path, text[:99_999], text[99_999:200_001], text[200_001:], start=1000)
    start, end = logs.bounds(tmp_path) or (0, 0)
    storage.put_stream("log", logs.chunks(tmp_path, start, end))
    assert storage.get_bytes("log") == text
    stored = logs.StoredLog(storage, "log", start, end - start)
    for offset in (0, 1000, 1001, 150_000, end):
        assert read(stored, offset, 100_000) == read(tmp_path, offset, 100_000)
    for lines in (0, 1, 200, 10_000):
        assert tail(stored, lines) == tail(tmp_path, lines)
    with pytest.raises(Invalid, match="beyond the log's end"):
        read(stored, end + 1, 1)


def test_silent_trainer_has_an_empty_log(tmp_path: Path, storage: Storage) -> None:
    make_log(tmp_path, b"")
    stored = logs.StoredLog(storage, "nowhere", 0, 0)
    assert logs.bounds(tmp_path) == (0, 0)
    assert read(stored, 0, 10) == tail(stored, 10) == LogPart(0, 0, 0, "")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "attempt 2 of job 7 has no log"),
        ({"log_size": 0}, "has no log"),
        (
            {"log_start": 0, "log_size": 9, "log_removed_at": factories.NOW},
            r"collected on 2026-11-23 \(RETENTION_LOG_DAYS",
        ),
    ],
)
def test_not_found_says_why_there_is_no_log(tmp_path: Path, storage: Storage, fields: Any, said: str) -> None:
    attempt = Attempt(job_id=7, number=2, ended_at=factories.NOW, **fields)
    with pytest.raises(NotFound, match=said):
        logs.find(storage, tmp_path, attempt)
