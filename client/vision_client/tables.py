"""Jobs, datasets, checkpoints and the rest as tables and lines for people."""

from collections.abc import Iterable, Iterator
from signal import Signals

from rich.table import Table
from rich.text import Text

from vision_client import formatting, models
from vision_client.live import COLOURS
from vision_client.view import headlines


def jobs(items: Iterable[models.Job]) -> Table:
    table = _table("job", "name", "status", "task", "model", "epochs", "best", "took", "created")
    for job in items:
        table.add_row(
            str(job.id),
            Text(job.name),
            _status(job),
            formatting.words(job.task_type),
            Text(job.model_name),
            _epoch(job),
            _best(job),
            formatting.between(job.started_at, job.ended_at),
            formatting.moment(job.created_at),
        )
    return table


def datasets(items: Iterable[models.Dataset]) -> Table:
    table = _table("id", "name", "task", "version", "classes", "images", "size", "created")
    for dataset in items:
        latest = dataset.latest
        table.add_row(
            dataset.id,
            Text(dataset.name),
            formatting.words(dataset.task_type),
            *(_version(latest) if latest else [formatting.NOTHING] * 5),
        )
    return table


def collection(items: Iterable[models.CollectedItem]) -> Table:
    table = _table("kind", "size", "what", "why")
    for item in items:
        table.add_row(formatting.words(item.kind), formatting.size(item.bytes), Text(item.what), Text(item.reason))
    return table


def checkpoints(items: Iterable[models.Checkpoint]) -> Table:
    table = _table("kind", "epoch", "attempt", "size", "metrics", "key", "sha256", "stored")
    for item in items:
        table.add_row(
            item.kind if item.current else f"{item.kind} (superseded)",
            str(item.epoch),
            str(item.attempt),
            formatting.size(item.size),
            _metrics(item),
            Text(item.key),
            item.sha256[:12],
            formatting.moment(item.time),
        )
    return table


def catalogue(items: Iterable[models.Framework]) -> Table:
    table = _table("framework", "task", "model", "million parameters", "advice")
    for framework in items:
        for task, offer in framework.tasks.items():
            for model in offer.get("models", []):
                name, advice = Text(model["name"]), Text(model.get("advice") or "")
                millions = formatting.number(model.get("parameters_millions"))
                table.add_row(framework.name, formatting.words(task), name, millions, advice)
    return table


def predictions(prediction: models.Prediction) -> Table:
    table = _table("class", "confidence", "where")
    for seen in prediction.result.predictions:
        table.add_row(Text(seen.class_name), formatting.score(seen.confidence), _place(seen))
    return table


def job_lines(job: models.JobDetail) -> Iterator[tuple[str, str]]:
    """Everything about one job, as pairs of label and value."""
    yield "job", f"{job.id} · {job.name}"
    yield "status", job.status + (f" · {job.pending_reason}" if job.pending_reason else "")
    yield "trains", f"{job.model_name} ({job.framework}) for {formatting.words(job.task_type)}"
    yield "dataset", f"{job.dataset_id} version {job.dataset_version}"
    yield "with", ", ".join(f"{name}={value}" for name, value in job.config.items() if value not in (None, {}, []))
    yield "epochs", _epoch(job)
    yield "best", _best(job)
    yield "created", formatting.moment(job.created_at)
    yield "took", formatting.between(job.started_at, job.ended_at)
    if job.mlflow_url:
        yield "MLflow", job.mlflow_url
    for attempt in job.attempts:
        yield f"attempt {attempt.number}", _attempt(attempt)
    if job.failure:
        yield from failure_lines(job.failure)
        tail = job.attempts[-1].log_tail if job.attempts else None
        yield from (("log" if first else "", line) for first, line in _marked(tail or []))


def failure_lines(failure: models.Failure) -> Iterator[tuple[str, str]]:
    yield "failure", f"{failure.code}: {failure.message}"
    if failure.cause:
        yield "cause", failure.cause
    if failure.hint:
        yield "advice", failure.hint


def pairs(lines: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, value in lines:
        grid.add_row(label, Text(value))
    return grid


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _status(job: models.Job) -> Text:
    return Text(job.status, style=COLOURS.get(job.status, ""))


def _epoch(job: models.Job) -> str:
    """`4 of 12`, or how many are planned where no report says how far it came."""
    planned = str(job.config.get("epochs", formatting.NOTHING))
    reached = job.progress.epoch if job.progress else None
    return planned if reached is None else f"{reached} of {planned}"


def _best(job: models.Job) -> str:
    if job.best is None:
        return formatting.NOTHING
    return f"{job.best.metric} {formatting.score(job.best.value)} at epoch {job.best.epoch}"


def _version(version: models.DatasetVersion) -> Iterator[str]:
    yield str(version.version)
    yield str(len(version.classes))
    yield _counts(version)
    yield formatting.size(version.archive_size)
    yield formatting.moment(version.created_at)


def _counts(version: models.DatasetVersion) -> str:
    return ", ".join(f"{split} {count}" for split, count in version.counts.get("images", {}).items())


def _metrics(checkpoint: models.Checkpoint) -> str:
    shown = headlines(checkpoint.metrics, models.Primary(name="", value=None)) if checkpoint.metrics else {}
    return formatting.scores(shown) or formatting.NOTHING


def _place(seen: models.Detection) -> str:
    values = seen.box or [value for point in seen.rotated_box or [] for value in point]
    return ", ".join(f"{value:.0f}" for value in values) or formatting.NOTHING


def _attempt(attempt: models.Attempt) -> str:
    where = f" on {', '.join(attempt.slots)}" if attempt.slots else ""
    ending = attempt.outcome or "running"
    if attempt.failure:
        ending += f", {attempt.failure.code}"
    if attempt.exit_signal:
        ending += f", signal {attempt.exit_signal}{_signal_name(attempt.exit_signal)}"
    elif attempt.exit_code is not None:
        ending += f", exit code {attempt.exit_code}"
    return f"{ending}{where}, {formatting.between(attempt.launched_at, attempt.ended_at)}"


def _signal_name(number: int) -> str:
    return next((f" ({known.name})" for known in Signals if known == number), "")


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    return ((index == 0, line) for index, line in enumerate(lines))
