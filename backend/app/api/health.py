"""Whether the process lives and whether it can do its work; for supervisors and load balancers, so without a token.

Nothing here waits for a thread of the pool or, for long, for what it asks: a storage that hangs is told within seconds.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.deps import ImporterDep, PlatformDep, ReconcilerDep
from app.context import Platform
from app.schemas.health import Alive, Readiness

CHECK_SECONDS = 3.0
log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


class Probe:
    """Asks one part whether it works, one question at a time: who comes meanwhile waits for the same answer."""

    def __init__(self, name: str, check: Callable[[], object]) -> None:
        self._name, self._check = name, check
        self._answer: Future[bool] | None = None

    async def works(self) -> bool:
        """False as well while there is no answer within CHECK_SECONDS."""
        if self._answer is None or self._answer.done():
            self._answer = Future()
            threading.Thread(target=self._ask, args=(self._answer,), name=f"probe {self._name}", daemon=True).start()
        answer = asyncio.ensure_future(asyncio.wrap_future(self._answer))
        done, _ = await asyncio.wait({answer}, timeout=CHECK_SECONDS)
        if not done:
            log.warning("%s does not answer", self._name)
        return bool(done) and answer.result()

    def _ask(self, answer: Future[bool]) -> None:
        try:
            self._check()
        except Exception as error:
            log.warning("%s does not work: %s", self._name, error)
            answer.set_result(False)
        else:
            answer.set_result(True)


def make_probes(platform: Platform) -> dict[str, Probe]:
    checks: dict[str, Callable[[], object]] = {
        "database": platform.database.check,
        "storage": partial(_check_storage, platform),
    }
    return {name: Probe(name, check) for name, check in checks.items()}


def _check_storage(platform: Platform) -> None:
    platform.storage.check()
    platform.ownership.require()


async def get_probes(request: Request) -> Mapping[str, Probe]:
    probes: Mapping[str, Probe] = request.app.state.probes
    return probes


@router.get("/healthz", operation_id="readHealth", summary="Whether the process answers")
async def read_health() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    operation_id="readReadiness",
    summary="Whether every part works",
    responses={503: {"model": Readiness, "description": "Some part does not work; `parts` says which."}},
)
async def read_readiness(
    platform: PlatformDep,
    reconciler: ReconcilerDep,
    importer: ImporterDep,
    probes: Annotated[Mapping[str, Probe], Depends(get_probes)],
    response: Response,
) -> Readiness:
    """Asks the database and the storage, and looks whether the threads run. Answers in seconds."""
    answers = await asyncio.gather(*(probe.works() for probe in probes.values()))
    parts = dict(zip(probes, answers, strict=True))
    parts |= {"writer": platform.writer.alive, "reconciler": reconciler.is_alive, "importer": importer.is_alive}
    response.status_code = 200 if all(parts.values()) else 503
    problem = platform.ownership.known_problem
    problems = [problem.message] if problem else []
    return Readiness(ready=all(parts.values()), parts=parts, problems=problems)
