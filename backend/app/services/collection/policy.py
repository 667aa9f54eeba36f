"""What goes, and why. Pure: each function gives the reason in words, or None for what stays.

Nothing in use and nothing young goes, whatever the limits say.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.settings import Settings
from app.words import CollectedKind

YOUNG = timedelta(days=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Item:
    """Something that goes. `what` is a path in the data folder or a key in storage."""

    kind: CollectedKind
    what: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Limits:
    work: timedelta
    log: timedelta
    orphan: timedelta
    log_bytes: int
    cache_bytes: int
    browse_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            work=timedelta(days=settings.retention_work_days),
            log=timedelta(days=settings.retention_log_days),
            orphan=timedelta(days=settings.retention_orphan_days),
            log_bytes=settings.log_limit_bytes,
            cache_bytes=settings.cache_limit_bytes,
            browse_bytes=settings.browse_limit_bytes,
        )


@dataclass(frozen=True)
class AttemptFolder:
    """An attempt's work folder; `log_stored` says that nothing of its log would be lost with it."""

    ended_at: datetime | None
    log_stored: bool
    supervised: bool


@dataclass(frozen=True)
class StoredLog:
    """The log of an ended attempt in storage."""

    attempt_id: int
    ended_at: datetime
    bytes: int


@dataclass
class Group:
    """Objects that belong together: their bytes, and when the newest was written."""

    bytes: int = 0
    changed_at: datetime = NEVER

    def add(self, size: int, modified: datetime) -> None:
        self.bytes += size
        self.changed_at = max(self.changed_at, modified)


@dataclass(frozen=True)
class CacheEntry:
    """Something that trainers can fetch again."""

    name: str
    bytes: int
    used_at: datetime
    in_use: bool


def why_attempt_folder(folder: AttemptFolder, limits: Limits, now: datetime) -> str | None:
    if folder.ended_at is None or folder.supervised or not folder.log_stored:
        return None
    age = now - folder.ended_at
    return f"its attempt ended {_days(age)} ago (RETENTION_WORK_DAYS)" if age >= limits.work else None


def why_unowned(owner: str, changed_at: datetime, limits: Limits, now: datetime) -> str | None:
    """For what belongs to a job or dataset that was here once and is not any more."""
    age = now - changed_at
    return f"{owner} was deleted; unchanged for {_days(age)} (RETENTION_ORPHAN_DAYS)" if age >= limits.orphan else None


def why_left(changed_at: datetime, now: datetime) -> str | None:
    """For what lives as long as one request."""
    age = now - changed_at
    return f"left behind {_days(age)} ago" if age >= YOUNG else None


def why_superseded(changed_at: datetime, now: datetime) -> str | None:
    """For a checkpoint that nothing names, of an attempt that has ended: when the later of both was."""
    age = now - changed_at
    return f"no pointer names it; its attempt ended {_days(age)} ago" if age >= YOUNG else None


def old_logs(logs: Iterable[StoredLog], limits: Limits, now: datetime) -> Iterator[tuple[StoredLog, str]]:
    """The old ones, and then the oldest until the rest fits."""
    kept = []
    for log in sorted(logs, key=lambda log: log.ended_at):
        age = now - log.ended_at
        if age >= limits.log:
            yield log, f"its attempt ended {_days(age)} ago (RETENTION_LOG_DAYS)"
        else:
            kept.append(log)
    excess = sum(log.bytes for log in kept) - limits.log_bytes
    for log in kept:
        if excess > 0 and now - log.ended_at >= YOUNG:
            yield log, f"logs have {excess} bytes too many; this is the oldest (LOG_LIMIT_BYTES)"
            excess -= log.bytes


def surplus(entries: Iterable[CacheEntry], limit: int, setting: str, now: datetime) -> Iterator[tuple[CacheEntry, str]]:
    """The least recently used until the rest has at most `limit` bytes; none in use."""
    known = sorted(entries, key=lambda entry: entry.used_at)
    excess = sum(entry.bytes for entry in known) - limit
    for entry in known:
        if excess > 0 and entry.bytes and not entry.in_use:
            ago = _days(now - entry.used_at)
            yield entry, f"the cache has {excess} bytes too many; last used {ago} ago ({setting})"
            excess -= entry.bytes


def _days(age: timedelta) -> str:
    days = age / timedelta(days=1)
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
