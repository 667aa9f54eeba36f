"""Drafts in memory, filled by hand."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.datasets.annotations import Annotation
from app.datasets.draft import Draft, SourceImage
from app.words import TaskType

DETECTION, CLASSIFICATION = TaskType.OBJECT_DETECTION, TaskType.IMAGE_CLASSIFICATION


@contextmanager
def draft_of(task_type: TaskType = DETECTION, classes: Sequence[str] = ("cat", "dog")) -> Iterator[Draft]:
    draft = Draft(Path(":memory:"))
    draft.set("task_type", task_type)
    draft.set_classes(classes)
    yield draft
    draft.connection.close()


def add(draft: Draft, entry: str, split: str | None = "train", classes: Sequence[int] = (0,), **facts: Any) -> int:
    """An image with an object of each class, all different; `content` makes it a copy of another."""
    content = hashlib.sha256(str(facts.pop("content", entry)).encode()).hexdigest()
    values = {"format": "JPEG", "width": 64, "height": 48, "orientation": 1, **facts}
    image_id = draft.add_image(SourceImage(0, entry, content, **values))
    draft.place(image_id, entry.rpartition("/")[2], split)
    for number, class_id in enumerate(classes):
        is_box = draft.task_type is not CLASSIFICATION
        left = 0.01 * number
        draft.annotate(image_id, Annotation(class_id, (left, 0.25, left + 0.5, 0.75) if is_box else None))
    return image_id


def fill(draft: Draft, count: int, classes: Sequence[int | Sequence[int]], split: str | None = None) -> None:
    """Images 0 to `count`: each with the classes of its number, by turns."""
    for number in range(count):
        shown = classes[number % len(classes)]
        add(draft, f"{number}.jpg", split, [shown] if isinstance(shown, int) else shown)


def splits(draft: Draft) -> dict[str, str | None]:
    return dict(draft.connection.execute("SELECT entry, split FROM images ORDER BY id"))


def codes(draft: Draft) -> list[str]:
    return [code for (code,) in draft.connection.execute("SELECT code FROM findings ORDER BY id")]


def findings(draft: Draft, code: str) -> list[tuple[Any, ...]]:
    """File, value and action of each."""
    query = "SELECT file, value, action FROM findings WHERE code = ? ORDER BY id"
    return draft.connection.execute(query, (code,)).fetchall()
