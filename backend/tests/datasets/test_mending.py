"""What becomes of an annotation on its way into a draft."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.datasets.annotations import Annotation, Box, Keypoint, Place, Polygon
from app.datasets.draft import Draft, SourceImage
from app.datasets.mending import add
from app.words import TaskType

DETECTION, SEGMENTATION = TaskType.OBJECT_DETECTION, TaskType.INSTANCE_SEGMENTATION
POSE, ORIENTED = TaskType.POSE_ESTIMATION, TaskType.ORIENTED_OBJECT_DETECTION
CLASSIFICATION = TaskType.IMAGE_CLASSIFICATION

BOX: Box = (0.1, 0.2, 0.5, 0.6)
SQUARE: Polygon = (0.1, 0.2, 0.5, 0.2, 0.5, 0.6, 0.1, 0.6)
POINTS: tuple[Keypoint, ...] = ((0.2, 0.3, 2), (0.4, 0.5, 1))
PLACE = Place("labels/a.txt", 3, "0 0.3 0.4 0.4 0.4")


class Case:
    """A draft with one image and two classes."""

    def __init__(self, folder: Path) -> None:
        self.draft = Draft(folder / "index.sqlite")
        self.draft.set_classes(["cat", "dog"])
        self.image = self.new_image("images/a.jpg")

    def new_image(self, entry: str) -> SourceImage:
        self.draft.add_image(SourceImage(0, entry, "0" * 64, "JPEG", 640, 480, 1))
        image = self.draft.image(entry)
        assert image
        return image

    def add(self, task: TaskType, annotation: Annotation, image: SourceImage | None = None) -> bool:
        self.draft.set("task_type", task)
        if task is POSE and self.draft.get("kpt_shape") is None:
            self.draft.set("kpt_shape", [2, 3])
        return add(self.draft, image or self.image, annotation, PLACE)

    @property
    def stored(self) -> list[tuple[object, ...]]:
        query = "SELECT class_id, x1, y1, x2, y2, polygons, keypoints FROM annotations ORDER BY id"
        return self.draft.connection.execute(query).fetchall()

    @property
    def found(self) -> list[tuple[str, str]]:
        return self.draft.connection.execute("SELECT code, action FROM findings ORDER BY id").fetchall()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    case = Case(tmp_path)
    yield case
    case.draft.close()


def box_of(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[1:5]


@pytest.mark.parametrize(
    ("task", "annotation", "box"),
    [
        (DETECTION, Annotation(1, BOX), BOX),
        (DETECTION, Annotation(1, polygons=(SQUARE,)), BOX),
        (DETECTION, Annotation(1, keypoints=POINTS), (0.2, 0.3, 0.4, 0.5)),
        (SEGMENTATION, Annotation(1, polygons=(SQUARE,)), BOX),
        (ORIENTED, Annotation(1, polygons=(SQUARE,)), BOX),
        (POSE, Annotation(1, BOX, keypoints=POINTS), BOX),
        (POSE, Annotation(1, keypoints=POINTS), (0.2, 0.3, 0.4, 0.5)),
        (CLASSIFICATION, Annotation(1), (None,) * 4),
        (CLASSIFICATION, Annotation(1, BOX), (None,) * 4),
        (SEGMENTATION, Annotation(1, BOX, crowd=True), BOX),
    ],
)
def test_kept_without_a_word_if_sound(case: Case, task: TaskType, annotation: Annotation, box: Box) -> None:
    assert case.add(task, annotation)
    assert box_of(case.stored[0]) == box
    assert case.found == []


@pytest.mark.parametrize(
    ("task", "annotation"),
    [
        (DETECTION, Annotation(0)),
        (SEGMENTATION, Annotation(0, BOX)),
        (SEGMENTATION, Annotation(0, BOX, keypoints=POINTS)),
        (ORIENTED, Annotation(0, BOX)),
        (ORIENTED, Annotation(0, polygons=(SQUARE[:6],))),
        (ORIENTED, Annotation(0, polygons=(SQUARE, SQUARE))),
        (POSE, Annotation(0, BOX)),
        (POSE, Annotation(0, BOX, keypoints=POINTS[:1])),
    ],
)
def test_dropped_if_not_fit_for_the_task(case: Case, task: TaskType, annotation: Annotation) -> None:
    assert not case.add(task, annotation)
    assert case.found == [("LABEL_NOT_FOR_TASK", "dropped")]
    assert case.stored == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("task", [DETECTION, SEGMENTATION, POSE, ORIENTED])
def test_dropped_if_a_number_is_not_finite(case: Case, task: TaskType, number: float) -> None:
    strange: Polygon = (*SQUARE[:7], number)
    for annotation in (
        Annotation(0, (0.1, number, 0.5, 0.6), (SQUARE,), POINTS),
        Annotation(0, BOX, (strange,), POINTS),
        Annotation(0, BOX, (SQUARE,), (POINTS[0], (number, 0.5, 2))),
    ):
        assert not case.add(task, annotation)
    assert case.found == [("LABEL_NOT_FINITE", "dropped")] * 3


def test_kept_if_only_an_unlabelled_keypoint_is_strange(case: Case) -> None:
    points = ((0.2, 0.3, 2), (math.nan, -1.0, 0))
    assert case.add(POSE, Annotation(0, BOX, keypoints=points))
    assert case.stored[0][6] == "[[0.2, 0.3, 2], [0.0, 0.0, 0]]"
    assert case.found == []


@pytest.mark.parametrize("class_id", [-1, 2, 2**70])
def test_refused_if_there_is_no_such_class(case: Case, class_id: int) -> None:
    assert not case.add(DETECTION, Annotation(class_id, BOX))
    assert case.found == [("CLASS_OUT_OF_RANGE", "refused")]


def test_refused_if_a_polygon_has_half_a_point(case: Case) -> None:
    assert not case.add(SEGMENTATION, Annotation(0, polygons=(SQUARE[:7],)))
    assert case.found == [("LABEL_MALFORMED", "refused")]


def test_clipped_if_a_box_reaches_outside(case: Case) -> None:
    assert case.add(DETECTION, Annotation(0, (-0.25, 0.5, 0.5, 1e300)))
    assert box_of(case.stored[0]) == (0.0, 0.5, 0.5, 1.0)
    code, file, line, value, message = case.draft.connection.execute(
        "SELECT code, file, line, value, message FROM findings"
    ).fetchone()
    assert (code, file, line, value) == ("BOX_OUTSIDE", PLACE.file, PLACE.line, PLACE.value)
    assert message == "the box -0.25 0.5 0.5 1e+300 reaches outside; clipped (image images/a.jpg)"


def test_clipped_silently_if_outside_by_rounding(case: Case) -> None:
    assert case.add(DETECTION, Annotation(0, (-9e-7, 0.5, 0.5, 1 + 9e-7)))
    assert box_of(case.stored[0]) == (0.0, 0.5, 0.5, 1.0)
    outline = (-9e-7, 0.1, 0.5, 0.1, 0.5, 0.5)
    assert case.add(SEGMENTATION, Annotation(0, polygons=(outline,)))
    assert case.stored[1][5] == "[[0.0, 0.1, 0.5, 0.1, 0.5, 0.5]]"
    assert case.found == []


@pytest.mark.parametrize("box", [(1.1, 0.1, 1.2, 0.2), (-0.5, 0.1, 0.0, 0.2), (0.1, 7.0, 0.2, 1e300)])
def test_dropped_if_a_box_is_entirely_outside(case: Case, box: Box) -> None:
    assert not case.add(DETECTION, Annotation(0, box))
    assert case.found == [("BOX_OUTSIDE", "dropped")]


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.1, 0.2), (0.5, 0.1, 0.4, 0.2), (0.1, 0.1, 0.1 + 1e-7, 0.2), (0, 0, 0, 0)])
def test_dropped_if_a_box_is_empty(case: Case, box: Box) -> None:
    assert not case.add(DETECTION, Annotation(0, box))
    assert case.found == [("BOX_EMPTY", "dropped")]


@pytest.mark.parametrize("points", [((0.2, 0.3, 2), (0.2, 0.3, 2)), ((0.0, 0.0, 0), (0.0, 0.0, 0))])
def test_dropped_if_keypoints_span_no_box(case: Case, points: tuple[Keypoint, ...]) -> None:
    assert not case.add(POSE, Annotation(0, keypoints=points))
    assert case.found == [("BOX_EMPTY", "dropped")]


def test_kept_if_a_pose_has_a_box_and_no_labelled_keypoint(case: Case) -> None:
    assert case.add(POSE, Annotation(0, BOX, keypoints=((0.0, 0.0, 0), (0.0, 0.0, 0))))
    assert case.found == []


def test_drawn_again_if_only_the_box_of_an_outline_is_empty(case: Case) -> None:
    assert case.add(SEGMENTATION, Annotation(0, (0.1, 0.2, 0.1, 0.2), (SQUARE,)))
    assert box_of(case.stored[0]) == BOX
    assert case.found == [("BOX_EMPTY", "repaired")]


def test_cut_at_the_edge_if_a_polygon_reaches_outside(case: Case) -> None:
    triangle = (0.5, 0.5, 1.5, 0.5, 0.5, 1.5)
    assert case.add(SEGMENTATION, Annotation(0, polygons=(triangle,)))
    assert case.stored[0][5] == "[[0.5, 1.0, 0.5, 0.5, 1.0, 0.5, 1.0, 1.0]]"
    assert box_of(case.stored[0]) == (0.5, 0.5, 1.0, 1.0)
    assert case.found == [("BOX_OUTSIDE", "repaired")]


def test_four_corners_remain_if_an_oriented_box_reaches_outside(case: Case) -> None:
    diamond = (0.5, -0.1, 0.7, 0.1, 0.5, 0.3, 0.3, 0.1)
    assert case.add(ORIENTED, Annotation(0, polygons=(diamond,)))
    assert case.stored[0][5] == "[[0.5, 0.0, 0.7, 0.1, 0.5, 0.3, 0.3, 0.1]]"
    assert case.found == [("BOX_OUTSIDE", "repaired")]


@pytest.mark.parametrize("task", [SEGMENTATION, ORIENTED])
def test_dropped_if_an_outline_only_seems_to_touch_the_image(case: Case, task: TaskType) -> None:
    beyond_the_corner = (1.5, 0.9, 1.6, 1.0, 1.0, 1.6, 0.9, 1.5)
    assert not case.add(task, Annotation(0, polygons=(beyond_the_corner,)))
    assert case.found == [("BOX_OUTSIDE", "dropped")]


@pytest.mark.parametrize("far", [1e9, 1e200, 1e308])
def test_inside_or_dropped_if_an_outline_is_huge(case: Case, far: float) -> None:
    for outline in (
        (-far, 0.5, far, -far, far, far),
        (-far, far, far, -far, far, far / 2),
        (far, far, -far, 1, 1, -far),
    ):
        case.add(SEGMENTATION, Annotation(0, polygons=(outline,)))
    for row in case.stored:
        assert all(0 <= value <= 1 for polygon in json.loads(str(row[5])) for value in polygon)
    assert {code for code, _ in case.found} <= {"BOX_OUTSIDE", "LABEL_DUPLICATE"}


@pytest.mark.parametrize("polygon", [(), (0.1, 0.1), (0.1, 0.1, 0.2, 0.2), (0.1, 0.1, 0.2, 0.2, 0.1, 0.1)])
def test_dropped_if_a_polygon_has_fewer_than_three_points(case: Case, polygon: Polygon) -> None:
    assert not case.add(SEGMENTATION, Annotation(0, BOX, (polygon,)))
    assert case.found == [("POLYGON_TOO_SHORT", "dropped")]


def test_other_parts_remain_if_one_polygon_is_too_short(case: Case) -> None:
    assert case.add(SEGMENTATION, Annotation(0, polygons=((0.9, 0.9, 0.95, 0.95), SQUARE)))
    assert case.stored[0][5] == "[[0.1, 0.2, 0.5, 0.2, 0.5, 0.6, 0.1, 0.6]]"
    assert case.found == [("POLYGON_TOO_SHORT", "repaired")]


def test_the_box_remains_if_only_its_polygon_is_bad(case: Case) -> None:
    assert case.add(DETECTION, Annotation(0, BOX, ((0.1, 0.1, 0.2, 0.2),)))
    assert case.stored == [(0, *BOX, None, None)]
    assert case.found == [("POLYGON_TOO_SHORT", "repaired")]


def test_counted_as_unlabelled_if_a_keypoint_lies_outside(case: Case) -> None:
    assert case.add(POSE, Annotation(0, BOX, keypoints=(POINTS[0], (1.2, 0.3, 2))))
    assert case.stored[0][6] == "[[0.2, 0.3, 2], [0.0, 0.0, 0]]"
    assert case.found == [("BOX_OUTSIDE", "repaired")]


def test_moved_to_the_edge_if_a_keypoint_without_visibility_lies_outside(case: Case) -> None:
    case.draft.set("kpt_shape", [2, 2])
    assert case.add(POSE, Annotation(0, BOX, keypoints=(POINTS[0], (1.2, 0.3, 2))))
    assert case.stored[0][6] == "[[0.2, 0.3, 2], [1.0, 0.3, 2]]"
    assert case.found == [("BOX_OUTSIDE", "repaired")]


@pytest.mark.parametrize(
    ("task", "annotation"),
    [
        (DETECTION, Annotation(0, BOX)),
        (SEGMENTATION, Annotation(0, polygons=(SQUARE,))),
        (ORIENTED, Annotation(0, polygons=(SQUARE,))),
        (POSE, Annotation(0, BOX, keypoints=POINTS)),
        (CLASSIFICATION, Annotation(0)),
    ],
)
def test_a_copy_is_dropped_if_in_the_same_image(case: Case, task: TaskType, annotation: Annotation) -> None:
    other = case.new_image("images/b.jpg")
    assert case.add(task, annotation)
    assert case.add(task, annotation, other)
    assert not case.add(task, annotation)
    assert case.found == [("LABEL_DUPLICATE", "dropped")]
    assert len(case.stored) == 2


@pytest.mark.parametrize(
    ("task", "first", "second"),
    [
        (DETECTION, Annotation(0, BOX), Annotation(1, BOX)),
        (DETECTION, Annotation(0, BOX), Annotation(0, (0.1, 0.2, 0.5, 0.60001))),
        (SEGMENTATION, Annotation(0, BOX, (SQUARE,)), Annotation(0, BOX, (SQUARE[:6],))),
        (POSE, Annotation(0, BOX, keypoints=POINTS), Annotation(0, BOX, keypoints=POINTS[::-1])),
        (SEGMENTATION, Annotation(0, BOX, crowd=True), Annotation(0, BOX, crowd=True)),
    ],
)
def test_no_copy_if_anything_differs_in_the_label(
    case: Case, task: TaskType, first: Annotation, second: Annotation
) -> None:
    assert case.add(task, first)
    assert case.add(task, second)
    assert case.found == []


def test_a_copy_is_dropped_if_32_bits_cannot_tell_it_apart(case: Case) -> None:
    assert case.add(DETECTION, Annotation(0, BOX))
    assert not case.add(DETECTION, Annotation(0, (0.1, 0.2, 0.5, 0.6000000001)))
    assert case.found == [("LABEL_DUPLICATE", "dropped")]
