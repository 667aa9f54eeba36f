"""Following a job to its end, on a terminal, as plain lines or as JSON lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from vision_client import history
from vision_client.api import Client
from vision_client.errors import ApiError, Unreachable
from vision_client.live import LiveDisplay
from vision_client.models import ENDED, HistoryEntry, Job
from vision_client.narration import Narrator
from vision_client.output import emit_line, say
from vision_client.view import View

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3}


class Screen(Protocol):
    def update(self, view: View, entry: HistoryEntry | None) -> None:
        """After every entry, and with None when only the view changed."""


def watch(client: Client, job: Job, screen: Screen, view: View | None = None) -> Job:
    """Returns the job once it has ended; a restart of the platform in between does not matter."""
    view = view or View(job)
    for item in history.follow(client, job.id):
        if isinstance(item, HistoryEntry):
            view.apply(item)
            screen.update(view, item)
            if _may_be_the_end(item) and _refresh(client, view) and _is_the_end(view.job, item):
                break
        else:
            view.trouble = item.trouble
            refreshed = item.trouble is None and _refresh(client, view)
            screen.update(view, None)
            if refreshed and view.job.ended:
                break
    screen.update(view, None)
    return view.job


@contextmanager
def live_screen(view: View, console: Console) -> Iterator[Screen]:
    with Live(LiveDisplay(view), console=console, refresh_per_second=8):
        yield _LiveScreen()


class PlainScreen:
    def __init__(self) -> None:
        self._narrator = Narrator()
        self._reason: str | None = None

    def update(self, view: View, entry: HistoryEntry | None) -> None:
        pending = view.job.pending_reason if view.status == "pending" else None
        lines = [self._narrator.trouble(view.trouble), self._narrator.line(entry) if entry else None]
        if pending != self._reason:
            lines.append(f"pending: {pending}" if pending else None)
            self._reason = pending
        for line in lines:
            if line:
                say(line)


class JsonScreen:
    def update(self, view: View, entry: HistoryEntry | None) -> None:
        if entry:
            emit_line(entry)


class _LiveScreen:
    def update(self, view: View, entry: HistoryEntry | None) -> None:
        """rich draws the view by itself."""


def _may_be_the_end(entry: HistoryEntry) -> bool:
    return entry.source == "platform" and entry.type == "status" and entry.payload.get("to") in ENDED


def _is_the_end(job: Job, entry: HistoryEntry) -> bool:
    """An older attempt's end is not: the job was retried since."""
    return job.status == entry.payload.get("to") and (entry.attempt or 0) >= job.attempt


def _refresh(client: Client, view: View) -> bool:
    try:
        view.refresh(client.job(view.job.id))
    except (Unreachable, ApiError) as error:
        if isinstance(error, ApiError) and error.status < 500:
            raise
        view.trouble = str(error)
        return False
    return True
