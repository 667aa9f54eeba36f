"""Predictions over HTTP: what contracts/prediction.schema.json allows, in Python."""

from typing import Any

from pydantic import Field

from app.schemas.common import Shape
from app.words import TaskType

Point = tuple[float, float]


class Keypoint(Shape):
    x: float
    y: float
    confidence: float | None = None


class Found(Shape):
    """One thing in the image, or one class with its probability. Positions are pixels of the upright image."""

    class_id: int
    class_name: str = Field(examples=["scratch"])
    confidence: float = Field(examples=[0.94])
    box: tuple[float, float, float, float] | None = Field(default=None, description="x1, y1, x2, y2")
    polygon: list[Point] | None = None
    keypoints: list[Keypoint] | None = None
    rotated_box: tuple[Point, Point, Point, Point] | None = Field(default=None, description="four corners")


class Result(Shape):
    image: str = Field(description="its key in storage")
    task_type: TaskType
    width: int
    height: int
    predictions: list[Found]
    count: int
    milliseconds: dict[str, float] = Field(examples=[{"preprocess": 1.1, "inference": 21.0, "postprocess": 0.6}])


class CheckpointUsed(Shape):
    key: str
    sha256: str
    epoch: int


class Prediction(Shape):
    job_id: int
    checkpoint: CheckpointUsed
    result: Result


FORM: dict[str, Any] = {
    "type": "object",
    "required": ["job_id"],
    "properties": {
        "job_id": {"type": "integer", "description": "whose best checkpoint answers"},
        "image": {"type": "string", "format": "binary", "description": "the image itself; or give `key`"},
        "key": {"type": "string", "description": "the storage key of an image; or give `image`"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.25},
    },
}
