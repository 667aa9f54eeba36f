"""Label lines of every format and what data.yaml may say."""

from typing import Any

import pytest

from app.errors import Invalid
from app.services.datasets.labels import Description, check_labels, read_description
from app.services.datasets.problems import Problems
from app.words import TaskType
from tests.services.datasets.zips import LINES

DETECTION, SEGMENTATION = TaskType.OBJECT_DETECTION, TaskType.INSTANCE_SEGMENTATION
ORIENTED, POSE = TaskType.ORIENTED_OBJECT_DETECTION, TaskType.POSE_ESTIMATION
DESCRIPTION = Description(["cat", "dog"], (2, 3))


def _check(text: str | bytes, task_type: TaskType = DETECTION) -> tuple[list[int], list[dict[str, Any]]]:
    problems = Problems()
    data = text.encode() if isinstance(text, str) else text
    classes = check_labels("labels/train/a.txt", data, DESCRIPTION, task_type, problems)
    try:
        problems.raise_if_any("refused")
    except Invalid as error:
        return classes, error.details["fields"]
    return classes, []


@pytest.mark.parametrize(("task_type", "text"), LINES.items())
def test_lines_of_every_task_are_read(task_type: TaskType, text: str) -> None:
    assert _check(text, task_type) == ([0, 1], [])


@pytest.mark.parametrize("text", ["", "\n \n", "0 0 0 1 1", "1.0 0 0 1 1\r\n"])
def test_blank_lines_and_line_ends_do_not_matter(text: str) -> None:
    assert _check(text)[1] == []


@pytest.mark.parametrize(
    ("task_type", "line", "words"),
    [
        (DETECTION, "0 0.5 0.5 0.2", "has 4 columns, not 5"),
        (DETECTION, "0 0.1 0.1 0.9 0.1 0.5 0.9", "has 7 columns, not 5"),
        (DETECTION, "2 0.5 0.5 0.2 0.2", "class 2 is not one of 0 to 1"),
        (DETECTION, "-1 0.5 0.5 0.2 0.2", "class -1 is not one of 0 to 1"),
        (DETECTION, "0.5 0.5 0.5 0.2 0.2", "class 0.5"),
        (DETECTION, "cat 0.5 0.5 0.2 0.2", "'cat' is not a finite number"),
        (DETECTION, "0 nan 0.5 0.2 0.2", "'nan' is not a finite number"),
        (DETECTION, "0 1e999 0.5 0.2 0.2", "'1e999' is not a finite number"),
        (DETECTION, "0 0_1 0.5 0.2 0.2", "'0_1' is not a finite number"),
        (DETECTION, "0 320 240 20 20", "320 is outside 0 to 1"),
        (DETECTION, "0 -0.5 0.5 0.2 0.2", "-0.5 is outside 0 to 1"),
        (ORIENTED, "0 0.1 0.1 0.9 0.1", "has 5 columns, not 9"),
        (SEGMENTATION, "0 0.1 0.1 0.9 0.1", "has 5 columns"),
        (SEGMENTATION, "0 0.1 0.1 0.9 0.1 0.5 0.9 0.1", "has 8 columns"),
        (POSE, "0 0.5 0.5 0.2 0.2", "has 5 columns, not 11"),
        (POSE, "0 0.5 0.5 0.2 0.2 0.4 0.4 7 0.6 0.6 0", "visibility 7 is not 0, 1 or 2"),
        (POSE, "0 0.5 0.5 0.2 0.2 0.4 40 2 0.6 0.6 0", "40 is outside 0 to 1"),
    ],
)
def test_line_is_named_with_what_is_wrong(task_type: TaskType, line: str, words: str) -> None:
    good = LINES[task_type]
    classes, problems = _check(f"{good}{line}\n", task_type)
    assert classes == [0, 1]
    assert [(problem["field"], problem["value"]) for problem in problems] == [("labels/train/a.txt:3", line)]
    assert words in problems[0]["message"]


def test_file_is_named_if_it_is_not_text() -> None:
    assert _check(b"\xff\xfe0")[1] == [{"field": "labels/train/a.txt", "value": None, "message": "is not UTF-8 text"}]


@pytest.mark.parametrize("text", ["names: [cat, dog]", "names: {0: cat, 1: dog}", "names:\n  1: dog\n  0: cat"])
def test_names_are_a_list_or_a_mapping(text: str) -> None:
    assert read_description(text.encode(), DETECTION).names == ["cat", "dog"]


def test_keypoints_are_read_for_pose_alone() -> None:
    text = b"names: [a]\nkpt_shape: [3, 2]\nflip_idx: [0, 2, 1]"
    assert read_description(text, POSE) == Description(["a"], (3, 2), [0, 2, 1])
    assert read_description(text, DETECTION) == Description(["a"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a mapping"),
        ("names: [", "not readable YAML"),
        ("names: !!python/name:os.system", "not readable YAML"),
        ("[" * 5000, "not readable YAML"),
        ("nc: 2", "names: must be a list"),
        ("names: []", "names: must be a list"),
        ("names: {1: a, 2: b}", "names: must be a list"),
        ("names: [yes, no]", "put it in quotes"),
        ("names: [a, a]", "twice"),
        ("names: ['']", "is empty"),
        ("names: [[a]]", "not a plain name"),
        ('names: ["a\\0b"]', "control characters"),
        ("names: [0x" + "f" * 9000 + "]", "not a plain name"),
        ("names: [a]\nkpt_shape: [0, 3]", "kpt_shape"),
        ("names: [a]\nkpt_shape: [3, 4]", "kpt_shape"),
        ("names: [a]", "kpt_shape"),
        ("names: [a]\nkpt_shape: [2, 3]\nflip_idx: [0, 0]", "flip_idx"),
        ("names: [a]\nkpt_shape: [2, 3]\nflip_idx: [[], {}]", "flip_idx"),
    ],
)
def test_description_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=r"data\.yaml") as caught:
        read_description(text.encode(), POSE)
    assert words in caught.value.message


def test_aliases_of_yaml_cannot_fill_the_memory() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60))
    with pytest.raises(Invalid, match="not a plain name"):
        read_description(f"a0: &a0 [x]\n{levels}\nnames: [*a59]\nkpt_shape: *a59".encode(), POSE)
