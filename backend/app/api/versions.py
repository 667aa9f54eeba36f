"""Looking into a version of a dataset: what was found, its images, their labels, and what changed."""

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import ranges
from app.api.deps import MAX_ID, PlatformDep, ReadSessionDep, describe
from app.context import Platform
from app.datasets.work import Split
from app.errors import DiskFull, Invalid, NotFound, RangeNotSatisfiable, StorageUnavailable
from app.models import DatasetVersion
from app.schemas.common import Items, Page
from app.schemas.versions import ComparedVersions, Finding, Image, ImageDetail, Thumbnail, VersionDetail
from app.services import datasets
from app.services.datasets import browse, compare, thumbnails
from app.services.datasets.browse import Filters, Library

router = APIRouter(prefix="/api/v1/datasets/{dataset}/versions/{version}", tags=["datasets"])

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="the version's number", examples=[1])]
ImageId = Annotated[int, Path(ge=1, le=MAX_ID)]
Size = Annotated[Literal["128", "256"], Query(description="pixels of the longer side, at most")]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before", max_length=40)]
MAX_THUMBNAILS = 200
ERRORS = (NotFound, StorageUnavailable, DiskFull)


def _version(dataset: str, version: VersionNumber, platform: PlatformDep) -> DatasetVersion:
    """Read and let go of the database, however long the storage takes afterwards."""
    with platform.database.read_session() as session:
        return datasets.find_version(session, dataset, version)


def _library(platform: PlatformDep) -> Library:
    settings = platform.settings
    return Library(platform.storage, settings.data_dir, settings.browse_limit_bytes)


VersionDep = Annotated[DatasetVersion, Depends(_version)]
LibraryDep = Annotated[Library, Depends(_library)]


@router.get("", operation_id="readVersion", summary="Read a version with its report", responses=describe(NotFound))
def read_version(dataset: str, version: VersionNumber, session: ReadSessionDep) -> VersionDetail:
    """Counts by split and class, the findings of its import, and how sizes and boxes are distributed."""
    return VersionDetail.model_validate(datasets.find_version(session, dataset, version))


@router.get("/findings", operation_id="listFindings", summary="List what the import found", responses=describe(*ERRORS))
def list_findings(
    version: VersionDep,
    library: LibraryDep,
    code: Annotated[str | None, Query(max_length=100)] = None,
    severity: Literal["error", "warning", "note"] | None = None,
    image: Annotated[int | None, Query(ge=1, le=MAX_ID, description="about this image")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Finding]:
    """Of each code the first thousand are kept; the version's report counts all."""
    with browse.opened(library, version) as index:
        found, next_cursor = browse.findings(
            index, code=code, severity=severity, image_id=image, cursor=cursor, limit=limit
        )
    return Page(items=[Finding.of(item) for item in found], next_cursor=next_cursor)


@router.get("/images", operation_id="listImages", summary="List images", responses=describe(*ERRORS))
def list_images(
    version: VersionDep,
    library: LibraryDep,
    split: Split | None = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=300, description="with an object of it")] = None,
    finding: Annotated[str | None, Query(max_length=100, description="about which this was found: a code")] = None,
    cursor: Cursor = None,
    limit: Limit = 60,
) -> Page[Image]:
    """Their thumbnails come at once, too: see `listThumbnails`."""
    with browse.opened(library, version) as index:
        found, next_cursor = browse.page(index, Filters(split, class_name, finding), cursor=cursor, limit=limit)
    return Page(items=[Image.model_validate(item) for item in found], next_cursor=next_cursor)


@router.get(
    "/images/{image}",
    operation_id="readImage",
    summary="Read an image with its annotations",
    responses=describe(*ERRORS),
)
def read_image(image: ImageId, version: VersionDep, library: LibraryDep) -> ImageDetail:
    with browse.opened(library, version) as index:
        row, labels = browse.row(index, image), browse.labels(index, image)
    return ImageDetail.model_validate(vars(row) | {"annotations": labels})


_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it."}}
_DRAWN: dict[int | str, dict[str, Any]] = {200: {"content": {thumbnails.MEDIA_TYPE: _BINARY}}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes; the ETag is their sha256.", "content": {"image/*": _BINARY}},
    206: {"description": "The part that the Range header asks for.", "content": {"image/*": _BINARY}},
}


@router.get(
    "/images/{image}/file",
    operation_id="readImageFile",
    summary="Read an image's bytes, or a part of them",
    response_class=Response,
    responses=_FILE | _UNCHANGED | describe(RangeNotSatisfiable, *ERRORS),
)
def read_image_file(image: ImageId, version: VersionDep, library: LibraryDep, request: Request) -> Response:
    """Straight from the archive in storage. It never changes and may be kept for ever."""
    with browse.opened(library, version) as index:
        found = browse.find_image(index, image)
    content = ranges.Content(
        found.size,
        found.sha256,
        browse.media_type(found),
        lambda start, length: browse.stream(library, version, found, start, length),
    )
    return ranges.answer(request, content)


@router.get(
    "/images/{image}/thumbnail",
    operation_id="readThumbnail",
    summary="Read a small JPEG of an image",
    response_class=Response,
    responses=_DRAWN | _UNCHANGED | describe(*ERRORS),
)
def read_thumbnail(
    image: ImageId, version: VersionDep, library: LibraryDep, request: Request, size: Size = "128"
) -> Response:
    etag = thumbnails.etag(version, [image], int(size))
    if ranges.is_known(request, etag):
        return ranges.not_modified(etag)
    data = thumbnails.thumbnails(library, version, [image], int(size))[image]
    if data is None:
        raise NotFound(f"image {image} cannot be drawn; the backend's log says why")
    return Response(data, media_type=thumbnails.MEDIA_TYPE, headers=ranges.immutable(etag))


@router.get(
    "/thumbnails",
    operation_id="listThumbnails",
    summary="Read the thumbnails of a page at once",
    response_model=Items[Thumbnail],
    responses=_UNCHANGED | describe(*ERRORS),
)
def list_thumbnails(
    version: VersionDep,
    library: LibraryDep,
    request: Request,
    ids: Annotated[str, Query(max_length=4000, examples=["1,2,3"], description="of images, with commas; at most 200")],
    size: Size = "128",
) -> Response:
    """In the order of `ids`, to be put into `<img src>` as they are. It never changes and may be kept for ever."""
    wanted = _parse_ids(ids)
    etag = thumbnails.etag(version, wanted, int(size))
    if ranges.is_known(request, etag):
        return ranges.not_modified(etag)
    drawn = thumbnails.thumbnails(library, version, wanted, int(size))
    items = [Thumbnail(id=image_id, data=_data_url(drawn[image_id])) for image_id in wanted]
    headers = {} if None in drawn.values() else ranges.immutable(etag)
    return Response(Items(items=items).model_dump_json(), media_type="application/json", headers=headers)


@router.get(
    "/compare", operation_id="compareVersions", summary="Compare a version with another", responses=describe(*ERRORS)
)
def compare_versions(
    dataset: str,
    version: VersionDep,
    library: LibraryDep,
    platform: PlatformDep,
    other: Annotated[
        int | None, Query(alias="with", ge=1, le=2**31 - 1, description="default: the one that it comes from")
    ] = None,
) -> ComparedVersions:
    """What came, went and changed from that version to this one; an image is the same if its bytes are."""
    before = _other(platform, dataset, version, other)
    return ComparedVersions.model_validate(compare.compare(library, before, version))


def _other(platform: Platform, dataset: str, version: DatasetVersion, number: int | None) -> DatasetVersion:
    number = number or version.parent_version
    if number is None:
        message = "is needed, since this version comes from no other"
        problem = {"field": "with", "value": None, "message": message}
        raise Invalid(f"with: {message}", fields=[problem])
    with platform.database.read_session() as session:
        return datasets.find_version(session, dataset, number)


def _parse_ids(ids: str) -> list[int]:
    found = ids.split(",")
    if len(found) > MAX_THUMBNAILS or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in found):
        message = f"must be 1 to {MAX_THUMBNAILS} numbers of images with commas between them"
        raise Invalid(f"ids={ids[:100]!r} {message}", fields=[{"field": "ids", "value": ids[:200], "message": message}])
    return list(dict.fromkeys(int(part) for part in found))


def _data_url(data: bytes | None) -> str | None:
    return None if data is None else f"data:{thumbnails.MEDIA_TYPE};base64,{base64.b64encode(data).decode()}"
