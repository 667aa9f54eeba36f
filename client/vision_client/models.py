"""The shapes of the public API. Fields that a newer platform adds are kept and passed on."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

ENDED = frozenset({"completed", "failed", "cancelled"})

ItemT = TypeVar("ItemT")


class Shape(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Page(Shape, Generic[ItemT]):
    items: list[ItemT]
    next_cursor: str | int | None = None


class DatasetVersion(Shape):
    version: int
    sha256: str
    archive_sha256: str
    archive_size: int
    classes: list[str]
    counts: dict[str, dict[str, int]]
    created_at: datetime


class Dataset(Shape):
    """`latest` is missing where every version is deleted."""

    id: str
    name: str
    task_type: str
    created_at: datetime
    deleted_at: datetime | None = None
    latest: DatasetVersion | None = None
    versions: list[DatasetVersion] = []


class Finding(Shape):
    """What an import met in one place."""

    code: str
    severity: str
    action: str
    file: str | None = None
    line: int | None = None
    value: str | None = None
    message: str
    fix: str = ""


class FindingGroup(Shape):
    code: str
    severity: str
    count: int
    fix: str
    first: list[Finding]


class Report(Shape):
    format: str | None = None
    task_type: str | None = None
    errors: int = 0
    warnings: int = 0
    notes: int = 0
    groups: list[FindingGroup] = []


class VersionDetail(DatasetVersion):
    format: str | None = None
    origin: str = "import"
    parent_version: int | None = None
    report: Report | None = None
    statistics: dict[str, Any] | None = None


class ImportProgress(Shape):
    phase: str
    done: int
    total: int | None = None


class ImportProblem(Shape):
    code: str
    message: str
    details: dict[str, Any] = {}


class Import(Shape):
    """What is to become a version: bytes are sent, then it is read, then it is accepted or refused."""

    id: int
    name: str
    status: str
    received: int
    size: int | None = None
    progress: ImportProgress | None = None
    report: Report | None = None
    error: ImportProblem | None = None
    dataset_id: str | None = None
    version: int | None = None
    is_new: bool | None = None


class ImageChange(Shape):
    path: str
    before: str | None = None


class ImageChanges(Shape):
    count: int
    first: list[ImageChange]


class ClassChange(Shape):
    """Objects of the class; None where it is no class of that version."""

    before: int | None
    after: int | None


class Comparison(Shape):
    """`images` has what was added, removed, moved between splits, renamed and relabelled."""

    images: dict[str, ImageChanges]
    classes: dict[str, ClassChange]


class Failure(Shape):
    code: str
    message: str
    hint: str | None = None
    cause: str | None = None
    traceback: str | None = None


class Progress(Shape):
    phase: str
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    eta_seconds: float | None = None


class Best(Shape):
    metric: str
    value: float | None
    epoch: int


class Attempt(Shape):
    number: int
    slots: list[str]
    resume: dict[str, Any] | None = None
    created_at: datetime
    launched_at: datetime | None = None
    heartbeat_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    outcome: str | None = None
    failure: Failure | None = None
    log_tail: list[str] | None = None


class Job(Shape):
    id: int
    name: str
    framework: str
    task_type: str
    model_name: str
    dataset_id: str
    dataset_version: int
    config: dict[str, Any]
    gpus: int
    priority: int
    max_retries: int
    status: str
    pending_reason: str | None = None
    stop_intent: str | None = None
    failure: Failure | None = None
    attempt: int
    progress: Progress | None = None
    best: Best | None = None
    mlflow_run_id: str | None = None
    mlflow_url: str | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class JobDetail(Job):
    attempts: list[Attempt]


class MetricPoint(Shape):
    epoch: int
    step: int | None = None
    value: float | None
    attempt: int
    time: datetime


class MetricSeries(Shape):
    name: str
    points: list[MetricPoint]


class Primary(Shape):
    name: str
    value: float | None


class Validation(Shape):
    attempt: int
    epoch: int
    primary: Primary
    metrics: dict[str, float | None]
    per_class: list[dict[str, Any]]
    artifact: str | None = None
    time: datetime


class HistoryEntry(Shape):
    """One row of a job's history; `position` orders it, also across attempts."""

    position: int
    time: datetime
    attempt: int | None = None
    source: str
    type: str
    sequence: int | None = None
    payload: dict[str, Any]


class LogPiece(Shape):
    """A piece of one attempt's log, counted in bytes; `complete` once nothing more can follow."""

    attempt: int
    offset: int
    next_offset: int
    total: int
    text: str
    complete: bool


class Checkpoint(Shape):
    kind: str
    key: str
    sha256: str
    size: int
    epoch: int
    metrics: dict[str, float | None]
    attempt: int
    time: datetime
    current: bool


class Artifact(Shape):
    id: int
    kind: str
    name: str
    key: str
    sha256: str
    size: int
    epoch: int | None = None
    time: datetime


class Framework(Shape):
    name: str
    title: str
    version: str
    license: str
    max_gpus: int
    tasks: dict[str, dict[str, Any]]
    hyperparameters: dict[str, Any]

    def models(self, task_type: str) -> list[str]:
        return [model["name"] for model in self.tasks.get(task_type, {}).get("models", [])]


class Problem(Shape):
    folder: str
    reason: str


class Catalogue(Shape):
    items: list[Framework]
    problems: list[Problem] = []


class Slot(Shape):
    name: str
    job_id: int | None = None


class System(Shape):
    version: str
    environment: str
    installation_id: str
    slots: list[Slot]
    mlflow_url: str | None = None
    docs_url: str | None = None


class CollectedItem(Shape):
    """Something that went, or would go: a path in the platform's data folder or a key in storage."""

    kind: str
    what: str
    bytes: int
    reason: str


class Collection(Shape):
    dry_run: bool
    items: list[CollectedItem]
    problems: list[str] = []


class Keypoint(Shape):
    x: float
    y: float
    confidence: float | None = None


class Detection(Shape):
    """One thing seen, in pixels of the image after EXIF orientation; which shape it has depends on the task."""

    class_id: int
    class_name: str
    confidence: float
    box: tuple[float, float, float, float] | None = None
    polygon: list[tuple[float, float]] | None = None
    keypoints: list[Keypoint] | None = None
    rotated_box: list[tuple[float, float]] | None = None


class PredictionResult(Shape):
    image: str
    task_type: str
    width: int
    height: int
    predictions: list[Detection]
    count: int
    milliseconds: dict[str, float]


class CheckpointReference(Shape):
    key: str
    sha256: str
    epoch: int | None = None


class Prediction(Shape):
    job_id: int
    checkpoint: CheckpointReference
    result: PredictionResult
