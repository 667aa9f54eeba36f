"""What trainers report: the Python twin of contracts/events.schema.json, event by event.

Exact JSON types as in the contract: a string is never taken for a number, 7.0 is a whole number, NaN is refused.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from app.schemas import examples
from app.schemas.common import Shape, Text

MAX_EVENTS = 500
MAX_BYTES = 2**20
MAX_NUMBER = 2**53 - 1  # the largest whole number that every JSON reader keeps exact
MAX_EPOCH = 2**31 - 1
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _real(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        return float(value)  # OverflowError beyond 1e308, which `parse` names as any other problem
    return value


def _time(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with its zone, as 2026-11-23T10:00:00Z")
    return value


def _representable(value: datetime) -> datetime:
    if not 1970 <= value.year <= 9998:
        raise ValueError("must be between the years 1970 and 9998")
    return value


Whole = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MAX_NUMBER)]
Positive = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_NUMBER)]
Epoch = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MAX_EPOCH)]
Epochs = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_EPOCH)]
Real = Annotated[float, BeforeValidator(_real)]
Number = Real | None
Time = Annotated[AwareDatetime, BeforeValidator(_time), AfterValidator(_representable), Field(strict=False)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{2,39}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[Text, StringConstraints(max_length=120)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=120)]
Long = Annotated[Text, StringConstraints(max_length=4000)]
Numbers = Annotated[dict[Name, Number], Field(max_length=200)]


def _safe_key(value: str) -> str:
    if value.startswith("/") or "\\" in value or {".", ".."} & set(value.split("/")):
        raise ValueError("must be a relative storage key without '.', '..' or backslashes")
    return value


Key = Annotated[Text, StringConstraints(min_length=1, max_length=500), AfterValidator(_safe_key)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Event(_Part):
    sequence: Positive
    time: Time


class Failure(_Part):
    code: Code
    message: Long
    hint: Long | None = None
    traceback: Annotated[Text, StringConstraints(max_length=20000)] | None = None


class StatusEvent(_Event):
    type: Literal["status"]
    status: Literal["running", "completed", "failed", "stopped"]
    failure: Failure = Field(default=None, validate_default=False)  # type: ignore[assignment]

    @model_validator(mode="after")
    def _failure_goes_with_failed(self) -> "StatusEvent":
        if ("failure" in self.model_fields_set) != (self.status == "failed"):
            raise ValueError(f"status {self.status!r}: `failure` goes with 'failed' and with nothing else")
        return self


class ProgressEvent(_Event):
    type: Literal["progress"]
    phase: Literal["download", "prepare", "train", "validate", "upload"]
    epoch: Epoch = 0
    epochs: Epochs = 1
    step: Whole = 0
    steps: Whole = 0
    eta_seconds: Number = None
    seconds: Annotated[Real, Field(ge=0)] = 0.0


class MetricsEvent(_Event):
    type: Literal["metrics"]
    epoch: Epoch
    step: Whole | None = None
    values: Numbers


class Gpu(_Part):
    index: Whole
    name: Short = ""
    utilization_percent: Number
    memory_bytes: Whole
    memory_total_bytes: Whole = 0


class SystemEvent(_Event):
    type: Literal["system"]
    cpu_percent: Number
    memory_bytes: Whole
    memory_total_bytes: Whole = 0
    disk_free_bytes: Whole = 0
    gpus: Annotated[list[Gpu], Field(max_length=64)] = []


class Primary(_Part):
    name: Short
    value: Number


class ClassRow(_Part):
    """A class and its numbers, by any names."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Text, Number]

    class_id: Whole
    class_name: Annotated[Text, StringConstraints(max_length=200)]


class ValidationEvent(_Event):
    type: Literal["validation"]
    epoch: Epoch
    primary: Primary
    metrics: Numbers
    per_class: Annotated[list[ClassRow], Field(max_length=2000)] = []
    artifact: Key | None = None


class CheckpointEvent(_Event):
    type: Literal["checkpoint"]
    kind: Literal["best", "last"]
    key: Key
    sha256: Sha256
    size: Whole
    epoch: Epoch
    metrics: Numbers = {}


class ArtifactEvent(_Event):
    type: Literal["artifact"]
    kind: Literal["curves", "plot", "sample_predictions", "export", "log", "other"]
    name: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    key: Key
    sha256: Sha256
    size: Whole
    epoch: Epoch | None = None


class RunEvent(_Event):
    type: Literal["run"]
    mlflow_run_id: Annotated[Text, StringConstraints(max_length=64)] | None = None
    versions: Annotated[dict[Text, Short], Field(max_length=40)] = {}
    hardware: Annotated[dict[Text, Text | Real | None], Field(max_length=40)] = {}


class WarningEvent(_Event):
    type: Literal["warning"]
    code: Code
    message: Long


TrainerEvent = Annotated[
    StatusEvent
    | ProgressEvent
    | MetricsEvent
    | SystemEvent
    | ValidationEvent
    | CheckpointEvent
    | ArtifactEvent
    | RunEvent
    | WarningEvent,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[TrainerEvent] = TypeAdapter(TrainerEvent)


class Batch(_Part):
    """A batch of reports; each event is judged alone, so here it may be anything."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.BATCH]})

    attempt: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_EPOCH)]
    instance: Annotated[Text, StringConstraints(min_length=8, max_length=64)] = Field(
        description="random, one per process"
    )
    events: Annotated[list[Any], Field(max_length=MAX_EVENTS)] = Field(description="empty: a heartbeat")


class Rejection(Shape):
    sequence: int | None = Field(description="null where the event has no readable number")
    reason: str


class Answer(Shape):
    """What the backend says to a batch, after the commit."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ANSWER]})

    acknowledged: int = Field(description="the highest sequence stored or rejected")
    rejected: list[Rejection] = Field(default=[])
    should_stop: bool = False
