"""What every command shares: access, the --json switch, progress bars, and errors without tracebacks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from typer.core import TyperGroup

from vision_client.access import find_access
from vision_client.api import Client
from vision_client.errors import ApiError, VisionError
from vision_client.output import note, terminal

REFUSED = 4  # 1 and 3 say how a watched job ended, 2 is wrong usage

JsonOption = Annotated[bool, typer.Option("--json", help="Standard output is JSON and nothing else.")]
JobArgument = Annotated[int, typer.Argument(metavar="JOB", help="The job's number.", min=1)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Advance = Callable[[int], None]


class VisionGroup(TyperGroup):
    """Shows what went wrong in words; a traceback would tell a person nothing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VisionError as error:
            for line in error.lines() if isinstance(error, ApiError) else [str(error)]:
                note(line, style="red")
            raise typer.Exit(REFUSED) from error


def group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)


def connect() -> Client:
    access = find_access()
    return Client(access.url, access.token)


def confirm(question: str, *, yes: bool) -> None:
    """Asks a person; a script that calls a command means it."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)


@contextmanager
def step_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """One bar on standard error, set by `show(title, done, total)`; silent where there is no terminal."""
    console = terminal(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("waiting", total=None)
        yield lambda title, done, total: progress.update(task, description=title, completed=done, total=total)


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int], Advance]]:
    """Progress bars on standard error, one for each `start(title, total bytes)`; silent where there is no terminal."""
    console = terminal(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def start(title: str, total: int) -> Advance:
            task = progress.add_task(title, total=total)
            return lambda count: progress.advance(task, count)

        yield start
