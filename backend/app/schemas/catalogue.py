"""The catalogue over HTTP: which frameworks are here, what they train and with which parameters."""

from typing import Any

from pydantic import Field

from app.schemas.common import Shape
from app.words import TaskType


class Model(Shape):
    name: str = Field(examples=["yolo11n"])
    title: str | None = None
    parameters_millions: float | None = None
    advice: str | None = None
    weights_license: str | None = None


class FoundModel(Model):
    """A model with all that is known of it."""

    recommended: bool = Field(description="trainer.yaml names it, usually with an advice")
    input_size: int | None = Field(None, description="pixels of a side, as it was made for")
    pretrained: dict[str, str | None] = Field(
        default_factory=dict,
        description="license of its pretrained weights by tag, null if unknown; a job's `model_name` may be name.tag",
        examples=[{"a1_in1k": "apache-2.0"}],
    )
    non_commercial: list[str] = Field(default_factory=list, description="tags whose license forbids commercial use")


class FoundModels(Shape):
    items: list[FoundModel]
    total: int = Field(description="how many there are, shown or not")


class Defaults(Shape):
    """What a job gets where it names nothing else."""

    epochs: int
    batch_size: int
    learning_rate: float
    image_size: int


class Task(Shape):
    primary_metric: str = Field(description="the metric that chooses the best checkpoint", examples=["mAP50-95"])
    defaults: Defaults
    models: list[Model] = Field(description="recommended ones")
    model_count: int = Field(description="of all that may be chosen: see `/models`")


class Framework(Shape):
    name: str = Field(description="a job's `framework`", examples=["ultralytics"])
    title: str
    version: str
    license: str = Field(description="SPDX identifier", examples=["AGPL-3.0"])
    max_gpus: int
    tasks: dict[TaskType, Task]
    hyperparameters: dict[str, Any] = Field(description="the JSON Schema of a job's `hyperparameters`")


class Problem(Shape):
    """A trainer folder that cannot be used."""

    folder: str
    reason: str


class Frameworks(Shape):
    items: list[Framework]
    problems: list[Problem]
