"""Frameworks, tasks, models and parameter schemas, from the trainers' own trainer.yaml."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import PlatformDep, describe
from app.errors import NotFound
from app.schemas.catalogue import FoundModel, FoundModels, Framework, Frameworks
from app.words import TaskType

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


@router.get(
    "/{name}/models",
    operation_id="findModels",
    summary="Find models of a framework, recommended ones first",
    responses=describe(NotFound),
)
def find_models(
    name: str,
    platform: PlatformDep,
    task_type: TaskType,
    search: Annotated[str, Query(max_length=100, description="words that name or title must have")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> FoundModels:
    task = platform.catalogue.trainer(name).tasks.get(task_type)
    if task is None:
        raise NotFound(f"{name} does not do {task_type}")
    found = task.find_models(search)
    return FoundModels(items=[FoundModel.model_validate(model) for model in found[:limit]], total=len(found))
