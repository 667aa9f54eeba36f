"""Jobs over HTTP: what a person asks for and what the platform answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints

from app import models
from app.schemas import examples
from app.schemas.common import Request, Shape, Text
from app.words import JobStatus, StopIntent, TaskType

Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]


class JobCreate(Request):
    """A training job. What is left out comes from the trainer's defaults for the task."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB_CREATE]})

    name: Name | None = Field(default=None, description="default: dataset and model")
    framework: Name = Field(description="one of /api/v1/frameworks")
    task_type: Annotated[TaskType, Field(strict=False)]
    model_name: Name = Field(description="one of the framework's models for the task")
    dataset_id: Name = Field(description="a dataset's id or name")
    dataset_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="default: newest"
    )
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1000)] | None = None
    image_size: Annotated[int, Field(ge=32, le=8192)] | None = Field(default=None, description="pixels, square")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    workers: Annotated[int, Field(ge=0, le=256)] | None = Field(default=None, description="processes that load images")
    weights: Annotated[Text, StringConstraints(min_length=1, max_length=500)] = Field(
        default="pretrained", description="`pretrained`, `scratch` or a storage key"
    )
    save_period: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="epochs between uploads of the last checkpoint"
    )
    gpus: Annotated[int, Field(ge=0, le=64)] | None = Field(default=None, description="default: 1 where there is one")
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(default=0, description="higher goes first")
    max_retries: Annotated[int, Field(ge=0, le=100)] = Field(default=2, description="automatic ones, after a failure")
    hyperparameters: dict[Text, Any] = Field(default={}, description="checked against the framework's schema")


class JobConfig(Shape):
    epochs: int
    batch_size: int
    learning_rate: float
    image_size: int | None = None
    seed: int | None = None
    workers: int | None = None
    weights: str
    save_period: int | None = None
    hyperparameters: dict[str, Any] = Field(default={})


class Failure(Shape):
    code: str = Field(description="a stable name; docs/failures.md lists them all", examples=["OUT_OF_MEMORY"])
    message: str
    hint: str | None = Field(default=None, description="what to do about it")
    cause: str | None = None
    traceback: str | None = None


class Progress(Shape):
    phase: Literal["download", "prepare", "train", "validate", "upload"]
    epoch: int | None = Field(default=None, description="the epoch in progress, from 1")
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    eta_seconds: float | None = None
    time: datetime


class Best(Shape):
    metric: str = Field(examples=["mAP50-95"])
    value: float
    epoch: int


class Job(Shape):
    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    id: int
    name: str
    framework: str
    task_type: TaskType
    model_name: str
    dataset_id: str
    dataset_version: int
    config: JobConfig
    gpus: int
    priority: int
    max_retries: int
    status: JobStatus
    pending_reason: str | None = Field(description="why it waits, in words")
    stop_intent: StopIntent | None
    failure: Failure | None
    attempt: int = Field(description="the newest attempt's number; 0 before the first")
    progress: Progress | None
    best: Best | None
    mlflow_run_id: str | None
    mlflow_url: str | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Attempt(Shape):
    """One run of a trainer for the job."""

    number: int
    slots: list[str]
    resume: dict[str, Any] | None = Field(description="the checkpoint it continued from: key, sha256, epoch")
    created_at: datetime
    launched_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    exit_signal: int | None
    outcome: str | None = Field(description="completed, failed, stopped or lost")
    failure: Failure | None
    log_tail: list[str] | None = Field(description="its last lines, where it failed")


class JobDetail(Job):
    attempts: list[Attempt]


class MetricPoint(Shape):
    epoch: int
    step: int | None
    value: float | None = Field(description="null where it was not finite")
    attempt: int
    time: datetime


class MetricSeries(Shape):
    name: str = Field(examples=["train/box_loss"])
    points: list[MetricPoint]


class Metrics(Shape):
    model_config = ConfigDict(json_schema_extra={"examples": [examples.METRICS]})

    series: list[MetricSeries]


class MetricValue(Shape):
    name: str
    value: float | None


class ValidationResult(Shape):
    model_config = ConfigDict(json_schema_extra={"examples": [examples.VALIDATION]})

    attempt: int
    epoch: int
    primary: MetricValue
    metrics: dict[str, float | None]
    per_class: list[dict[str, Any]]
    artifact: str | None = Field(description="key of the confusion matrix and curves")
    time: datetime

    @classmethod
    def of(cls, row: models.Validation) -> Self:
        primary = MetricValue(name=row.primary_name, value=row.primary_value)
        return cls(
            attempt=row.attempt,
            epoch=row.epoch,
            primary=primary,
            metrics=row.metrics,
            per_class=row.per_class,
            artifact=row.artifact,
            time=row.time,
        )


class HistoryEntry(Shape):
    """One row of a job's history: a trainer's report or something the platform did."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.HISTORY_ENTRY]})

    position: int = Field(description="orders the history; never changes")
    time: datetime
    attempt: int
    source: Literal["trainer", "platform"]
    type: str
    sequence: int | None = Field(description="the trainer's own number; null for the platform's entries")
    payload: dict[str, Any]
