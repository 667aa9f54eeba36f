"""Requests lost, answers lost, connections cut: the database ends as if nothing had happened."""

import json
from pathlib import Path
from typing import Any

from chaos.database import Row, Rows
from chaos.invariants import check
from chaos.proxy import FATES, Faults, faulty_proxy
from chaos.world import World, world

SEED = 20261123
CALLS = 1000
SCRIPT: dict[str, Any] = {"steps": 48, "pause": 0, "pace": 0.001}
EPOCHS = 6


def test_database_is_that_of_a_run_without_faults_if_three_calls_of_four_fail(tmp_path: Path) -> None:
    faults = Faults(SEED, rate=0.25)
    with world(tmp_path / "world") as platform, faulty_proxy(platform.port, faults) as url:
        platform.start(BACKEND_INTERNAL_URL=url)
        disturbed = _run(platform, lockstep=True)  # one request an event
        assert faults.calls >= CALLS, f"only {faults.calls} calls were made"
        assert all(abs(faults.drawn[fate] / faults.calls - 0.25) < 0.05 for fate in FATES), faults.drawn

        faults.rate = 0.0
        undisturbed = _run(platform)

        rows = platform.database.rows()
        check(platform.truth(), rows).raise_if_any()
        assert _told(rows, disturbed) == _told(rows, undisturbed)


def _run(platform: World, **script: Any) -> int:
    job = platform.submit(epochs=EPOCHS, **SCRIPT | script)
    assert platform.wait_until_ended(job, seconds=120) == {job: "completed"}
    return job


def _told(rows: Rows, job: int) -> dict[str, Any]:
    """All that is stored of a job, without what two runs never share: times, row numbers, process ids."""
    told: dict[str, Any] = {name: _lasting(found, job) for name, found in _tables(rows).items()}
    for source in ("trainer", "platform"):
        told[source] = _lasting([row for row in rows.events if row["source"] == source], job)
    text = json.dumps(told, sort_keys=True, default=str)
    without_job: dict[str, Any] = json.loads(text.replace(f"job-{job}/", "job-N/"))
    return without_job


def _tables(rows: Rows) -> dict[str, list[Row]]:
    return {name: getattr(rows, name) for name in ("jobs", "attempts", "metrics", "validations", "checkpoints")}


def _lasting(rows: list[Row], job: int) -> list[Row]:
    """`jobs` alone has no job_id."""
    return [_lasting_columns(row) for row in rows if (row["job_id"] if "job_id" in row else row["id"]) == job]


ARCHIVED = ("log_start", "log_size")  # written in its own time
PASSING = ("id", "job_id", "position", "time", "received_at", "handle", "instance", "token_hash", *ARCHIVED)


def _lasting_columns(row: Row) -> Row:
    kept = {name: value for name, value in row.items() if name not in PASSING and not name.endswith("_at")}
    if config := kept.get("config"):
        kept["config"] = {name: value for name, value in config.items() if name != "hyperparameters"}
    if progress := kept.get("progress"):
        kept["progress"] = {name: value for name, value in progress.items() if name != "time"}
    return kept
