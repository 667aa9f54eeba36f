"""Which format an upload has."""

from collections.abc import Callable

import pytest

from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.recognise import FORMATS, NotRecognised, recognise
from app.datasets.work import Wish
from app.words import TaskType
from tests.datasets.formats.uploads import Upload

DETECTION, POSES = TaskType.OBJECT_DETECTION, TaskType.POSE_ESTIMATION


def known(name: str, score: int | None, *tasks: TaskType) -> Format:
    def read(archive: Archive, draft: Draft, wish: Wish) -> None:
        raise AssertionError("nothing is read to recognise it")

    clues: Callable[[Archive], Clues | None] = lambda _: None if score is None else Clues(score, f"as {name}")  # noqa: E731
    return Format(name, name.upper(), tasks or (DETECTION,), clues, read)


def chosen(*formats: Format, **wish: str) -> str:
    return recognise(Upload({"a.jpg": b""}), Wish.model_validate(wish), formats).name


def refused(*formats: Format, **wish: str) -> tuple[str, str]:
    with pytest.raises(NotRecognised) as caught:
        chosen(*formats, **wish)
    return caught.value.finding.code, caught.value.finding.message


def test_format_with_the_best_clues_is_chosen() -> None:
    assert chosen(known("a", 1), known("b", 3), known("c", 2), known("d", None)) == "b"


def test_format_is_what_a_person_names() -> None:
    assert chosen(known("a", None), known("b", 3), format="a") == "a"


def test_format_without_the_wished_task_does_not_count() -> None:
    assert chosen(known("a", 3), known("b", 1, POSES), task_type=POSES) == "b"


def test_upload_is_refused_if_nothing_speaks_for_a_format() -> None:
    code, message = refused(known("a", None), known("b", None))
    assert code == "FORMAT_UNKNOWN"
    assert "none of A, B" in message and "a.jpg" in message


def test_upload_is_refused_if_two_formats_are_as_likely() -> None:
    code, message = refused(known("a", 2), known("b", 2), known("c", 1))
    assert code == "FORMAT_AMBIGUOUS"
    assert "A (as a); B (as b)" in message and "C" not in message


def test_upload_is_refused_if_the_named_format_does_not_exist() -> None:
    assert refused(known("a", 3), format="x") == ("FORMAT_UNKNOWN", "'x' is no format; there are a")


def test_upload_is_refused_if_the_named_format_lacks_the_task() -> None:
    code, message = refused(known("a", 3), format="a", task_type=POSES)
    assert (code, message) == ("FORMAT_UNKNOWN", "A has no labels for pose_estimation; it has object_detection")


def test_formats_have_names_of_their_own_and_every_task_has_one() -> None:
    names = [known.name for known in FORMATS]
    assert len(names) == len(set(names))
    assert {task for known in FORMATS for task in known.tasks} == set(TaskType)
