"""Reads what the scripted trainers wrote down (trainers/trainer-chaos/truth.py)."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]


@dataclass
class Told:
    """One trainer process. `begun` are the events it may have emitted, `done` those that it surely did."""

    job: int
    attempt: int
    pid: int
    alone: bool = True
    resume: str | None = None
    begun: dict[int, Event] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    stored: list[str] = field(default_factory=list)
    end: int | None = None


def read_truth(folder: Path) -> list[Told]:
    """Every trainer process that ever started, by job and attempt."""
    return sorted(
        (_read(path) for path in folder.glob("job-*/attempt-*.jsonl")), key=lambda told: (told.job, told.attempt)
    )


def _read(path: Path) -> Told:
    _, attempt, pid = path.stem.split("-")
    told = Told(job=int(path.parent.name.removeprefix("job-")), attempt=int(attempt), pid=int(pid))
    for line in path.read_bytes().split(b"\n")[:-1]:  # a last line without its end was never finished
        _add(told, json.loads(line))
    return told


def _add(told: Told, entry: dict[str, Any]) -> None:
    match entry:
        case {"start": _}:
            told.alone, told.resume = entry["alone"], entry["resume"]
        case {"begin": int(sequence)}:
            told.begun[sequence] = entry["event"]
        case {"done": int(sequence)}:
            told.done.add(sequence)
        case {"stored": str(key)}:
            told.stored.append(key)
        case {"end": int(code)}:
            told.end = code
