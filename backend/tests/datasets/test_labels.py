"""Label lines: what trainers read, and the same again when it is read back."""

import random

import pytest

from app.datasets.annotations import Annotation, Box
from app.datasets.draft import Draft
from app.datasets.labels import label_text
from app.words import TaskType
from tests.datasets.drafts import add, draft_of


def text(task: TaskType, *annotations: Annotation, numbers: int = 3) -> str:
    with draft_of(task, ["a", "b"]) as draft:
        image_id = add(draft, "a.jpg", classes=[])
        for annotation in annotations:
            draft.annotate(image_id, annotation)
        return label_text(draft.connection, image_id, task, numbers)


def test_box_is_its_centre_and_size() -> None:
    assert text(TaskType.OBJECT_DETECTION, Annotation(1, (0.1, 0.2, 0.4, 0.8))) == "1 0.25 0.5 0.3 0.6\n"


def test_outline_is_its_points_and_parts_are_one_line() -> None:
    square, other = (0.0, 0.0, 0.1, 0.0, 0.1, 0.1), (0.5, 0.5, 0.6, 0.5, 0.6, 0.6)
    line = text(TaskType.INSTANCE_SEGMENTATION, Annotation(0, (0, 0, 1, 1), (square,)))
    assert line == "0 0 0 0.1 0 0.1 0.1\n"
    joined = text(TaskType.INSTANCE_SEGMENTATION, Annotation(0, (0, 0, 1, 1), (square, other)))
    assert joined == "0 0 0 0.1 0 0.1 0.1 0.5 0.5 0.6 0.5 0.6 0.6 0.5 0.5 0.1 0.1\n"


def test_oriented_box_is_its_corners() -> None:
    corners = (0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.1, 0.4)
    line = text(TaskType.ORIENTED_OBJECT_DETECTION, Annotation(0, (0.1, 0.2, 0.3, 0.4), (corners,)))
    assert line == "0 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n"


@pytest.mark.parametrize(("numbers", "points"), [(3, "0.5 0.5 2 0 0 0"), (2, "0.5 0.5 0 0")])
def test_pose_is_its_box_and_points(numbers: int, points: str) -> None:
    pose = Annotation(0, (0.1, 0.2, 0.4, 0.8), keypoints=((0.5, 0.5, 2), (0.0, 0.0, 0)))
    assert text(TaskType.POSE_ESTIMATION, pose, numbers=numbers) == f"0 0.25 0.5 0.3 0.6 {points}\n"


def test_crowd_is_left_out() -> None:
    assert text(TaskType.OBJECT_DETECTION, Annotation(0, (0, 0, 1, 1), crowd=True)) == ""


def test_numbers_have_eight_significant_digits() -> None:
    line = text(TaskType.OBJECT_DETECTION, Annotation(0, (1 / 3, 1 / 7, 2 / 3, 0.1428572)))
    assert line == "0 0.5 0.14285717 0.33333333 5.7142857e-08\n"


def test_line_that_is_read_back_gives_the_same_line() -> None:
    draw = random.Random(0)
    with draft_of() as draft:
        image_id = add(draft, "a.jpg", classes=[])
        for _ in range(3000):
            x1, x2 = sorted((draw.choice([0.0, draw.random()]), draw.choice([1.0, draw.random()])))
            y1, y2 = sorted((draw.choice([0.0, draw.random()]), draw.choice([1.0, draw.random()])))
            line = _replaced(draft, image_id, (x1, y1, x2, y2))
            x, y, width, height = (float(word) for word in line.split()[1:])
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            assert all(-1e-9 < value < 1 + 1e-9 for value in box), line
            left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in box)
            assert _replaced(draft, image_id, (left, top, right, bottom)) == line


def _replaced(draft: Draft, image_id: int, box: Box) -> str:
    draft.connection.execute("DELETE FROM annotations")
    draft.annotate(image_id, Annotation(0, box))
    return label_text(draft.connection, image_id, draft.task_type)
