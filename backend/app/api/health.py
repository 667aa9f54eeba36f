"""Whether the process lives and whether it can do its work; for supervisors and load balancers, so without a token."""

import logging
from collections.abc import Callable

from fastapi import APIRouter, Response
from sqlalchemy import text

from app.api.deps import PlatformDep, ReconcilerDep
from app.context import Platform
from app.schemas.health import Alive, Readiness

log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="readHealth", summary="Whether the process answers")
async def read_health() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    operation_id="readReadiness",
    summary="Whether every part works",
    responses={503: {"model": Readiness, "description": "Some part does not work; `parts` says which."}},
)
def read_readiness(platform: PlatformDep, reconciler: ReconcilerDep, response: Response) -> Readiness:
    """Asks the database and the storage, and looks whether the writer and the reconciler run."""
    parts = {
        "database": _works("database", lambda: _ask(platform)),
        "storage": _works("storage", platform.storage.check),
        "writer": platform.writer.alive,
        "reconciler": reconciler.is_alive,
    }
    response.status_code = 200 if all(parts.values()) else 503
    return Readiness(ready=all(parts.values()), parts=parts)


def _ask(platform: Platform) -> None:
    with platform.database.read_session() as session:
        session.execute(text("SELECT 1"))


def _works(name: str, check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception:
        log.warning("%s does not work", name, exc_info=True)
        return False
    return True
