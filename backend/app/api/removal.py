"""Deleting datasets and versions softly, restoring them, and purging what is deleted."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, status

from app.api.deps import PlatformDep, WriteSessionDep, describe
from app.context import Platform
from app.errors import Conflict, NotFound, StorageUnavailable
from app.schemas.datasets import Dataset
from app.services import datasets
from app.services.datasets import Room, removal

router = APIRouter(prefix="/api/v1/datasets/{dataset}", tags=["datasets"])

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="the version's number", examples=[1])]


@router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    operation_id="deleteDataset",
    summary="Delete a dataset so that it can be restored",
    responses=describe(NotFound, Conflict),
)
def delete_dataset(dataset: str, session: WriteSessionDep, platform: PlatformDep) -> None:
    """Refused while any job uses it; `details.jobs` lists them. Its storage is freed when it is purged."""
    platform.ownership.require()
    removal.delete(session, dataset, datetime.now(UTC))


@router.post(
    "/restore",
    operation_id="restoreDataset",
    summary="Restore a deleted dataset",
    responses=describe(NotFound, Conflict),
)
def restore_dataset(dataset: str, session: WriteSessionDep) -> Dataset:
    """Refused where another dataset has taken its name."""
    return Dataset.model_validate(removal.restore(session, dataset))


@router.post(
    "/purge",
    status_code=status.HTTP_204_NO_CONTENT,
    operation_id="purgeDataset",
    summary="Remove a deleted dataset for ever and free its storage",
    responses=describe(NotFound, Conflict, StorageUnavailable),
)
def purge_dataset(dataset: str, platform: PlatformDep) -> None:
    platform.ownership.require()
    removal.purge(_room(platform), dataset)


@router.delete(
    "/versions/{version}",
    status_code=status.HTTP_204_NO_CONTENT,
    operation_id="deleteVersion",
    summary="Delete a version so that it can be restored",
    responses=describe(NotFound, Conflict, StorageUnavailable),
)
def delete_version(dataset: str, version: VersionNumber, platform: PlatformDep) -> None:
    """Refused while any job uses it (`details.jobs` lists them), and if it is the dataset's only one."""
    platform.ownership.require()
    removal.delete_version(_room(platform), dataset, version, datetime.now(UTC))


@router.post(
    "/versions/{version}/restore",
    operation_id="restoreVersion",
    summary="Restore a deleted version",
    responses=describe(NotFound, Conflict, StorageUnavailable),
)
def restore_version(dataset: str, version: VersionNumber, platform: PlatformDep) -> Dataset:
    platform.ownership.require()
    removal.restore_version(_room(platform), dataset, version)
    with platform.database.read_session() as session:
        return Dataset.model_validate(datasets.find(session, dataset))


@router.post(
    "/versions/{version}/purge",
    status_code=status.HTTP_204_NO_CONTENT,
    operation_id="purgeVersion",
    summary="Remove a deleted version for ever and free its storage",
    responses=describe(NotFound, Conflict, StorageUnavailable),
)
def purge_version(dataset: str, version: VersionNumber, platform: PlatformDep) -> None:
    """Its number is not given again."""
    platform.ownership.require()
    removal.purge_version(_room(platform), dataset, version)


def _room(platform: Platform) -> Room:
    return Room(platform.database, platform.storage, platform.settings.data_dir)
