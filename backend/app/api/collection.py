"""Housekeeping on demand; it runs by itself, too (COLLECTION_HOURS)."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import PlatformDep
from app.schemas.collection import Collection
from app.services import collection

router = APIRouter(prefix="/api/v1/collection", tags=["system"])


@router.post("", operation_id="collect", summary="Remove what is old and not in use, or list it")
def collect(
    platform: PlatformDep,
    dry_run: Annotated[bool, Query(description="only list what would go, and why")] = True,
) -> Collection:
    """By the policy of the settings RETENTION_… and …_LIMIT_BYTES. Nothing that is in use goes."""
    place = collection.Place(platform.settings, platform.database, platform.storage, platform.ownership)
    return Collection.model_validate(collection.collect(place, datetime.now(UTC), dry_run=dry_run))
