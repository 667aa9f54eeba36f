"""What goes and what stays, each rule by its table."""

from datetime import UTC, datetime, timedelta

import pytest

from app.services.collection import policy
from app.services.collection.policy import AttemptFolder, CacheEntry, Limits, StoredLog

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = Limits(work=7 * DAY, log=90 * DAY, orphan=7 * DAY, log_bytes=100, cache_bytes=100, browse_bytes=100)


def attempt_folder(ended: float | None = 8, *, log_stored: bool = True, supervised: bool = False) -> AttemptFolder:
    return AttemptFolder(None if ended is None else NOW - ended * DAY, log_stored, supervised)


def stored(*days_and_bytes: tuple[float, int]) -> list[StoredLog]:
    return [StoredLog(number, NOW - days * DAY, size) for number, (days, size) in enumerate(days_and_bytes)]


def cached(*days_and_bytes: tuple[float, int], in_use: tuple[int, ...] = ()) -> list[CacheEntry]:
    entries = enumerate(days_and_bytes)
    return [CacheEntry(str(number), size, NOW - days * DAY, number in in_use) for number, (days, size) in entries]


def test_work_folder_goes_once_its_attempt_ended_long_ago() -> None:
    said = "its attempt ended 8 days ago (RETENTION_WORK_DAYS)"
    assert policy.why_attempt_folder(attempt_folder(), LIMITS, NOW) == said


@pytest.mark.parametrize(
    "folder",
    [
        attempt_folder(ended=None),
        attempt_folder(ended=6.9),
        attempt_folder(ended=1000, log_stored=False),
        attempt_folder(ended=1000, supervised=True),
    ],
)
def test_work_folder_stays_if_active_or_young_or_its_log_is_nowhere_else(folder: AttemptFolder) -> None:
    assert policy.why_attempt_folder(folder, LIMITS, NOW) is None


@pytest.mark.parametrize(("days", "goes"), [(6.9, False), (7, True)])
def test_objects_of_a_deleted_job_go_after_a_safe_time(days: float, goes: bool) -> None:
    reason = policy.why_unowned("job 3", NOW - days * DAY, LIMITS, NOW)
    assert reason == ("job 3 was deleted; unchanged for 7 days (RETENTION_ORPHAN_DAYS)" if goes else None)


@pytest.mark.parametrize(("days", "goes"), [(0.9, False), (1, True)])
def test_what_a_request_left_goes_after_a_day(days: float, goes: bool) -> None:
    assert policy.why_left(NOW - days * DAY, NOW) == ("left behind 24 hours ago" if goes else None)


@pytest.mark.parametrize(
    ("logs", "gone"),
    [
        (stored((1, 50), (2, 50)), []),
        (stored((89, 1), (90, 1), (91, 1)), [2, 1]),
        (stored((2, 60), (4, 60), (3, 60)), [1, 2]),
        (stored((91, 1000), (2, 60), (3, 40)), [0]),
        (stored((0.5, 200), (0.4, 200)), []),
    ],
    ids=["within the limits", "by age", "the oldest until the rest fits", "age makes room first", "never the young"],
)
def test_logs_go_by_age_and_then_by_size(logs: list[StoredLog], gone: list[int]) -> None:
    assert [log.attempt_id for log, _ in policy.old_logs(logs, LIMITS, NOW)] == gone


@pytest.mark.parametrize(
    ("entries", "gone"),
    [
        (cached((1, 50), (2, 50)), []),
        (cached((1, 50), (3, 50), (2, 50)), ["1"]),
        (cached((1, 50), (3, 50), (2, 50), in_use=(1,)), ["2"]),
        (cached((3, 200), (2, 200), in_use=(0, 1)), []),
        (cached((9, 0), (1, 101)), ["1"]),
    ],
    ids=["within the limit", "least recently used", "not the one in use", "none if all are", "nothing that is empty"],
)
def test_cache_keeps_what_was_used_last(entries: list[CacheEntry], gone: list[str]) -> None:
    assert [entry.name for entry, _ in policy.surplus(entries, 100, "CACHE_LIMIT_BYTES", NOW)] == gone
