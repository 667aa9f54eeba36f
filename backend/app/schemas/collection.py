"""What a collection removed, or would."""

from pydantic import Field

from app.schemas.common import Shape
from app.words import CollectedKind


class CollectedItem(Shape):
    kind: CollectedKind
    what: str = Field(examples=["work/job-3/attempt-1"], description="a path in DATA_DIR, or a key in storage")
    bytes: int
    reason: str = Field(examples=["its attempt ended 8 days ago (RETENTION_WORK_DAYS)"])


class Collection(Shape):
    """What went, or would go in a dry run, and why."""

    dry_run: bool
    items: list[CollectedItem]
    problems: list[str] = Field(description="where could not be looked, and what could not be removed")
