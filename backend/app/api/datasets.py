"""Datasets: register from a zip, list, read."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect

from app.api.deps import PlatformDep, ReadSessionDep, describe
from app.context import Platform
from app.errors import Conflict, Invalid, NotFound, StorageUnavailable, TooLarge
from app.schemas.common import Page
from app.schemas.datasets import Dataset
from app.services import datasets
from app.words import TaskType

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])

_ZIP: dict[str, Any] = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
_KNOWN: dict[int | str, dict[str, Any]] = {200: {"model": Dataset, "description": "This content is a version already."}}


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    operation_id="registerDataset",
    summary="Register a dataset, or a new version of it, from a zip",
    responses=_KNOWN | describe(Conflict, TooLarge, Invalid, StorageUnavailable),
    openapi_extra={"requestBody": {"required": True, "content": _ZIP}},
)
async def register_dataset(
    request: Request,
    response: Response,
    platform: PlatformDep,
    name: Annotated[str, Query(max_length=200, examples=["digits"], description="letters, digits, `_`, `-` and `.`")],
    task_type: TaskType,
) -> Dataset:
    """The body is the zip itself, in the canonical YOLO layout, or one folder per class for classification.

    Its structure and labels are checked; of the problems the first twenty are named. The name of a known dataset adds
    a version, unless this content is one already.
    """
    await run_in_threadpool(_check_request, request, platform, name, task_type)
    async with contextmanager_in_threadpool(datasets.upload_folder(platform.settings.data_dir)) as folder:
        upload = folder / "upload.zip"
        try:
            await datasets.receive(request.stream(), upload, platform.settings.max_dataset_bytes)
        except ClientDisconnect as error:
            raise Invalid("the upload ended before it was complete") from error
        made = await run_in_threadpool(
            datasets.register,
            platform.database,
            platform.storage,
            upload,
            name=name,
            task_type=task_type,
            max_bytes=platform.settings.max_dataset_bytes,
            now=datetime.now(UTC),
        )
    if not made.is_new:
        response.status_code = status.HTTP_200_OK
    return await run_in_threadpool(_read, platform, made.dataset_id)


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


def _check_request(request: Request, platform: Platform, name: str, task_type: TaskType) -> None:
    """What can be refused before a byte of the body is taken."""
    platform.ownership.require()
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Invalid("send the zip itself as the body (curl --data-binary @dataset.zip), not a form")
    datasets.check_length(request.headers.get("content-length"), platform.settings.max_dataset_bytes)
    with platform.database.read_session() as session:
        datasets.check_request(session, name, task_type)


def _read(platform: Platform, dataset_id: str) -> Dataset:
    with platform.database.read_session() as session:
        return Dataset.model_validate(datasets.find(session, dataset_id))
