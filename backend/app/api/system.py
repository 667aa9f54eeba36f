"""The platform about itself."""

from fastapi import APIRouter

from app.api.deps import PlatformDep, ReadSessionDep
from app.schemas.system import System
from app.services import system

router = APIRouter(prefix="/api/v1/system", tags=["system"])


@router.get("", operation_id="readSystem", summary="Read what this installation is and who holds its slots")
def read_system(session: ReadSessionDep, platform: PlatformDep) -> System:
    return System.model_validate(system.describe(session, platform.settings))
