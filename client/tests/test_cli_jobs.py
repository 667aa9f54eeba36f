import signal
import subprocess
from pathlib import Path

import pytest

from tests.backend import Backend
from tests.vision import COMPLETE, TRAIN, Vision, make_dataset
from tests.waiting import wait_for


def wait_until(vision: Vision, job: int, status: str) -> None:
    with vision.backend.client() as client:
        wait_for(lambda: client.job(job).status == status, f"job {job} to be {status}")


def test_training_is_watched_to_its_end_in_plain_lines(vision: Vision) -> None:
    out = vision(*COMPLETE, "--epochs", "3", "--watch").stdout
    for part in (
        "pending → starting",
        "train: epoch 3 of 3",
        "epoch 3 losses: box 0.3333",
        "epoch 2 validated: mAP50 0.667",
    ):
        assert part in out
    assert "completed after" in out and "Best epoch 3: mAP50 1.000" in out


def test_training_is_watched_as_json_lines(vision: Vision) -> None:
    first, *history, last = vision.lines(*COMPLETE, "--epochs", "3", "--watch")
    assert (first["status"], last["status"], last["id"]) == ("pending", "completed", first["id"])
    positions = [entry["position"] for entry in history]
    assert positions == sorted(set(positions)) and {"status", "metrics", "validation"} <= {
        entry["type"] for entry in history
    }


def test_submitted_job_has_what_was_asked_for(vision: Vision) -> None:
    job = vision.json(
        *TRAIN,
        "--epochs",
        "4",
        "--batch-size",
        "3",
        "--learning-rate",
        "0.02",
        "--image-size",
        "96",
        "--weights",
        "scratch",
        "--seed",
        "7",
        "--priority",
        "5",
        "--max-retries",
        "1",
        "--name",
        "asked",
        "--set",
        "lines=2",
        "--gpus",
        "0",
    )
    config = {"epochs": 4, "batch_size": 3, "learning_rate": 0.02, "image_size": 96, "weights": "scratch", "seed": 7}
    assert config.items() <= job["config"].items()
    assert job["config"]["hyperparameters"] == {"lines": 2}
    assert (job["name"], job["priority"], job["max_retries"], job["framework"]) == ("asked", 5, 1, "scripted")


def test_failure_has_its_code_and_exit_code_1(vision: Vision) -> None:
    result = vision(
        *TRAIN, "--max-retries", "0", "--set", "behaviour=fail", "--set", "code=NAN_LOSS", "--watch", code=1
    )
    assert "NAN_LOSS: as the script says" in result.stdout
    shown = vision("job", vision.json("jobs", "--limit", "1")["items"][0]["id"]).stdout
    assert "NAN_LOSS" in shown and "Traceback: as the script says" in shown and "attempt 1" in shown


def test_cancelled_job_has_exit_code_3(vision: Vision) -> None:
    job = vision.train("wait")
    wait_until(vision, job, "running")
    assert f"Job {job} is stopping" in vision("cancel", job).stdout
    assert vision.json("cancel", job)["id"] == job
    assert "cancelled" in vision("watch", job, code=3).stdout
    assert vision.lines("watch", job, code=3) == [vision.json("job", job)]


def test_cancelled_job_is_retried_and_deleted(vision: Vision) -> None:
    job = vision.train("wait")
    vision("cancel", job)
    wait_until(vision, job, "cancelled")
    assert vision.json("retry", job)["status"] == "pending"
    assert "CONFLICT" in vision("delete", job, code=4).stderr
    vision("cancel", job)
    wait_until(vision, job, "cancelled")
    assert vision.json("delete", job) == {"deleted": job}
    assert "NOT_FOUND" in vision("job", job, code=4).stderr


def test_waiting_job_says_why(vision: Vision) -> None:
    first, second = vision.train("wait"), vision.train("wait")
    wait_until(vision, first, "running")
    process = vision.start("watch", second, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert any("pending: waiting for" in line and f"job {first}" in line for line in iter(process.stdout.readline, ""))
    vision("cancel", second)
    assert process.wait(30) == 3
    process.stdout.close()
    vision("cancel", first)


def test_watch_leaves_the_job_running_if_it_is_interrupted(vision: Vision) -> None:
    job = vision.train("wait")
    process = vision.start("watch", job, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert any("→ running" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    _, remarks = process.communicate(timeout=30)
    assert process.returncode == 130 and f"Job {job} keeps running" in remarks and "Traceback" not in remarks
    assert vision.json("job", job)["status"] == "running"
    vision("cancel", job)


def test_watch_survives_a_restart_of_the_platform(own_backend: Backend, tmp_path: Path) -> None:
    vision = Vision(own_backend)
    vision("dataset", "add", make_dataset(tmp_path / "shapes"), "--task", "object_detection")
    job = vision.train("wait")
    process = vision.start("watch", job, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("→ running" in line for line in lines)
    own_backend.stop()
    assert any("connection lost, trying again" in line for line in lines)
    own_backend.start()
    assert any("connected again" in line for line in lines)
    vision("cancel", job)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 3 and rest.count("→ cancelled") == 1 and "→ running" not in rest


def test_display_is_live_on_a_terminal(vision: Vision) -> None:
    shown = vision.on_terminal(*COMPLETE, "--epochs", "2", "--watch")
    assert "\x1b[" in shown and "completed" in shown and "epoch 2 of 2" in shown and "mAP50 1.000" in shown


def test_logs_are_shown_and_followed_to_the_end_of_the_job(vision: Vision) -> None:
    job = vision.train("print", "--set", "lines=300")
    followed = vision("logs", job, "--follow", "--tail", "1000").stdout.splitlines()
    assert followed[0] == "attempt 1 does print" and followed[1:301] == [f"line {number} öß한" for number in range(300)]
    assert vision("logs", job, "--tail", "2").stdout.splitlines() == followed[-2:]
    assert vision.json("logs", job, "--tail", "1")["attempt"] == 1
    pieces = vision.lines("logs", job, "--follow")
    assert "".join(piece["text"] for piece in pieces).splitlines() == followed[-200:]


def test_log_of_every_attempt_is_followed(vision: Vision) -> None:
    job = vision.train("fail_once")
    text = vision("logs", job, "--follow").stdout
    assert "attempt 1 does fail_once" in text and "attempt 2 does fail_once" in text
    assert "attempt 1 does" in vision("logs", job, "--attempt", "1").stdout


def test_jobs_are_listed_and_filtered(vision: Vision) -> None:
    failed = vision.train("fail", "--max-retries", "0", "--name", "to be found")
    wait_until(vision, failed, "failed")
    completed = vision.train()
    wait_until(vision, completed, "completed")
    listed = [item["id"] for item in vision.json("jobs", "--status", "failed", "--status", "completed")["items"]]
    assert listed[:2] == [completed, failed]
    page = vision.json("jobs", "--status", "failed", "--limit", "1")
    assert [item["id"] for item in page["items"]] == [failed]
    assert "to be found" in vision("jobs", "--limit", "2").stdout
    assert vision.json("jobs", "--framework", "nobody")["items"] == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--epochs", "0"), ("epochs=0",)),
        (("--learning-rate", "nan"), ("learning_rate",)),
        (("--set", "unknown=1"), ("unknown",)),
        (("--image-size", "33", "--gpus", "9"), ("image_size=33", "gpus=9")),
        (("--dataset", "gone"), ("gone",)),
        (("--model", "yolo99"), ("yolo99", "scripted-n")),
    ],
)
def test_bad_value_is_refused_by_name(vision: Vision, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    before = vision.json("jobs")["items"]
    result = vision(*TRAIN, *words, "--json", code=4)
    assert all(part in result.stderr for part in parts) and result.stdout == "" and "Traceback" not in result.stderr
    assert vision.json("jobs")["items"] == before


def test_usage_is_refused_with_exit_code_2(vision: Vision) -> None:
    assert "--model" in vision("train", "--dataset", "shapes", code=2).stderr
    assert "NAME=VALUE" in vision(*TRAIN, "--set", "mosaic", code=2).stderr
    assert vision("watch", "first", code=2).stderr


def test_unknown_job_is_named(vision: Vision) -> None:
    for command in ("watch", "job", "logs", "cancel", "retry", "delete", "checkpoints"):
        assert "4711" in vision(command, 4711, code=4).stderr
