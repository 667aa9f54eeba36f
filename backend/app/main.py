"""The application: its routers, its one way to refuse, and what runs while it serves."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from fastapi.concurrency import contextmanager_in_threadpool

from app import __version__
from app.api import (
    catalogue,
    checkpoints,
    collection,
    datasets,
    exports,
    health,
    imports,
    internal,
    logs,
    predictions,
    removal,
    system,
    training,
    versions,
)
from app.api.deps import describe, require_access
from app.api.errors import handle_errors
from app.context import build_platform
from app.errors import Invalid, Unauthorized
from app.importer import Importer
from app.keeper import Keeper
from app.migrate import migrate
from app.reconciler import Reconciler
from app.services import access
from app.settings import Settings

DESCRIPTION = """Train vision models on your own machine: datasets, jobs, checkpoints, predictions.

Every call under `/api/v1` needs the access token that the first start wrote to `var/access.json`. Every refusal
is `{"error": {"code", "message", "details"}}`; the codes are stable."""

THREADS = 100  # who waits for a hanging storage holds one for half a minute; the others still want theirs
FOR_PEOPLE = (
    training,
    logs,
    checkpoints,
    datasets,
    imports,
    removal,
    versions,
    exports,
    predictions,
    catalogue,
    collection,
    system,
)


def create_app(settings: Settings | None = None, *, reconciling: bool = True, importing: bool = True) -> FastAPI:
    """The app on these settings, or on those of the environment. Nothing is opened before it serves.

    Without `reconciling` it answers and records, and no job is started, watched or ended; without `importing` no
    dataset leaves the queue.
    """
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        async with contextmanager_in_threadpool(_running(app, chosen, reconciling, importing)):
            yield

    app = FastAPI(title="Vision Platform", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    handle_errors(app)
    for module in FOR_PEOPLE:
        needs = describe(Unauthorized, Invalid)
        app.include_router(module.router, dependencies=[Depends(require_access)], responses=needs)
    app.include_router(internal.router)
    app.include_router(health.router)
    return app


@contextmanager
def _running(app: FastAPI, settings: Settings, reconciling: bool, importing: bool) -> Iterator[None]:
    """Brings the database up to date, then has the threads at work until the end."""
    platform = build_platform(settings)
    with ExitStack() as at_the_end:
        at_the_end.callback(platform.database.dispose)
        migrate(platform.database)
        for line in access.ensure_access(platform.database, settings, datetime.now(UTC)):
            print(line, flush=True)
        if problem := platform.ownership.problem():
            print(f"No job starts: {problem.message}", flush=True)
        reconciler, importer = Reconciler(platform), Importer(platform)
        app.state.platform, app.state.reconciler, app.state.importer = platform, reconciler, importer
        app.state.probes = health.make_probes(platform)
        platform.writer.start()
        at_the_end.callback(platform.writer.stop)
        keeper = Keeper(platform)
        if reconciling:
            reconciler.start()
            keeper.start()
        if importing:
            importer.start()
        at_the_end.callback(importer.stop)
        at_the_end.callback(reconciler.stop)
        at_the_end.callback(keeper.stop)
        yield
