"""Dead, unreachable and stalled are told apart with real trainers, over HTTP and by the clock."""

import os
import signal
import time

import pytest

from app.settings import Settings
from tests.outages.serving import Served, serving
from tests.waiting import until

LIMIT_SECONDS = 15.0
LINES_PAST_THE_STALL = 20  # one each 0.2 s: past the three seconds after which silence would be a stall


@pytest.mark.parametrize("who", ["trainer_pid", "pid"], ids=["trainer", "supervisor"])
def test_retried_within_the_limit_if_its_process_is_gone(settings: Settings, who: str) -> None:
    """With the default times, the pause before a retry among them left out."""
    with serving(settings) as served:
        job_id = served.start("wait", "waiting")
        took = _kill(served, job_id, who)
        until(lambda: served.job(job_id)["attempt"] == 2)
        first = served.job(job_id)["attempts"][0]
        assert took < LIMIT_SECONDS
        assert first["failure"]["code"] == ("TRAINER_KILLED" if who == "trainer_pid" else "TRAINER_LOST")
        assert first["log_tail"] == ["attempt 1 does wait", "waiting"]


def test_failed_within_the_limit_if_its_process_is_gone_and_no_retry_is_left(settings: Settings) -> None:
    with serving(settings) as served:
        job_id = served.start("wait", "waiting", max_retries=0)
        assert _kill(served, job_id, "trainer_pid") < LIMIT_SECONDS
        assert served.job(job_id)["status"] == "failed"


def _kill(served: Served, job_id: int, who: str) -> float:
    """How long the verdict took."""
    handle = served.platform.launcher.observe(job_id, 1, None).handle or {}
    began = time.monotonic()
    os.kill(handle[who], signal.SIGKILL)
    until(lambda: served.job(job_id)["attempts"][0]["outcome"])
    return time.monotonic() - began


def test_waited_for_if_it_is_silent_and_lives(settings: Settings) -> None:
    """Frozen, it can neither report nor move; it is left alone far past the limit for stalls, and completes."""
    with serving(settings, tick_seconds=0.05, stall_seconds=0.5) as served:
        job_id = served.start("count", "does count")
        until(lambda: served.counted(job_id))
        trainer = (served.platform.launcher.observe(job_id, 1, None).handle or {})["trainer_pid"]
        os.kill(trainer, signal.SIGSTOP)
        frozen = time.monotonic()
        until(lambda: time.monotonic() - frozen > 3)
        assert (served.job(job_id)["status"], served.job(job_id)["stop_intent"]) == ("running", None)
        os.kill(trainer, signal.SIGCONT)
        (served.work_dir(job_id) / "enough").touch()
        assert served.become(job_id, "completed", "failed")["attempt"] == 1


def test_stalled_and_retried_if_it_heartbeats_without_progress(settings: Settings) -> None:
    with serving(settings, tick_seconds=0.1, stall_seconds=1, stop_flag_seconds=0.2) as served:
        job_id = served.submit("wait", max_retries=1)
        job = served.become(job_id, "failed")
        assert [attempt["failure"]["code"] for attempt in job["attempts"]] == ["STALLED", "STALLED"]
        assert [attempt["exit_code"] for attempt in job["attempts"]] == [3, 3]  # asked, and ended in good order
        assert job["failure"]["code"] == "STALLED" and job["attempts"][1]["log_tail"][-1] == "waiting"


def test_stalled_and_retried_if_it_never_sent_one_report(settings: Settings) -> None:
    changes = {"tick_seconds": 0.1, "stall_seconds": 1, "stop_flag_seconds": 0.2, "grace_period_seconds": 1}
    with serving(settings, **changes) as served:
        job_id = served.submit("mute", max_retries=1)
        job = served.become(job_id, "failed")
        assert [attempt["failure"]["code"] for attempt in job["attempts"]] == ["STALLED", "STALLED"]
        assert job["started_at"] is None and job["attempts"][0]["heartbeat_at"] is None
        stops = [entry["payload"] for entry in served.http.get(f"/api/v1/jobs/{job_id}/timeline").json()["items"]]
        assert any("has not sent one report" in stop.get("reason", "") for stop in stops)


def test_waited_for_if_it_cannot_reach_the_platform_from_the_start(settings: Settings) -> None:
    """It writes to its outbox; what it did is known once it ended."""
    nowhere = {"backend_internal_url": "http://127.0.0.1:9", "stall_seconds": 3, "tick_seconds": 0.05}
    with serving(settings, **nowhere) as served:
        job_id = served.start("count", "does count")
        outbox = served.work_dir(job_id) / "outbox.jsonl"
        until(lambda: outbox.read_bytes().count(b"\n") > LINES_PAST_THE_STALL)
        assert served.job(job_id)["stop_intent"] is None
        (served.work_dir(job_id) / "enough").touch()
        assert served.become(job_id, "completed", "failed")["status"] == "completed"
        counted = served.counted(job_id)
        assert counted == [float(number) for number in range(1, len(counted) + 1)] and len(counted) > 9
