"""Datasets: register in one request, list, read."""

from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request, Response, status
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from app.api.deps import ImporterDep, PlatformDep, ReadSessionDep, describe
from app.api.imports import announced_length, refuse_form
from app.context import Platform
from app.datasets.work import Wish
from app.errors import Conflict, DiskFull, ImportFailed, Invalid, NotFound, StorageUnavailable, TooLarge
from app.models import Import
from app.schemas.common import Page, Text
from app.schemas.datasets import Dataset
from app.services import datasets
from app.services.datasets import ending, imports, parts, verdict
from app.services.datasets.imports import NewImport
from app.words import IMPORT_ENDED, TaskType

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])

_ARCHIVE: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_KNOWN: dict[int | str, dict[str, Any]] = {200: {"model": Dataset, "description": "This content is a version already."}}
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


class Wanted(BaseModel):
    """What the query says."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(max_length=200, examples=["digits"], description="letters, digits, `_`, `-` and `.`")]
    task_type: TaskType | None = Field(default=None, description="default: that of the dataset, else found out")
    format: Text | None = Field(default=None, max_length=40, description="default: recognised")
    strict: bool = Field(default=False, description="refuse on warnings too")


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    operation_id="registerDataset",
    summary="Register a dataset, or a new version of it, in one request",
    responses=_KNOWN | describe(Conflict, TooLarge, Invalid, ImportFailed, StorageUnavailable, DiskFull),
    openapi_extra={"requestBody": {"required": True, "content": _ARCHIVE}},
)
async def register_dataset(
    request: Request,
    response: Response,
    platform: PlatformDep,
    importer: ImporterDep,
    wanted: Annotated[Wanted, Query()],
) -> Dataset:
    """The body is the archive itself: a zip or tar of YOLO, COCO, Pascal VOC, class folders or a CSV.

    It is an import that is waited for; `/api/v1/imports` takes large ones in parts. Of what is wrong the first twenty
    are named, and `details.report` has the rest. The name of a known dataset adds a version, unless this content is
    one already.
    """
    import_id = await run_in_threadpool(_begin, request, platform, wanted)
    try:
        await _receive(request, platform, import_id)
    except BaseException:
        await run_in_threadpool(_forget, platform, import_id)
        raise
    importer.wake()
    row = await _ended(request, platform, import_id)
    verdict.require_accepted(row)
    if not row.is_new:
        response.status_code = status.HTTP_200_OK
    return await run_in_threadpool(_read, platform, row.dataset_id or "")


@router.get("", operation_id="listDatasets", summary="List datasets by name")
def list_datasets(
    session: ReadSessionDep,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before", max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    deleted: Annotated[bool, Query(description="those that are deleted, and these alone")] = False,
) -> Page[Dataset]:
    found, next_cursor = datasets.list_datasets(session, cursor=cursor, limit=limit, deleted=deleted)
    return Page(items=[Dataset.model_validate(item) for item in found], next_cursor=next_cursor)


@router.get("/{dataset}", operation_id="readDataset", summary="Read a dataset", responses=describe(NotFound))
def read_dataset(dataset: str, session: ReadSessionDep) -> Dataset:
    """By its id or its name."""
    return Dataset.model_validate(datasets.find(session, dataset))


def _begin(request: Request, platform: Platform, wanted: Wanted) -> int:
    """The import's number, unless something can be refused before a byte of the body is taken."""
    platform.ownership.require()
    refuse_form(request)
    wish = Wish(format=wanted.format, task_type=wanted.task_type, strict=wanted.strict)
    new = NewImport(wanted.name, {"kind": "upload"}, wish, size=announced_length(request) or None)
    return imports.create(platform.database, platform.settings, new, datetime.now(UTC)).id


async def _receive(request: Request, platform: Platform, import_id: int) -> None:
    """The whole body, queued."""
    database, settings = platform.database, platform.settings
    receiving = parts.receiving(database, settings, import_id, 0, None, whole=True)
    try:
        async with contextmanager_in_threadpool(receiving) as part:
            await part.receive(request.stream())
    except ClientDisconnect as error:
        raise Invalid("the upload ended before it was complete") from error
    if not part.written:
        raise Invalid("the upload is empty; send the archive as the body (curl --data-binary @dataset.zip)")
    await run_in_threadpool(parts.start, database, settings, import_id, datetime.now(UTC))


def _forget(platform: Platform, import_id: int) -> None:
    """Nobody knows its number: no trace is kept."""
    for _ in range(2):  # cancelled, then removed
        ending.cancel(platform.database, platform.storage, platform.settings, import_id, datetime.now(UTC))


async def _ended(request: Request, platform: Platform, import_id: int) -> Import:
    """The import at its end. Where it waits for something that is away, or the person has left, it goes on alone."""
    pause = FIRST_PAUSE
    while True:
        row = await run_in_threadpool(_look, platform, import_id)
        if row.status in IMPORT_ENDED:
            return row
        if waits := verdict.waiting_for(row):
            raise waits
        if await request.is_disconnected():
            raise Invalid(f"nobody waits for import {import_id} any more")
        await anyio.sleep(pause)
        pause = min(LONGEST_PAUSE, 1.5 * pause)


def _look(platform: Platform, import_id: int) -> Import:
    with platform.database.read_session() as session:
        return imports.get(session, import_id)


def _read(platform: Platform, dataset_id: str) -> Dataset:
    with platform.database.read_session() as session:
        return Dataset.model_validate(datasets.find(session, dataset_id))
