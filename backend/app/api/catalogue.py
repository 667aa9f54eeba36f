"""Frameworks, tasks, models and parameter schemas, from the trainers' own trainer.yaml."""

from fastapi import APIRouter

from app.api.deps import PlatformDep, describe
from app.errors import NotFound
from app.schemas.catalogue import Framework, Frameworks

router = APIRouter(prefix="/api/v1/frameworks", tags=["frameworks"])


@router.get("", operation_id="listFrameworks", summary="List frameworks, and trainer folders that cannot be used")
def list_frameworks(platform: PlatformDep) -> Frameworks:
    catalogue = platform.catalogue
    return Frameworks.model_validate(
        {"items": list(catalogue.trainers.values()), "problems": catalogue.problems}, from_attributes=True
    )


@router.get("/{name}", operation_id="readFramework", summary="Read a framework", responses=describe(NotFound))
def read_framework(name: str, platform: PlatformDep) -> Framework:
    return Framework.model_validate(platform.catalogue.trainer(name))
