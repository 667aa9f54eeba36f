"""Classes renumbered, merged, removed."""

from collections import Counter

import pytest

from app.datasets.classes import renumber, sort_used
from app.datasets.draft import Draft
from tests.datasets.drafts import CLASSIFICATION, add, draft_of


def objects(draft: Draft) -> Counter[str]:
    query = "SELECT classes.name, count(*) FROM annotations JOIN classes ON classes.id = class_id GROUP BY 1"
    return Counter(dict(draft.connection.execute(query)))


@pytest.mark.parametrize(
    ("names", "numbers", "expected"),
    [
        (["a", "b", "c"], {0: 0, 1: 1, 2: 2}, {"a": 1, "b": 2, "c": 3}),
        (["c", "a", "b"], {0: 1, 1: 2, 2: 0}, {"a": 1, "b": 2, "c": 3}),
        (["b", "a"], {0: 1, 1: 0, 2: 1}, {"a": 4, "b": 2}),
        (["c"], {0: None, 1: None, 2: 0}, {"c": 3}),
        (["new", "a", "b", "c"], {0: 1, 1: 2, 2: 3}, {"a": 1, "b": 2, "c": 3}),
    ],
)
def test_objects_follow_their_classes(
    names: list[str], numbers: dict[int, int | None], expected: dict[str, int]
) -> None:
    with draft_of(classes=["a", "b", "c"]) as draft:
        add(draft, "1.jpg", classes=[0, 1, 1, 2, 2, 2])
        renumber(draft, names, numbers)
        assert draft.classes == names
        assert objects(draft) == expected
        draft.connection.execute("COMMIT")  # every object has its class
        draft.connection.execute("BEGIN")


def test_folders_are_sorted_by_their_names() -> None:
    with draft_of(CLASSIFICATION, ["ß", "z", "A", "unused", "a"]) as draft:
        for number in (0, 1, 2, 4):
            add(draft, f"{number}.jpg", classes=[number])
        assert sort_used(draft) == ["unused"]
        assert draft.classes == ["A", "a", "z", "ß"]
