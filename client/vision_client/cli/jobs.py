"""`vision train`, `watch`, `jobs`, `job`, `logs`, `cancel`, `retry`, `delete`."""

import sys
from typing import Annotated

import typer

from vision_client import formatting, tables
from vision_client.api import Client
from vision_client.cli.common import JobArgument, JsonOption, YesOption, confirm, connect
from vision_client.cli.submission import job_request
from vision_client.logs import follow_log
from vision_client.models import Job, Page
from vision_client.output import emit, emit_line, note, say, show, terminal
from vision_client.view import View, headlines
from vision_client.watch import EXIT_CODES, JsonScreen, PlainScreen, live_screen, watch

PAGE = 100
INTERRUPTED = 130


def train(
    dataset: Annotated[str, typer.Option(help="The dataset's id or name.")],
    model: Annotated[str, typer.Option(help="A model that `vision models` lists.")],
    task: Annotated[str | None, typer.Option(help="The dataset's own task unless given.")] = None,
    framework: Annotated[str | None, typer.Option(help="Needed only where several offer the model.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for the job.")] = None,
    dataset_version: Annotated[int | None, typer.Option(help="The newest unless given.")] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels; images are scaled to it for training.")] = None,
    weights: Annotated[str | None, typer.Option(help="pretrained, scratch, or a storage key.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that load images.")] = None,
    save_period: Annotated[int | None, typer.Option(help="Epochs between uploads of the last checkpoint.")] = None,
    gpus: Annotated[int | None, typer.Option(help="0 trains on the CPU.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="How often the platform starts it again by itself.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter; may be repeated.")
    ] = None,
    watching: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a training job. What is not given comes from the trainer's defaults."""
    options = {
        "dataset_id": dataset,
        "model_name": model,
        "task_type": task,
        "framework": framework,
        "name": name,
        "dataset_version": dataset_version,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "image_size": image_size,
        "weights": weights,
        "seed": seed,
        "workers": workers,
        "save_period": save_period,
        "gpus": gpus,
        "priority": priority,
        "max_retries": max_retries,
    }
    with connect() as client:
        job = client.create_job(job_request(client, options, settings or []))
        if watching:
            _watch(client, job, as_json)
    if as_json:
        emit(job)
    else:
        say(f"Job {job.id} is {job.status}: {job.name}")
        note(f"Follow it with `vision watch {job.id}`.")


def watch_job(job: JobArgument, as_json: JsonOption = False) -> None:
    """Follow a job to its end. Exits with 0 when it completed, 1 when it failed, 3 when it was cancelled.

    With --json: the job, then a line for each entry of its history, then the job as it ended.
    """
    with connect() as client:
        _watch(client, client.job(job), as_json)


def list_jobs(
    status: Annotated[list[str] | None, typer.Option(help="Such as running or failed; may be repeated.")] = None,
    framework: Annotated[str | None, typer.Option()] = None,
    task: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Jobs, the newest first."""
    items: list[Job] = []
    page: Page[Job] | None = None
    with connect() as client:
        while len(items) < limit and (page is None or page.next_cursor):
            cursor, size = page.next_cursor if page else None, min(PAGE, limit - len(items))
            page = client.list_jobs(status=status, framework=framework, task_type=task, cursor=cursor, limit=size)
            items += page.items
    if as_json:
        emit({"items": items, "next_cursor": page.next_cursor if page else None})
    elif items:
        show(tables.jobs(items))
    else:
        note("No such jobs.")


def show_job(job: JobArgument, as_json: JsonOption = False) -> None:
    """Everything about one job, its attempts and why it failed."""
    with connect() as client:
        found = client.job(job)
    if as_json:
        emit(found)
    else:
        show(tables.pairs(tables.job_lines(found)))


def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="Begin with so many of the last lines.")] = 200,
    attempt: Annotated[int | None, typer.Option(min=1, help="The newest attempt unless given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What the trainer printed. With --follow --json: a line for each piece."""
    with connect() as client:
        if not follow:
            piece = client.logs(job, attempt=attempt, tail=tail)
            emit(piece) if as_json else _write(piece.text)
            return
        for piece in follow_log(client, job, tail=tail, attempt=attempt):
            emit_line(piece) if as_json else _write(piece.text)


def cancel(job: JobArgument, as_json: JsonOption = False) -> None:
    """Stop a job; its last finished epoch stays stored."""
    with connect() as client:
        _print(client.cancel_job(job), as_json)


def retry(job: JobArgument, as_json: JsonOption = False) -> None:
    """Start a failed or cancelled job again; it continues from its last checkpoint where it has one."""
    with connect() as client:
        _print(client.retry_job(job), as_json)


def delete(job: JobArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete an ended job with its checkpoints and artifacts."""
    with connect() as client:
        confirm(f"Delete job {job} with its checkpoints?", yes=yes)
        client.delete_job(job)
    emit({"deleted": job}) if as_json else say(f"Deleted job {job}.")


def _watch(client: Client, job: Job, as_json: bool) -> None:
    """Never returns: the exit code says how the job ended."""
    try:
        ended = _follow(client, job, as_json)
    except KeyboardInterrupt:
        note(
            f"Job {job.id} keeps running: `vision watch {job.id}` watches it again, `vision cancel {job.id}` stops it."
        )
        raise typer.Exit(INTERRUPTED) from None
    if not as_json:
        summarise(client, ended)
    raise typer.Exit(EXIT_CODES[ended.status])


def _follow(client: Client, job: Job, as_json: bool) -> Job:
    if as_json:
        emit_line(job)
        ended = job if job.ended else watch(client, job, JsonScreen())
        if ended is not job:
            emit_line(ended)
        return ended
    if job.ended:
        return job
    if not sys.stdout.isatty():
        return watch(client, job, PlainScreen())
    view = View(job)
    with live_screen(view, terminal()) as screen:
        return watch(client, job, screen, view)


def summarise(client: Client, job: Job) -> None:
    """The end of a job in a few lines."""
    say(f"Job {job.id} {job.status} after {formatting.between(job.started_at, job.ended_at)}.")
    best = job.best
    for validation in client.validations(job.id):
        if best and validation.epoch == best.epoch:
            say(f"Best epoch {best.epoch}: {formatting.scores(headlines(validation.metrics, validation.primary))}")
            break
    if job.failure:
        show(tables.pairs(tables.failure_lines(job.failure)))
        note(f"The log: `vision logs {job.id}`; everything known: `vision job {job.id}`.")


def _print(job: Job, as_json: bool) -> None:
    emit(job) if as_json else say(f"Job {job.id} is {job.status}.")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
