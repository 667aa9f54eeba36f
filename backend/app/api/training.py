"""Training jobs for people: submit, list, follow, cancel, retry, and what they learned."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app import slots
from app.api.deps import (
    MAX_ID,
    JobId,
    PlatformDep,
    ReadSessionDep,
    WriteSessionDep,
    describe,
    describe_stream,
    wake_reconciler,
)
from app.context import Platform
from app.errors import Conflict, Invalid, NotFound, StaleTransition, StorageUnavailable, Unauthorized
from app.models import Job
from app.schemas import jobs as shapes
from app.schemas.common import Items, Page
from app.services import deletion, history, jobs, metrics, stream, submission
from app.words import JobStatus, TaskType

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

Position = Annotated[int, Query(ge=0, le=MAX_ID, description="start after this position")]
LastEventId = Annotated[int | None, Header(ge=0, le=MAX_ID, description="the position that a reconnect continues from")]

WAKES = [Depends(wake_reconciler)]


@router.post("", status_code=201, operation_id="submitJob", summary="Submit a job", dependencies=WAKES)
def submit_job(request: shapes.JobCreate, session: WriteSessionDep, platform: PlatformDep) -> shapes.Job:
    """Stores the job as pending. Everything is checked first; on refusal nothing is stored."""
    gpus = slots.count(slots.slots_of_machine(platform.settings.slots), slots.GPU)
    missing = submission.are_weights_missing(platform.storage, request.weights)  # asked before the session begins
    resolved = submission.resolve(session, request, platform.catalogue, gpus, weights_missing=missing)
    return _shape(jobs.create(session, resolved, _now()), platform)


@router.get("", operation_id="listJobs", summary="List jobs, newest first")
def list_jobs(
    session: ReadSessionDep,
    platform: PlatformDep,
    status: Annotated[list[JobStatus], Query(description="any of these", default_factory=list)],
    framework: Annotated[str | None, Query(max_length=200)] = None,
    task_type: TaskType | None = None,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before", max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[shapes.Job]:
    found, next_cursor = jobs.list_jobs(
        session, statuses=status, framework=framework, task_type=task_type, cursor=cursor, limit=limit
    )
    return Page(items=[_shape(job, platform) for job in found], next_cursor=next_cursor)


@router.get("/{job_id}", operation_id="readJob", summary="Read a job with its attempts", responses=describe(NotFound))
def read_job(job_id: JobId, session: ReadSessionDep, platform: PlatformDep) -> shapes.JobDetail:
    job = shapes.JobDetail.model_validate(jobs.get(session, job_id))
    return job.model_copy(update={"mlflow_url": _mlflow_url(job.mlflow_run_id, platform)})


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    dependencies=WAKES,
    responses=describe(NotFound, Conflict, StaleTransition),
)
def cancel_job(job_id: JobId, session: WriteSessionDep, platform: PlatformDep) -> shapes.Job:
    """A pending job is cancelled at once; a running one is asked to stop. Asking again changes nothing."""
    return _shape(jobs.cancel(session, job_id, _now()), platform)


@router.post(
    "/{job_id}/retry",
    operation_id="retryJob",
    summary="Retry a failed or cancelled job",
    dependencies=WAKES,
    responses=describe(NotFound, Conflict, StaleTransition),
)
def retry_job(job_id: JobId, session: WriteSessionDep, platform: PlatformDep) -> shapes.Job:
    """Puts it back into the queue; it continues from its last checkpoint, if it has one."""
    return _shape(jobs.retry(session, job_id, _now()), platform)


@router.delete(
    "/{job_id}",
    status_code=204,
    operation_id="deleteJob",
    summary="Delete an ended job with its checkpoints and artifacts",
    responses=describe(NotFound, Conflict, StaleTransition, StorageUnavailable),
)
def delete_job(job_id: JobId, platform: PlatformDep) -> None:
    platform.ownership.require()  # in another's bucket, its job of this number would lose its objects
    deletion.delete_job(platform.database, platform.storage, platform.settings.data_dir, job_id)


@router.get("/{job_id}/metrics", operation_id="readMetrics", summary="Read curves", responses=describe(NotFound))
def read_metrics(
    job_id: JobId,
    session: ReadSessionDep,
    name: Annotated[
        list[str], Query(description="only these series", examples=[["train/box_loss"]], default_factory=list)
    ],
    max_points: Annotated[int, Query(ge=metrics.MIN_POINTS, le=100_000, description="for each series")] = 500,
) -> shapes.Metrics:
    """The newest attempt counts where an epoch was repeated. A thinned series keeps its ends and its extremes."""
    jobs.get(session, job_id)
    found = metrics.series(session, job_id, name, max_points)
    return shapes.Metrics.model_validate({"series": [{"name": name, "points": points} for name, points in found]})


@router.get(
    "/{job_id}/validations",
    operation_id="readValidations",
    summary="Read validation results, one an epoch",
    responses=describe(NotFound),
)
def read_validations(job_id: JobId, session: ReadSessionDep) -> Items[shapes.ValidationResult]:
    jobs.get(session, job_id)
    return Items(items=[shapes.ValidationResult.of(row) for row in metrics.validations(session, job_id)])


@router.get(
    "/{job_id}/timeline",
    operation_id="readTimeline",
    summary="Read what happened to a job",
    responses=describe(NotFound),
)
def read_timeline(job_id: JobId, session: ReadSessionDep) -> Items[shapes.HistoryEntry]:
    """Statuses, launches, stops, outcomes, runs and warnings, in order; without the training's own numbers."""
    jobs.get(session, job_id)
    entries = history.timeline(session, job_id)
    return Items(items=[shapes.HistoryEntry.model_validate(entry) for entry in entries])


async def _start(job_id: JobId, platform: PlatformDep, after: Position = 0, last_event_id: LastEventId = None) -> int:
    """Where a stream starts; 204 tells a browser that nothing will ever follow and to stop asking."""
    position = after if last_event_id is None else last_event_id
    entries, complete = await run_in_threadpool(stream.read, platform.database, job_id, position)
    if complete and not entries:
        raise HTTPException(204)
    return position


@router.get(
    "/{job_id}/stream",
    operation_id="streamJob",
    summary="Follow a job's history as server-sent events",
    response_class=EventSourceResponse,
    responses=describe_stream(NotFound, Unauthorized, Invalid)
    | {204: {"description": "The job has ended and nothing follows the position."}},
)
async def stream_job(
    job_id: JobId, platform: PlatformDep, position: Annotated[int, Depends(_start)]
) -> AsyncIterator[ServerSentEvent]:
    """Each event's id is its position, its name the entry's type, its data a HistoryEntry.

    A reconnect with `Last-Event-ID` misses nothing and repeats nothing. The stream ends when the job has ended.
    """
    async for entry in stream.follow(platform.database, job_id, position):
        shape = shapes.HistoryEntry.model_validate(entry)
        yield ServerSentEvent(raw_data=shape.model_dump_json(), event=entry.type, id=str(entry.position))


def _shape(job: Job, platform: Platform) -> shapes.Job:
    shape = shapes.Job.model_validate(job)
    return shape.model_copy(update={"mlflow_url": _mlflow_url(job.mlflow_run_id, platform)})


def _mlflow_url(run_id: str | None, platform: Platform) -> str | None:
    uri = platform.settings.mlflow_tracking_uri.rstrip("/")
    return f"{uri}/#/runs/{run_id}" if run_id and uri.startswith("http") else None


def _now() -> datetime:
    return datetime.now(UTC)
