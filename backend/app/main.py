"""The application: its routers, its one way to refuse, and what runs while it serves."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from fastapi import Depends, FastAPI
from fastapi.concurrency import contextmanager_in_threadpool

from app import __version__
from app.api import catalogue, checkpoints, datasets, internal, system, training
from app.api.deps import describe, require_access
from app.api.errors import handle_errors
from app.context import Platform, build_platform
from app.errors import Invalid, Unauthorized
from app.migrate import migrate
from app.services import access
from app.settings import Settings

DESCRIPTION = """Train vision models on your own machine: datasets, jobs, checkpoints, predictions.

Every call under `/api/v1` needs the access token that the first start wrote to `var/access.json`. Every refusal
is `{"error": {"code", "message", "details"}}`; the codes are stable."""

FOR_PEOPLE = (training, checkpoints, datasets, catalogue, system)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app on these settings, or on those of the environment. Nothing is opened before it serves."""
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextmanager_in_threadpool(_running(chosen)) as platform:
            app.state.platform = platform
            yield

    app = FastAPI(title="Vision Platform", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    handle_errors(app)
    for module in FOR_PEOPLE:
        needs = describe(Unauthorized, Invalid)
        app.include_router(module.router, dependencies=[Depends(require_access)], responses=needs)
    app.include_router(internal.router)
    return app


@contextmanager
def _running(settings: Settings) -> Iterator[Platform]:
    """The platform with its database up to date and its threads at work."""
    platform = build_platform(settings)
    try:
        migrate(platform.database)
        for line in access.ensure_access(platform.database, settings, datetime.now(UTC)):
            print(line, flush=True)
        platform.writer.start()
        yield platform
    finally:
        platform.writer.stop()
        platform.database.dispose()
