"""The live display of `vision watch`: a View drawn with rich."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vision_client import formatting
from vision_client.view import View

BAR_WIDTH = 36
SHOWN_WARNINGS = 3
COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "stopping": "yellow"}


class LiveDisplay:
    """Drawn afresh by rich, several times a second, from whatever the view holds then."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True, min_width=8)
        grid.add_column()
        for label, cell in self._rows(self.view):
            grid.add_row(label, cell)
        return grid

    def _rows(self, view: View) -> Iterator[tuple[str, RenderableType]]:
        job = view.job
        yield f"job {job.id}", Text(f"{job.name} · {job.model_name} · {formatting.words(job.task_type)}")
        yield "status", self._status(view)
        yield from _progress_rows(view)
        if view.losses:
            yield "losses", Text(_losses(view))
        if view.headlines:
            yield "metrics", Text(formatting.scores(view.headlines), style="bold")
        if view.best:
            yield "best", _best(view)
        yield "time", Text(_time(view))
        for warning in view.warnings[-SHOWN_WARNINGS:]:
            yield "warning", Text(warning, style="yellow")
        if view.trouble:
            yield "network", Text(f"connection lost, trying again ({view.trouble})", style="yellow")

    def _status(self, view: View) -> RenderableType:
        words = Text(view.status, style=COLOURS.get(view.status, ""))
        if view.status == "pending" and view.job.pending_reason:
            words.append(f" · {view.job.pending_reason}", style="default")
        elif view.job.attempt:
            where = f" on {', '.join(view.slots)}" if view.slots else ""
            words.append(f" · attempt {view.job.attempt}{where}", style="default")
        if view.job.ended:
            return words
        self._spinner.update(text=words)
        return self._spinner


def _progress_rows(view: View) -> Iterator[tuple[str, RenderableType]]:
    progress = view.progress
    if progress is None:
        return
    epoch = f"  epoch {progress.epoch} of {progress.epochs}" if progress.epoch and progress.epochs else ""
    yield "phase", Text(progress.phase + epoch)
    if progress.steps:
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=progress.steps, completed=progress.step or 0, width=BAR_WIDTH)
        row.add_row(bar, Text(f"{progress.step or 0} of {progress.steps}"))
        yield "", row


def _losses(view: View) -> str:
    losses = formatting.numbers(view.losses)
    return losses if view.learning_rate is None else f"{losses}   lr {formatting.number(view.learning_rate)}"


def _best(view: View) -> Text:
    assert view.best is not None
    epoch, primary = view.best
    curve = formatting.sparkline([view.validations[number].value for number in sorted(view.validations)])
    return Text(f"{primary.name} {formatting.score(primary.value)} at epoch {epoch}   {curve}")


def _time(view: View) -> str:
    passed = formatting.between(view.job.started_at, view.job.ended_at, datetime.now(UTC))
    left = view.progress.eta_seconds if view.progress and view.status == "running" else None
    return f"{passed}, about {formatting.duration(left)} left" if left else passed
