"""Jobs and history entries with every field filled in."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from vision_client.models import HistoryEntry, Job

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_positions = count(1)


def make_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": 3,
        "name": "digits, first try",
        "framework": "scripted",
        "task_type": "object_detection",
        "model_name": "tiny",
        "dataset_id": "digits",
        "dataset_version": 1,
        "config": {"epochs": 12},
        "gpus": 0,
        "priority": 0,
        "max_retries": 2,
        "status": "running",
        "attempt": 1,
        "created_at": NOW,
        "updated_at": NOW,
        "started_at": NOW,
    }
    return Job.model_validate({**fields, **changes})


def make_entry(type: str, *, source: str = "trainer", attempt: int = 1, **payload: Any) -> HistoryEntry:
    position = next(_positions)
    time = NOW + timedelta(seconds=position)
    fields = {
        "position": position,
        "time": time,
        "attempt": attempt,
        "source": source,
        "type": type,
        "payload": payload,
    }
    return HistoryEntry.model_validate(fields)
