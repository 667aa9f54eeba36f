"""Which waiting job gets which slots, and why the others wait, in words. Pure.

By priority, then first come. A job that must wait for more slots keeps the free ones of its kind from those behind
it, so that a big job is not overtaken for ever.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.slots import CPU, GPU, kind

EXACT_SECONDS, ROUNDED_SECONDS = 10, 5


@dataclass(frozen=True)
class Waiting:
    """A pending job; `failure` is the code that ended its last attempt."""

    job_id: int
    gpus: int = 0
    priority: int = 0
    not_before: datetime | None = None
    failure: str | None = None


@dataclass
class Plan:
    """`launches`: which jobs start on which slots, in order; `reasons`: why each other one waits."""

    launches: list[tuple[int, list[str]]] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)


def plan(waiting: Sequence[Waiting], slots: Sequence[str], in_use: Mapping[str, int], now: datetime) -> Plan:
    """`in_use` says which job holds a slot."""
    result = Plan()
    free = [slot for slot in slots if slot not in in_use]
    first_in_line: dict[str, int] = {}
    for job in sorted(waiting, key=lambda job: (-job.priority, job.job_id)):
        wanted, number = (GPU, job.gpus) if job.gpus else (CPU, 1)
        reason = _impossible(wanted, number, slots) or _too_early(job, now) or _behind(first_in_line.get(wanted))
        fitting = [slot for slot in free if kind(slot) == wanted][:number]
        if reason is None and len(fitting) < number:
            first_in_line[wanted] = job.job_id
            reason = _occupied(wanted, number, slots, {**in_use, **_taken(result)})
        if reason is not None:
            result.reasons[job.job_id] = reason
            continue
        result.launches.append((job.job_id, fitting))
        free = [slot for slot in free if slot not in fitting]
    return result


def withheld(planned: Plan, why: str) -> Plan:
    """The same plan without its launches: each of them waits too."""
    return Plan(reasons={**planned.reasons, **{job_id: why for job_id, _ in planned.launches}})


def _impossible(wanted: str, number: int, slots: Sequence[str]) -> str | None:
    offered = sum(kind(slot) == wanted for slot in slots)
    if number <= offered:
        return None
    return f"needs {_slots(wanted, number)}, and this machine offers {offered} (see SLOTS)"


def _too_early(job: Waiting, now: datetime) -> str | None:
    """Rounded up where it is long, so that the row is not written every second."""
    if job.not_before is None or job.not_before <= now:
        return None
    seconds = math.ceil((job.not_before - now).total_seconds())
    if seconds > EXACT_SECONDS:
        seconds = math.ceil(seconds / ROUNDED_SECONDS) * ROUNDED_SECONDS
    return f"retrying in {seconds} s" + (f" after {job.failure}" if job.failure else "")


def _behind(first: int | None) -> str | None:
    return None if first is None else f"waiting behind job {first}, which is next in line"


def _occupied(wanted: str, number: int, slots: Sequence[str], in_use: Mapping[str, int]) -> str:
    offered = [slot for slot in slots if kind(slot) == wanted]
    holders = sorted({in_use[slot] for slot in offered if slot in in_use})
    used = sum(slot in in_use for slot in offered)
    jobs = f"job{'s' if len(holders) > 1 else ''} {', '.join(map(str, holders))}"
    return f"waiting for {_slots(wanted, number)}: {used} of {len(offered)} in use by {jobs}"


def _taken(plan: Plan) -> dict[str, int]:
    return {slot: job_id for job_id, slots in plan.launches for slot in slots}


def _slots(wanted: str, number: int) -> str:
    name = {CPU: "CPU", GPU: "GPU"}[wanted]
    return f"a {name} slot" if number == 1 else f"{number} {name} slots"
