"""A file is made once, stays while it is used, and goes when the shelf is too full."""

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.services.datasets import shelf
from app.services.datasets.shelf import Shelf


@pytest.fixture
def indexes(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cache" / "indexes")


def _put(shelf: Shelf, name: str, size: int = 10, used_at: int = 0) -> None:
    with shelf.use(name, lambda path: _write(path, size)):
        pass
    os.utime(shelf.folder / f"{name}.lock", (used_at, used_at))


def _write(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)


def test_a_file_is_made_once_if_many_want_it(indexes: Shelf) -> None:
    made: list[str] = []
    gate = threading.Barrier(8)

    def make(path: Path) -> None:
        made.append("x")
        _write(path, 10)

    def want() -> None:
        gate.wait(20)
        with indexes.use("ab", make) as path:
            assert path.read_bytes() == b"x" * 10

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert made == ["x"]
    assert sorted(path.name for path in indexes.folder.iterdir()) == ["ab.lock", "ab.sqlite"]


def test_nothing_is_left_if_making_it_fails(indexes: Shelf) -> None:
    def fail(path: Path) -> None:
        _write(path, 3)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), indexes.use("ab", fail):
        pass
    assert list(indexes.folder.iterdir()) == []
    _put(indexes, "ab")
    assert indexes.path("ab").exists()


def test_a_file_stays_if_it_is_in_use(indexes: Shelf) -> None:
    with indexes.use("ab", lambda path: _write(path, 10)) as path:
        assert [(kept.name, kept.bytes, kept.in_use) for kept in indexes.kept()] == [("ab", 10, True)]
        assert not indexes.remove("ab")
        shelf.trim([indexes], 0)
        assert path.exists()
    assert indexes.remove("ab")
    assert list(indexes.folder.iterdir()) == []
    assert not indexes.remove("ab")


def test_a_file_is_made_anew_if_it_was_removed(indexes: Shelf) -> None:
    _put(indexes, "ab", size=1)
    indexes.remove("ab")
    _put(indexes, "ab", size=2)
    assert indexes.path("ab").stat().st_size == 2


def test_whoever_waits_for_a_removed_file_makes_it_anew(indexes: Shelf) -> None:
    """Removing and using by turns, from many threads: everybody who uses it has it."""
    wrong: list[str] = []

    def use() -> None:
        for _ in range(30):
            with indexes.use("ab", lambda path: _write(path, 10)) as path:
                if not path.exists():
                    wrong.append("missing")

    def remove() -> None:
        for _ in range(60):
            indexes.remove("ab")

    threads = [threading.Thread(target=work) for work in (use, use, use, remove, remove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_the_least_recently_used_go_first_if_there_is_too_much(indexes: Shelf, tmp_path: Path) -> None:
    thumbnails = Shelf(tmp_path / "cache" / "thumbnails")
    _put(indexes, "old", used_at=1_000)
    _put(thumbnails, "older", used_at=500)
    _put(indexes, "new", used_at=2_000)
    with ExitStack() as used:
        used.enter_context(thumbnails.use("older", Path.touch))
        shelf.trim([indexes, thumbnails], 20)
    left = {kept.name for one in (indexes, thumbnails) for kept in one.kept()}
    assert left == {"older", "new"}


def test_everything_stays_if_it_fits(indexes: Shelf) -> None:
    _put(indexes, "ab")
    _put(indexes, "cd")
    shelf.trim([indexes], 20)
    assert {kept.name for kept in indexes.kept()} == {"ab", "cd"}


def test_a_shelf_is_empty_if_it_is_not_there(indexes: Shelf) -> None:
    assert (indexes.kept(), indexes.half_made(), indexes.remove("ab")) == ([], [], False)
    indexes.discard("ab")
