"""The index: the draft's content in the order of the paths, in one small file."""

import sqlite3
from pathlib import Path

from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.index import Index
from app.datasets.indexing import write_index
from app.datasets.names import settle_names
from tests.datasets.drafts import DETECTION, add


def drafted(path: Path, entries: str) -> Path:
    draft = Draft(path)
    draft.set("task_type", DETECTION)
    draft.set_classes(["cat", "dog"])
    for entry in entries:
        image_id = add(draft, f"{entry}.jpg", "train", [0, 1])
        if entry == "b":
            draft.find(Finding("IMAGE_UNLABELLED", "b", "b.jpg", image_id=image_id))
    draft.find(Finding("FILE_IGNORED", "x", "x"))
    settle_names(draft)
    draft.close()
    return path


def test_images_are_numbered_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_index(drafted(tmp_path / "draft", "cab"), tmp_path / "index")
    with Index(tmp_path / "index") as index:
        assert [(image.id, image.name) for image in index.images()] == [(1, "a.jpg"), (2, "b.jpg"), (3, "c.jpg")]
        assert [[one.class_id for _, one in index.annotations(number)] for number in (1, 2, 3)] == [[0, 1]] * 3
        assert [(one.code, one.image_id) for one in index.findings()] == [
            ("IMAGE_UNLABELLED", 2),
            ("FILE_IGNORED", None),
        ]
        assert index.finding_counts == {"FILE_IGNORED": 1, "IMAGE_UNLABELLED": 1}
        assert (index.task_type, index.classes) == (DETECTION, ["cat", "dog"])


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    digests = {write_index(drafted(tmp_path / order, order), tmp_path / "index") for order in ("abc", "cba")}
    assert len(digests) == 1


def test_file_is_whole_and_alone(tmp_path: Path) -> None:
    write_index(drafted(tmp_path / "draft", "abc"), tmp_path / "index")
    assert {path.name for path in tmp_path.iterdir()} == {"draft", "index"}
    connection = sqlite3.connect(tmp_path / "index")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()


def test_file_that_was_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"half an index")
    write_index(drafted(tmp_path / "draft", "a"), tmp_path / "index")
    with Index(tmp_path / "index") as index:
        assert index.classes == ["cat", "dog"]
