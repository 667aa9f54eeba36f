"""Imports over HTTP: what a person brings, and how far it has come."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from app.datasets.work import Edit, Report, SplitPlan
from app.schemas.common import Request, Shape, Text
from app.words import ImportStatus, TaskType

TIME = "2026-11-23T10:00:00Z"
SHA256 = r"^[0-9a-f]{64}$"
FINDING: dict[str, Any] = {
    "code": "BOX_OUTSIDE",
    "severity": "warning",
    "action": "repaired",
    "file": "labels/train/0012.txt",
    "line": 3,
    "value": "0 0.98 0.5 0.1 0.2",
    "message": "the box ends at x = 1.03; it was cut at the image's edge",
    "fix": "Check the coordinates: pixels or fractions, and of which image size?",
}
REPORT: dict[str, Any] = {
    "format": "yolo",
    "task_type": "object_detection",
    "errors": 0,
    "warnings": 1,
    "notes": 0,
    "groups": [
        {"code": "BOX_OUTSIDE", "severity": "warning", "count": 1, "fix": FINDING["fix"], "first": [FINDING]},
    ],
}
IMPORT: dict[str, Any] = {
    "id": 7,
    "name": "digits",
    "status": "accepted",
    "received": 1843200,
    "size": 1843200,
    "progress": {"phase": "store", "done": 1843200, "total": 1843200},
    "report": REPORT,
    "error": None,
    "dataset_id": "ds-3f9a01c2",
    "version": 2,
    "is_new": True,
    "parent_version": None,
    "created_at": TIME,
    "updated_at": TIME,
    "ended_at": TIME,
}
CREATE: dict[str, Any] = {
    "name": "digits",
    "size": 1843200,
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "split": {"train": 0.7, "val": 0.2, "test": 0.1, "seed": 0},
}
FROM_STORAGE: dict[str, Any] = {"name": "street", "format": "coco", "source": {"prefix": "incoming/coco"}}
EDIT: dict[str, Any] = {
    "parent": 2,
    "edit": {"remove_images": ["images/train/0012.png"], "rename_classes": {"nought": "zero"}},
}

Key = Annotated[Text, StringConstraints(min_length=1, max_length=1024)]
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Format = Annotated[Text, StringConstraints(min_length=1, max_length=40)]


_TEXTS = TypeAdapter(list[Text])


class Source(Request):
    """Where the files are in the platform's storage: a folder of them, or one archive."""

    prefix: Key | None = Field(default=None, description="a folder of objects", examples=["incoming/coco"])
    key: Key | None = Field(default=None, description="one zip or tar", examples=["incoming/coco.zip"])

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prefix is None) == (self.key is None):
            raise ValueError("give either `prefix`, a folder of objects, or `key`, one archive")
        return self


class ImportCreate(Request):
    """What is to become a version of the dataset `name`; what is left out is found out from the files."""

    model_config = ConfigDict(json_schema_extra={"examples": [CREATE, FROM_STORAGE]})

    name: Annotated[Text, StringConstraints(max_length=200)] = Field(description="letters, digits, `_`, `-` and `.`")
    task_type: Annotated[TaskType, Field(strict=False)] | None = Field(
        default=None, description="default: that of the dataset, else what the labels are for"
    )
    format: Format | None = Field(default=None, description="default: recognised; docs/datasets.md lists them")
    strict: bool = Field(default=False, description="refuse on warnings too")
    split: SplitPlan = Field(default=SplitPlan(), description="where the source names no splits")
    adds_to: VersionNumber | None = Field(
        default=None, description="the images join those of this version; default: they stand alone"
    )
    size: Annotated[int, Field(ge=1)] | None = Field(default=None, description="bytes that will be sent")
    sha256: Annotated[str, StringConstraints(pattern=SHA256)] | None = Field(
        default=None, description="of what will be sent; compared at the start"
    )
    source: Source | None = Field(default=None, description="in storage; default: bytes that are sent in parts")

    @model_validator(mode="after")
    def _bytes_from_one_place(self) -> Self:
        if self.source is not None and (self.size is not None or self.sha256 is not None):
            raise ValueError("`size` and `sha256` are of bytes that are sent; leave them out with `source`")
        return self


class EditCreate(Request):
    """A new version from an old one, without sending anything."""

    model_config = ConfigDict(json_schema_extra={"examples": [EDIT]})

    parent: VersionNumber
    edit: Edit

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        edit = self.edit
        if edit == Edit():
            raise ValueError("ask for a change: remove_images, rename_classes, remove_classes or split")
        names = [*edit.remove_images, *edit.remove_classes, *edit.rename_classes, *edit.rename_classes.values()]
        _TEXTS.validate_python(names)
        return self


class ImportProgress(Shape):
    phase: Literal["fetch", "unpack", "inspect", "read", "check", "write", "store"]
    done: int = Field(description="of `total`: bytes in fetch and store, else files or entries")
    total: int | None = None


class ImportProblem(Shape):
    code: str = Field(examples=["OUT_OF_MEMORY"])
    message: str
    details: dict[str, Any] = Field(default={})


class Import(Shape):
    """`error` says why it failed; of a running one, what it waits for."""

    model_config = ConfigDict(json_schema_extra={"examples": [IMPORT]})

    id: int
    name: str = Field(validation_alias=AliasChoices("dataset_name", "name"))
    status: ImportStatus
    received: int = Field(description="bytes, safe on the disk")
    size: int | None
    progress: ImportProgress | None
    report: Report | None = Field(description="what was found, once it has ended")
    error: ImportProblem | None
    dataset_id: str | None = Field(description="as `version` and `is_new`: known once it is accepted")
    version: int | None
    is_new: bool | None = Field(description="false: this content is a version already")
    parent_version: int | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    @model_validator(mode="after")
    def _names_what_exists(self) -> Self:
        if self.status is not ImportStatus.ACCEPTED:
            self.dataset_id = self.version = self.is_new = None
        return self
