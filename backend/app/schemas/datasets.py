"""Datasets over HTTP."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from app.schemas.common import Shape
from app.words import TaskType

_VERSION_EXAMPLE: dict[str, Any] = {
    "version": 1,
    "sha256": "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    "archive_sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "archive_size": 1843200,
    "classes": ["zero", "one"],
    "counts": {
        "images": {"train": 256, "val": 64},
        "instances": {"train": 812, "val": 197},
        "classes": {"zero": 510, "one": 499},
        "files": {"ignored": 0},
    },
    "created_at": "2026-11-23T10:00:00Z",
}


class Version(Shape):
    """An immutable state of a dataset."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERSION_EXAMPLE]})

    version: int
    sha256: str = Field(description="the content's identity: over its sorted (path, sha256) list")
    archive_sha256: str = Field(description="of data.zip, which trainers fetch")
    archive_size: int = Field(description="bytes")
    classes: list[str]
    counts: dict[str, dict[str, int]] = Field(
        description="images and instances by split, instances by class, files of the upload that were left out"
    )
    created_at: datetime


class Dataset(Shape):
    id: str = Field(examples=["ds-3f9a01c2"])
    name: str = Field(examples=["digits"])
    task_type: TaskType
    created_at: datetime
    deleted_at: datetime | None = Field(default=None, description="null unless it is deleted and can be restored")
    latest: Version | None = Field(description="null while every version is deleted")
    versions: list[Version]
    deleted_versions: list[int] = Field(default=[], description="numbers of those that can be restored")
