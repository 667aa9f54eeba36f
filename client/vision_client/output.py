"""Where words go: results to standard output, remarks to standard error, JSON alone when JSON was asked for."""

import sys
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console, RenderableType
from rich.text import Text

PIPE_WIDTH = 200  # no terminal cuts the lines there


def terminal(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def say(line: str) -> None:
    """A line of the result."""
    terminal().print(line, markup=False, soft_wrap=True)


def show(renderable: RenderableType, *, remark: bool = False) -> None:
    """A table, or a line with colours; a remark goes to standard error."""
    terminal(stderr=remark).print(renderable, soft_wrap=isinstance(renderable, Text))


def note(line: str, *, style: str | None = None) -> None:
    """A remark that must not end up in a pipe."""
    terminal(stderr=True).print(line, markup=False, soft_wrap=True, style=style)


def emit(document: BaseModel | Any) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(to_json(document, indent=2).decode() + "\n")


def emit_line(document: BaseModel | Any) -> None:
    """One of several JSON lines, at once."""
    sys.stdout.write(to_json(document).decode() + "\n")
    sys.stdout.flush()
