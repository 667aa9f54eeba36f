"""Each failure code, produced by what it is for, as a person reads it from the API.

What only a framework can do wrong is produced by the real trainer; `PROOFS` says where.
"""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from app.failures import FAILURES
from app.settings import REPOSITORY, Settings
from tests.cgroups import small_cgroup
from tests.outages.serving import Served, serving
from tests.tmpfs import small_tmpfs

HERE, VERDICTS = "backend/tests/test_failures_for_real.py", "backend/tests/outages/test_verdicts.py"
TRAINER = "trainer-ultralytics/tests/test_train_failures.py"
RESUMING = "trainer-ultralytics/tests/test_train_resuming.py"
PROOFS = {
    "BAD_CONFIGURATION": (HERE, "test_ending_has_its_code"),
    "DATASET_MISSING": (TRAINER, "test_dataset_missing_if_it_is_not_there"),
    "DATASET_DIGEST_MISMATCH": (TRAINER, "test_dataset_digest_mismatch_if_it_is_another"),
    "DATASET_INVALID": (TRAINER, "test_dataset_invalid_if_images_cannot_be_read"),
    "WEIGHTS_MISSING": (TRAINER, "test_weights_missing_if_neither_storage_nor_hub_has_them"),
    "CHECKPOINT_MISSING": (TRAINER, "test_checkpoint_missing_if_it_is_not_there"),
    "RESUME_INVALID": (RESUMING, "test_refused_if_the_checkpoint_is_stripped"),
    "STORAGE_ERROR": ("trainer-ultralytics/tests/test_utils_storage.py", "test_the_error_is_clear_if_the_outage_lasts"),
    "DISK_FULL": (HERE, "test_disk_full_if_the_trainers_disk_is"),
    "OUT_OF_MEMORY": (HERE, "test_out_of_memory_if_the_kernel_killed_it_for_that"),
    "NAN_LOSS": (TRAINER, "test_nan_loss_if_training_diverges"),
    "FRAMEWORK_CRASH": (HERE, "test_ending_has_its_code"),
    "TRAINER_KILLED": (HERE, "test_ending_has_its_code"),
    "TRAINER_LOST": (HERE, "test_trainer_lost_if_its_supervisor_is_gone"),
    "LAUNCH_FAILED": (HERE, "test_launch_failed_if_its_folder_cannot_be_written"),
    "NO_COMPLETION_REPORT": (HERE, "test_ending_has_its_code"),
    "STALLED": (VERDICTS, "test_stalled_and_retried_if_it_heartbeats_without_progress"),
}
RETRIED = {
    "STORAGE_ERROR",
    "DISK_FULL",
    "FRAMEWORK_CRASH",
    "TRAINER_KILLED",
    "TRAINER_LOST",
    "LAUNCH_FAILED",
    "STALLED",
}


def test_each_code_is_produced_by_a_test() -> None:
    assert set(PROOFS) == set(FAILURES)
    for code, (path, name) in PROOFS.items():
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{code}: {path} has no {name}"
        assert f'"{code}"' in text


def test_crashes_and_lost_hosts_are_retried_and_what_a_retry_cannot_mend_is_not() -> None:
    assert {code for code, failure in FAILURES.items() if failure.retryable} == RETRIED


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with serving(settings, tick_seconds=0.1) as served:
        yield served


ENDINGS: list[tuple[str, str, dict[str, Any], int | None, int | None]] = [
    # the code, what the trainer does, its exit code, its signal
    ("BAD_CONFIGURATION", "leave", {"exit_code": 2}, 2, None),
    ("NO_COMPLETION_REPORT", "leave", {"exit_code": 0}, 0, None),
    ("FRAMEWORK_CRASH", "leave", {"exit_code": 1}, 1, None),
    ("FRAMEWORK_CRASH", "kill_itself", {"signal": int(signal.SIGSEGV)}, None, signal.SIGSEGV),
    ("TRAINER_KILLED", "kill_itself", {"signal": int(signal.SIGKILL)}, None, signal.SIGKILL),
    ("NAN_LOSS", "fail", {"code": "NAN_LOSS"}, 1, None),
]


@pytest.mark.parametrize(("code", "behaviour", "script", "exit_code", "exit_signal"), ENDINGS)
def test_ending_has_its_code(
    served: Served, code: str, behaviour: str, script: dict[str, Any], exit_code: int | None, exit_signal: int | None
) -> None:
    job = served.become(served.submit(behaviour, max_retries=1, **script), "failed")
    assert len(job["attempts"]) == (2 if FAILURES[code].retryable else 1)
    attempt = _explained(job, code)
    assert (attempt["exit_code"], attempt["exit_signal"]) == (exit_code, exit_signal)
    assert attempt["log_tail"][0] == f"attempt {job['attempt']} does {behaviour}"


def test_trainer_lost_if_its_supervisor_is_gone(served: Served) -> None:
    job_id = served.start("wait", "waiting", max_retries=0)
    os.kill((served.platform.launcher.observe(job_id, 1, None).handle or {})["pid"], signal.SIGKILL)
    attempt = _explained(served.become(job_id, "failed"), "TRAINER_LOST")
    assert (attempt["exit_code"], attempt["exit_signal"], attempt["outcome"]) == (None, None, "lost")


def test_launch_failed_if_its_folder_cannot_be_written(served: Served) -> None:
    work = served.platform.settings.data_dir / "work"
    work.write_text("not a folder")
    job = served.become(served.submit("complete", max_retries=0), "failed")
    assert "cannot make" in _explained(job, "LAUNCH_FAILED")["failure"]["message"]


def test_launch_failed_if_the_disk_is_full(settings: Settings) -> None:
    with small_tmpfs(settings.data_dir / "work", "1m") as disk, serving(settings, tick_seconds=0.1) as served:
        (disk / "ballast").write_bytes(bytes(2**20))
        job = served.become(served.submit("complete", max_retries=0), "failed")
        assert "No space left on device" in _explained(job, "LAUNCH_FAILED")["failure"]["message"]


def test_disk_full_if_the_trainers_disk_is(settings: Settings) -> None:
    """Its outbox and its log fit no more; how it ended was given its place before, and is known."""
    with small_tmpfs(settings.data_dir / "work", "4m") as disk, serving(settings, tick_seconds=0.1) as served:
        job_id = served.submit("fill_disk", max_retries=0)
        attempt = _explained(served.become(job_id, "failed"), "DISK_FULL")
        assert (attempt["exit_code"], attempt["outcome"]) == (1, "failed")
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize < 2**16


def test_out_of_memory_if_the_kernel_killed_it_for_that(served: Served) -> None:
    with small_cgroup() as cgroup:
        job = served.become(served.submit("exhaust_memory", cgroup=str(cgroup)), "failed")
    assert _explained(job, "OUT_OF_MEMORY")["exit_signal"] == signal.SIGKILL
    assert job["attempt"] == 1


def _explained(job: dict[str, Any], code: str) -> dict[str, Any]:
    """The attempt at fault; the job and it tell code, cause and advice alike."""
    attempt: dict[str, Any] = job["attempts"][-1]
    assert job["failure"] == attempt["failure"]
    assert (job["failure"]["code"], job["failure"]["cause"]) == (code, FAILURES[code].cause)
    assert job["failure"]["hint"] == FAILURES[code].advice and job["failure"]["message"]
    return attempt
