"""Imports: bring a dataset in parts or from storage, change a version, watch how far it is."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, status
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect

from app.api.deps import MAX_ID, ImporterDep, PlatformDep, ReadSessionDep, describe
from app.context import Platform
from app.datasets.work import Wish
from app.errors import Conflict, DiskFull, Invalid, NotFound, StorageUnavailable, TooLarge
from app.schemas.common import Page
from app.schemas.imports import EditCreate, Import, ImportCreate
from app.services import datasets
from app.services.datasets import ending, imports, parts, sources
from app.services.datasets.imports import NewImport
from app.words import ImportStatus

router = APIRouter(prefix="/api/v1", tags=["imports"])

ImportId = Annotated[int, Path(ge=1, le=MAX_ID, description="the import's number", examples=[7])]
_BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/imports",
    status_code=status.HTTP_201_CREATED,
    operation_id="createImport",
    summary="Begin to import a dataset",
    responses=describe(NotFound, Conflict, TooLarge, Invalid, StorageUnavailable, DiskFull),
)
def create_import(body: ImportCreate, platform: PlatformDep, importer: ImporterDep) -> Import:
    """Then send its bytes with `PATCH` and start it; with `source`, files in storage, it is queued at once.

    YOLO, COCO, Pascal VOC, class folders and CSV, as zip or tar; what it is is found out unless it is said. Under the
    platform's own folders in storage there is nothing to import.
    """
    platform.ownership.require()
    source: dict[str, Any] = {"kind": "upload"}
    if body.source is not None:
        source = sources.check(platform.storage, body.source.model_dump(exclude_none=True))
    wish = Wish(format=body.format, task_type=body.task_type, split=body.split, strict=body.strict)
    new = NewImport(body.name, source, wish, body.adds_to, size=body.size, sha256=body.sha256)
    return _create(platform, importer, new)


@router.patch(
    "/imports/{import_id}",
    operation_id="sendPart",
    summary="Send the next part of an upload",
    responses=describe(NotFound, Conflict, TooLarge, Invalid, DiskFull),
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def send_part(
    import_id: ImportId,
    request: Request,
    platform: PlatformDep,
    upload_offset: Annotated[int, Header(ge=0, le=MAX_ID, description="where the part begins: `received`")],
) -> Import:
    """At most 64 MiB. When it is answered its bytes are safe on the disk, also from a restart.

    After a broken connection read the import and go on at `received`; a part that came half counts half. Another offset
    gets 409 with `details.received`.
    """
    refuse_form(request)
    settings, announced = platform.settings, announced_length(request)
    receiving = parts.receiving(platform.database, settings, import_id, upload_offset, announced)
    try:
        async with contextmanager_in_threadpool(receiving) as part:
            await part.receive(request.stream())
    except ClientDisconnect as error:
        raise Invalid("the part ended before it was complete") from error
    return await run_in_threadpool(_read, platform, import_id)


@router.post(
    "/imports/{import_id}/start",
    status_code=status.HTTP_202_ACCEPTED,
    operation_id="startImport",
    summary="Queue an upload whose bytes are all there",
    responses=describe(NotFound, Conflict, Invalid),
)
def start_import(import_id: ImportId, platform: PlatformDep, importer: ImporterDep) -> Import:
    """Starting it again changes nothing, unless it failed: then it runs anew, for a day after its end."""
    parts.start(platform.database, platform.settings, import_id, datetime.now(UTC))
    importer.wake()
    return _read(platform, import_id)


@router.get("/imports", operation_id="listImports", summary="List imports, newest first")
def list_imports(
    session: ReadSessionDep,
    status: Annotated[list[ImportStatus], Query(description="any of these")] = [],  # noqa: B006
    cursor: Annotated[int | None, Query(ge=1, le=MAX_ID, description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[Import]:
    found, next_cursor = imports.list_imports(session, status=status, cursor=cursor, limit=limit)
    items = [Import.model_validate(row) for row in found]
    return Page(items=items, next_cursor=None if next_cursor is None else str(next_cursor))


@router.get("/imports/{import_id}", operation_id="readImport", summary="Read an import", responses=describe(NotFound))
def read_import(import_id: ImportId, session: ReadSessionDep) -> Import:
    return Import.model_validate(imports.get(session, import_id))


@router.delete(
    "/imports/{import_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    operation_id="deleteImport",
    summary="Cancel an import, or forget one that has ended",
    responses=describe(NotFound, Conflict),
)
def delete_import(import_id: ImportId, platform: PlatformDep, importer: ImporterDep) -> None:
    """Its files go, and the process that reads them is stopped. A version that it made stays."""
    ending.cancel(platform.database, platform.storage, platform.settings, import_id, datetime.now(UTC))
    importer.wake()


@router.post(
    "/datasets/{dataset}/versions",
    status_code=status.HTTP_202_ACCEPTED,
    operation_id="editVersion",
    summary="Make a new version by changing one",
    responses=describe(NotFound, Conflict, Invalid),
)
def edit_version(dataset: str, body: EditCreate, platform: PlatformDep, importer: ImporterDep) -> Import:
    """Images left out, classes renamed, merged or left out, splits drawn anew. The parent stays as it is."""
    platform.ownership.require()
    with platform.database.read_session() as session:
        name = datasets.find(session, dataset).name
    return _create(platform, importer, NewImport(name, {"kind": "edit"}, Wish(), body.parent, body.edit))


def refuse_form(request: Request) -> None:
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Invalid("send the bytes themselves as the body (curl --data-binary @dataset.zip), not a form")


def announced_length(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _create(platform: Platform, importer: ImporterDep, new: NewImport) -> Import:
    row = imports.create(platform.database, platform.settings, new, datetime.now(UTC))
    importer.wake()
    return Import.model_validate(row)


def _read(platform: Platform, import_id: int) -> Import:
    with platform.database.read_session() as session:
        return Import.model_validate(imports.get(session, import_id))
