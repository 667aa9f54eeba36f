"""What an import stored is what readers of its index get, page by page."""

import sqlite3
from pathlib import Path

import pytest

from app.datasets.annotations import Annotation
from app.datasets.draft import Draft
from app.datasets.index import Index, Summary
from app.errors import Invalid
from tests.datasets.versioned import Made, Shot, box, make_version, picture

RICH = Annotation(
    1,
    (0.1, 0.2, 0.3, 0.4),
    polygons=((0.1, 0.2, 0.3, 0.2, 0.3, 0.4),),
    keypoints=((0.15, 0.25, 2), (0.0, 0.0, 0)),
    attributes={"difficult": True, "note": "<script>"},
)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    images = [
        Shot("a.jpg", "train", picture(1), [box(0), box(0, 0.5), RICH], ["IMAGE_UNLABELLED"]),
        Shot("b.png", "train", picture(2, ".png"), [box(0, crowd=True)], ["IMAGE_UNLABELLED", "BOX_OUTSIDE"]),
        Shot("한글.jpg", "val", picture(3), [box(1)]),
        Shot("a.jpg", "val", picture(4)),
    ]
    return make_version(tmp_path / "version with #?% in it", images)


def test_every_image_is_given_if_nothing_is_filtered(made: Made) -> None:
    with Index(made.index) as index:
        images = index.images()
        assert [image.path for image in images] == [f"images/{shot.split}/{shot.name}" for shot in made.shots]
        assert list(index.every_image()) == images
        assert [image.name for image in index.every_image("val")] == ["한글.jpg", "a.jpg"]


def test_the_bytes_lie_where_the_index_says_if_the_archive_is_stored(made: Made) -> None:
    archive = made.archive.read_bytes()
    with Index(made.index) as index:
        for image, shot in zip(index.every_image(), made.shots, strict=True):
            assert archive[image.offset : image.offset + image.size] == shot.data
            assert (image.width, image.height) == (32, 24)


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"split": "val"}, [3, 4]),
        ({"class_name": "one"}, [1, 3]),
        ({"class_name": "zero"}, [1, 2]),
        ({"class_name": "'; DROP TABLE images"}, []),
        ({"finding": "IMAGE_UNLABELLED"}, [1, 2]),
        ({"finding": "BOX_OUTSIDE", "class_name": "zero", "split": "train"}, [2]),
        ({"finding": "BOX_OUTSIDE", "split": "val"}, []),
        ({"split": "none"}, []),
        ({"after": 1, "limit": 2}, [2, 3]),
        ({"class_name": "one", "after": 1}, [3]),
        ({"after": 4}, []),
    ],
)
def test_the_page_has_what_is_asked_for_if_filtered(made: Made, filters: dict[str, str], ids: list[int]) -> None:
    with Index(made.index) as index:
        assert [image.id for image in index.images(**filters)] == ids  # type: ignore[arg-type]


def test_annotations_are_as_they_were_stored_if_read_again(made: Made) -> None:
    with Index(made.index) as index:
        assert [annotation for _, annotation in index.annotations(1)] == list(made.shots[0].annotations)
        assert [annotation for _, annotation in index.annotations(2)] == [box(0, crowd=True)]
        assert index.annotations(4) == []


def test_a_summary_leaves_crowds_out_of_the_objects_if_there_are_any(made: Made) -> None:
    with Index(made.index) as index:
        assert index.summaries([1, 2, 4]) == {
            1: Summary(3, (0, 1), ("IMAGE_UNLABELLED",)),
            2: Summary(0, (0,), ("IMAGE_UNLABELLED", "BOX_OUTSIDE")),
            4: Summary(),
        }


def test_findings_come_in_pages_if_filtered_or_not(made: Made) -> None:
    with Index(made.index) as index:
        assert [finding.code for finding in index.findings(limit=2)] == ["IMAGE_UNLABELLED", "IMAGE_UNLABELLED"]
        assert [finding.image_id for finding in index.findings(after=2)] == [2]
        assert [finding.id for finding in index.findings(code="BOX_OUTSIDE")] == [3]
        assert [finding.id for finding in index.findings(severity="warning", image_id=2)] == [2, 3]
        assert index.finding_counts == {"BOX_OUTSIDE": 1, "IMAGE_UNLABELLED": 2}


def test_facts_are_as_they_were_set_if_read_again(made: Made) -> None:
    with Index(made.index) as index:
        assert index.meta == {"task_type": "object_detection", "format": "yolo"}
        assert index.classes == ["zero", "one"]
        assert index.task_type == "object_detection"


def test_one_image_is_found_by_its_id_if_it_is_there(made: Made) -> None:
    with Index(made.index) as index:
        image = index.image(3)
        assert image is not None and image.path == "images/val/한글.jpg"
        assert index.image(99) is None
        assert set(index.some_images([1, 3, 99])) == {1, 3}


def test_an_image_that_was_never_written_is_no_image_if_it_is_left_in_the_index(made: Made) -> None:
    with sqlite3.connect(made.index) as connection:
        connection.execute("UPDATE images SET path = NULL WHERE id = 1")
    connection.close()
    with Index(made.index) as index:
        assert [image.id for image in index.images()] == [2, 3, 4]
        assert index.image(1) is None


def test_nothing_can_be_written_if_an_index_is_open(made: Made) -> None:
    with Index(made.index) as index, pytest.raises(sqlite3.OperationalError, match="readonly"):
        index.connection.execute("DELETE FROM images")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_invalid_if_the_file_is_no_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.sqlite").write_bytes(content)
    with pytest.raises(Invalid, match=r"index\.sqlite"):
        Index(tmp_path / "index.sqlite")


def test_invalid_if_the_index_is_of_another_release(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "index.sqlite")
    draft.close()
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(Invalid, match="format 9; this release reads 1"):
        Index(tmp_path / "index.sqlite")


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"split": "val"},
        {"class_name": "zero"},
        {"finding": "BOX_OUTSIDE"},
        {"split": "val", "class_name": "zero"},
        {"split": "val", "class_name": "zero", "finding": "BOX_OUTSIDE"},
    ],
)
def test_no_page_reads_or_sorts_a_whole_table_if_filtered(made: Made, filters: dict[str, str]) -> None:
    """With 50,000 images the slowest of these takes 22 ms: a class that hardly any image has."""
    steps: list[str] = []
    with Index(made.index) as index:
        index.connection.set_trace_callback(steps.append)
        index.images(**filters)  # type: ignore[arg-type]
        index.connection.set_trace_callback(None)
        plan = [row[3] for query in steps for row in index.connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert plan
    assert [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step] == []
