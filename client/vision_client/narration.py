"""A job's history in words, a line an entry: what `vision watch` prints where there is no terminal."""

from typing import Any

from vision_client import formatting
from vision_client.models import HistoryEntry, Primary
from vision_client.view import headlines, is_train_loss, loss_name


class Narrator:
    """Remembers what was said, so that a hundred reports of one epoch become one line."""

    def __init__(self) -> None:
        self._said: tuple[Any, ...] = ()
        self._trouble: str | None = None

    def line(self, entry: HistoryEntry) -> str | None:
        """None where the entry says nothing new."""
        words = self._progress(entry.payload) if entry.type == "progress" else _describe(entry)
        return f"{formatting.clock(entry.time)}  {words}" if words else None

    def trouble(self, reason: str | None) -> str | None:
        """A line when the connection broke or came back."""
        before, self._trouble = self._trouble, reason
        if reason and not before:
            return f"connection lost, trying again ({reason})"
        return "connected again" if before and not reason else None

    def _progress(self, payload: dict[str, Any]) -> str | None:
        seconds = payload.get("seconds")
        if seconds is not None:
            return f"{payload['phase']}: took {formatting.duration(seconds)}"
        said = (payload["phase"], payload.get("epoch"))
        if said == self._said:
            return None
        self._said = said
        return _phase(payload)


def _describe(entry: HistoryEntry) -> str | None:
    payload = entry.payload
    match entry.source, entry.type:
        case "platform", "status":
            before = f"{payload['from']} → " if payload.get("from") else ""
            return _join(f"{before}{payload.get('to')}", payload.get("reason"))
        case "platform", "launch":
            return _join(f"attempt {entry.attempt} launched", ", ".join(map(str, payload.get("slots") or [])))
        case _, "metrics":
            return _metrics(payload)
        case _, "validation":
            primary = Primary.model_validate(payload["primary"])
            shown = formatting.scores(headlines(payload.get("metrics") or {}, primary))
            return f"epoch {payload['epoch']} validated: {shown}"
        case _, "checkpoint":
            stored = formatting.size(payload["size"])
            return f"checkpoint {payload['kind']} of epoch {payload['epoch']} stored, {stored}"
        case _, "warning":
            return f"warning {payload.get('code')}: {payload.get('message')}"
    return None


def _phase(payload: dict[str, Any]) -> str:
    epoch, left = payload.get("epoch"), payload.get("eta_seconds")
    of = f" of {payload['epochs']}" if payload.get("epochs") else ""
    return _join(
        payload["phase"] + (f": epoch {epoch}{of}" if epoch else ""),
        f"about {formatting.duration(left)} left" if left else None,
    )


def _metrics(payload: dict[str, Any]) -> str | None:
    losses = {loss_name(name): value for name, value in (payload.get("values") or {}).items() if is_train_loss(name)}
    if not losses:
        return None
    return f"epoch {payload['epoch']} losses: {formatting.numbers(losses)}"


def _join(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)
