"""Checkpoints and artifacts over HTTP."""

from datetime import datetime

from pydantic import Field

from app.models import Checkpoint as CheckpointRow
from app.schemas.common import Shape
from app.words import CheckpointKind


class Checkpoint(Shape):
    """An object of weights. It stays in storage until a newer one of its kind has taken its place."""

    kind: CheckpointKind
    key: str = Field(description="in storage", examples=["checkpoints/job-1/attempt-1/9-3f9a01c2d4e5.pt"])
    sha256: str
    size: int = Field(description="bytes")
    epoch: int
    metrics: dict[str, float | None]
    attempt: int
    time: datetime
    current: bool = Field(description="whether the pointer of its kind names this one")

    @classmethod
    def of(cls, row: CheckpointRow, current: bool) -> "Checkpoint":
        columns = {column.name: getattr(row, column.name) for column in CheckpointRow.__table__.columns}
        return cls(**columns, current=current)


class Artifact(Shape):
    """A plot, a sample prediction, a curve: anything else that a trainer keeps."""

    id: int
    kind: str = Field(examples=["plot"])
    name: str = Field(examples=["confusion matrix"])
    key: str = Field(description="in storage", examples=["artifacts/job-1/confusion_matrix.png"])
    sha256: str
    size: int = Field(description="bytes")
    epoch: int | None
    attempt: int
    time: datetime
