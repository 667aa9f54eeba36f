"""One import as files of a folder: what is asked in request.json, what came of it in outcome.json.

request.json   a Request         upload       the archive as it was sent; absent for an edit
outcome.json   an Outcome        parent.zip   parent.sqlite   the version that this one comes from, if any
progress.json  phase, done, total, replaced about twice a second; phases: unpack, inspect, read, check, write
data.zip       index.sqlite      the new version, when it was accepted
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.words import TaskType

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Phase = Literal["unpack", "inspect", "read", "check", "write"]
Progress = Callable[[Phase, int, int], None]  # phase, done, total; cheap enough to be told of every file


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitPlan(_Record):
    """How images are shared among splits where the source does not say, or where a person asks anew.

    Stratified by class, seeded, and sticky: an image that the parent version has stays where it was unless `anew`.
    """

    train: float = Field(default=0.8, gt=0, le=1)
    val: float = Field(default=0.2, gt=0, le=1)
    test: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    anew: bool = False


class Edit(_Record):
    """Changes to the parent version, in this order. Images are named by their path in it, classes by name."""

    remove_images: list[str] = Field(default_factory=list)
    rename_classes: dict[str, str] = Field(
        default_factory=dict, description="old name to new; to an existing name: merged"
    )
    remove_classes: list[str] = Field(default_factory=list, description="with their objects; images stay")
    split: SplitPlan | None = None


class Wish(_Record):
    """What a person may say about an upload; None means: find out."""

    format: str | None = None
    task_type: TaskType | None = None
    split: SplitPlan = SplitPlan()
    strict: bool = False


class Request(_Record):
    """With `edit` the parent is changed; with `adds` the upload joins the parent; else the upload stands alone."""

    wish: Wish = Wish()
    edit: Edit | None = None
    adds: bool = False
    max_bytes: int = Field(description="of all files together when unpacked")
    max_memory_bytes: int = Field(default=3 * 2**30, description="of address space for the process")


class FindingLine(_Record):
    """A finding as people see it."""

    code: str
    severity: Literal["error", "warning", "note"]
    action: Literal["kept", "repaired", "dropped", "refused"]
    file: str | None = None
    line: int | None = None
    value: str | None = None
    message: str
    fix: str


class FindingGroup(_Record):
    code: str
    severity: Literal["error", "warning", "note"]
    count: int
    fix: str
    first: list[FindingLine] = Field(description="at most five")


class Report(_Record):
    """What an import found, worst first. Stored with the version; of a refused one with the import."""

    format: str | None = None
    task_type: TaskType | None = None
    errors: int = 0
    warnings: int = 0
    notes: int = 0
    groups: list[FindingGroup] = Field(default_factory=list)


class Packed(_Record):
    """What the platform records of a version."""

    sha256: str = Field(description="over the sorted list of path and sha256")
    archive_sha256: str = Field(description="of data.zip")
    archive_size: int
    index_sha256: str
    task_type: TaskType
    format: str
    classes: list[str]
    counts: dict[str, Any]
    statistics: dict[str, Any] = Field(description="statistics.py says what is in it")


class Outcome(_Record):
    """Accepted with `packed`; refused by errors, or if strict by warnings; invalid: the upload is no archive."""

    status: Literal["accepted", "refused", "invalid"]
    report: Report = Report()
    packed: Packed | None = None
    code: str | None = Field(default=None, description="of the error: INVALID or TOO_LARGE")
    message: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
