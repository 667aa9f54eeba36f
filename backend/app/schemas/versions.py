"""What is in a version of a dataset, over HTTP."""

from typing import Any, Self

from pydantic import Field

from app.datasets.findings import KINDS
from app.datasets.index import IndexedFinding
from app.datasets.work import FindingLine, Report
from app.schemas.common import Shape
from app.schemas.datasets import Version
from app.words import Origin


class VersionDetail(Version):
    """A version with what its import found and what is in it. Those made by an older release have neither."""

    origin: Origin = Field(description="an upload, an upload joined to its parent, or a change to its parent")
    format: str | None = Field(description="what it was brought as", examples=["yolo"])
    parent_version: int | None
    report: Report | None
    statistics: dict[str, Any] | None = Field(description="docs/datasets.md says what is in it")


class Finding(FindingLine):
    """`image_id` is null where it is about no image, or about one that was left out."""

    id: int
    image_id: int | None

    @classmethod
    def of(cls, found: IndexedFinding) -> Self:
        kind = KINDS.get(found.code)
        names = ("id", "code", "severity", "action", "image_id", "file", "line", "value", "message")
        return cls.model_validate({name: getattr(found, name) for name in names} | {"fix": kind.fix if kind else ""})


class Image(Shape):
    id: int
    path: str = Field(description="in the archive", examples=["images/train/0001.jpg"])
    split: str = Field(examples=["train"])
    width: int = Field(description="pixels, upright")
    height: int
    size: int = Field(description="bytes")
    objects: int = Field(description="labelled ones; crowd regions aside")
    classes: list[str] = Field(description="of its objects", examples=[["cat", "dog"]])
    findings: list[str] = Field(description="codes", examples=[["IMAGE_DUPLICATE"]])


class Annotation(Shape):
    """Coordinates are fractions of the image: x to the right, y down."""

    id: int
    class_id: int
    class_name: str
    box: tuple[float, float, float, float] | None = Field(description="x1, y1, x2, y2; null: of the whole image")
    polygons: list[list[float]] = Field(description="x1, y1, x2, y2, … each; an oriented box is one of four points")
    keypoints: list[tuple[float, float, int]] = Field(
        description="x, y, visibility: 0 not labelled, 1 hidden, 2 visible"
    )
    crowd: bool = Field(description="a region that is not trained on")
    attributes: dict[str, bool | int | str]


class ImageDetail(Image):
    sha256: str = Field(description="of the image's bytes; the ETag of its file")
    annotations: list[Annotation]


class Thumbnail(Shape):
    id: int = Field(description="of the image")
    data: str | None = Field(description="`data:image/jpeg;base64,…`; null: the image cannot be drawn")


class Change(Shape):
    path: str
    before: str | None = Field(description="its path in the other version, where that is another")


class ImageChanges(Shape):
    count: int
    first: list[Change] = Field(description="at most 100")


class ComparedImages(Shape):
    added: ImageChanges
    removed: ImageChanges
    moved: ImageChanges = Field(description="to another split")
    renamed: ImageChanges = Field(description="in their split")
    relabelled: ImageChanges


class ClassChange(Shape):
    """Objects of the class; null where it is no class of that version."""

    before: int | None
    after: int | None


class ComparedVersions(Shape):
    """From the version `before` to the version `after`."""

    before: int
    after: int
    images: ComparedImages
    classes: dict[str, ClassChange]
