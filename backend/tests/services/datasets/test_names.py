"""What a dataset may be called, and which imports fit it."""

import pytest

from app.db import Database
from app.errors import Conflict, Invalid
from app.services.datasets.names import check_request
from app.words import TaskType
from tests import factories

DETECTION, POSE = TaskType.OBJECT_DETECTION, TaskType.POSE_ESTIMATION


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "../a", ".a", "-a", "x" * 101, "ds-0123abcd", "a\n", "a?b", "a\x00b", "<script>", "=a"]
)
def test_name_is_refused_if_a_url_cannot_hold_it(database: Database, name: str) -> None:
    with database.read_session() as session, pytest.raises(Invalid, match="letters, digits"):
        check_request(session, name, DETECTION)


@pytest.mark.parametrize("name", ["digits", "숫자_2", "a.b-c", "7"])
def test_name_is_taken_in_any_language(database: Database, name: str) -> None:
    with database.read_session() as session:
        assert check_request(session, name, None) == (name, None)


def test_name_is_the_same_however_it_is_composed(database: Database) -> None:
    with database.read_session() as session:
        assert check_request(session, "\u1109\u116e\u11ba", DETECTION) == ("\uc22b", DETECTION)


def test_task_is_that_of_the_dataset(database: Database) -> None:
    with database.write_session() as session:
        factories.dataset(session, name="people", task_type=POSE)
    with database.read_session() as session:
        assert check_request(session, "people", None) == ("people", POSE)
        with pytest.raises(Conflict, match="is for pose_estimation, not object_detection"):
            check_request(session, "people", DETECTION)


def test_name_of_a_deleted_dataset_is_free_for_any_task(database: Database) -> None:
    with database.write_session() as session:
        factories.dataset(session, name="people", task_type=POSE, deleted_at=factories.NOW)
    with database.read_session() as session:
        assert check_request(session, "people", DETECTION) == ("people", DETECTION)
