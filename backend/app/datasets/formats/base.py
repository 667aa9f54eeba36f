"""The shape of a format: how it is recognised and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass

from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.work import Wish
from app.words import TaskType


@dataclass(frozen=True)
class Clues:
    """Why an archive looks like a format. The highest score wins; equal ones are FORMAT_AMBIGUOUS.

    `score`: 3 a file that only this format has (data.yaml, an annotations JSON), 2 its folders, 1 nothing against it.
    """

    score: int
    reason: str


@dataclass(frozen=True)
class Format:
    """`recognise` looks at names and heads of files; `read` fills the draft, whose images are inspected already.

    `read` sets the draft's task and classes, places every image it knows (with its split, or None where the source
    has no splits) and annotates it. It adds findings for what it meets and raises only what is not about the data.
    """

    name: str
    title: str
    tasks: tuple[TaskType, ...]
    recognise: Callable[[Archive], Clues | None]
    read: Callable[[Archive, Draft, Wish], None]
