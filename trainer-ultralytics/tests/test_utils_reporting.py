"""Reporting, against a real HTTP server that misbehaves in every way a network can."""

import json
import logging
import math
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorder as backend
import utils
from conftest import CONTRACTS, TOKEN, MakeConfig, contract_validator
from recorder import Recorder
from utils import Pace, Reporter, Superseded, TrainConfig, TrainerFailure

FAST = Pace(heartbeat=60, system=60, gather=0.001, first_retry=0.001, longest_retry=0.01, read_timeout=5)
Start = Callable[..., Reporter]


@pytest.fixture
def start(make_config: MakeConfig, recorder: Recorder) -> Iterator[Start]:
    """A started reporter towards the recorder; `pace` and `before` (run before it starts) as the test needs."""
    reporters: list[Reporter] = []

    def begin(pace: Pace = FAST, before: Callable[[Reporter], None] | None = None, **changes: Any) -> Reporter:
        reporter = Reporter(make_config(**{"callback_url": recorder.url, **changes}), pace)
        reporters.append(reporter)
        if before:
            before(reporter)
        reporter.start()
        return reporter

    yield begin
    for reporter in reporters:
        reporter.close(0)


def read_outbox(path: Path) -> list[dict[str, Any]]:
    """As the backend reads it."""
    events = []
    for line in path.read_bytes().splitlines():
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            events.append(json.loads(text))
    return events


def emit_metrics(reporter: Reporter, count: int, **extra: Any) -> None:
    for epoch in range(1, count + 1):
        reporter.emit("metrics", epoch=epoch, values={"train/loss": 1.0}, **extra)


def say_running(reporter: Reporter) -> None:
    reporter.emit("status", status="running")


def emit_everything(reporter: Reporter) -> None:
    failure = TrainerFailure("OUT_OF_MEMORY", "x" * 9000, "Lower BATCH_SIZE.")
    failure.__cause__ = MemoryError("y" * 30000)
    rows = [
        {"class_id": i, "class_name": f"나사 {i}", "mAP50": np.float32(0.5), "recall": math.nan} for i in range(2500)
    ]
    utils.notify_status(reporter, "running")
    reporter.emit("run", mlflow_run_id=None, versions={"torch": "2.15"}, hardware={"cores": 2, "gpu": None})
    with reporter.phase("download"):
        reporter.progress("download", force=True, step=1, steps=2)
    reporter.progress("train", epoch=1, epochs=2, step=1, steps=4, eta_seconds=math.inf)
    utils.send_training_metrics(reporter, 1, {"train/box_loss": math.nan, "lr": np.float64(0.01)})
    utils.send_training_metrics(reporter, 1, {"train/box_loss": math.inf}, step=40)
    utils.send_validation_result(reporter, 1, ("mAP50-95", math.nan), {"mAP50": float(np.float32(0.5))}, rows)
    utils.send_validation_result(reporter, 2, ("mAP50-95", 0.5), {}, artifact="artifacts/job-12/attempt-1/curves.json")
    reporter.warning("MLFLOW_AWAY", "z" * 9000)
    busy, later = utils._cpu_times(), (10**9, 2 * 10**9)
    reporter.emit("system", **utils._system_report(busy, later, Path("/tmp")))
    utils.notify_status(reporter, "failed", failure)
    utils.notify_status(reporter, "failed", TrainerFailure("NAN_LOSS", "the loss is not a number"))
    utils.notify_status(reporter, "stopped")
    utils.notify_status(reporter, "completed")


def test_everything_emitted_is_valid_and_arrives_in_order_if_the_backend_is_there(
    start: Start, recorder: Recorder, tmp_path: Path
) -> None:
    reporter = start()
    emit_everything(reporter)
    reporter.close()
    event, batch = contract_validator("events", "event"), contract_validator("events")
    assert [problem.message for sent in recorder.events for problem in event.iter_errors(sent)] == []
    assert [problem.message for request in recorder.requests for problem in batch.iter_errors(request.batch)] == []
    assert [sent["sequence"] for sent in recorder.events] == list(range(1, len(recorder.events) + 1))
    assert {sent["type"] for sent in recorder.events} == {
        *[
            "status",
            "progress",
            "metrics",
            "system",
            "validation",
            "run",
            "warning",
        ]  # checkpoint and artifact: with storage
    }
    assert read_outbox(tmp_path / "work/outbox.jsonl") == recorder.events


@pytest.mark.parametrize("path", sorted((CONTRACTS / "examples").rglob("*.json")), ids=lambda path: path.stem)
def test_the_schema_agrees_if_an_example_is_read(path: Path) -> None:
    example = json.loads(path.read_text())
    kind = path.parent.name
    if kind in ("events", "rejected"):
        event = example["event"] if kind == "rejected" else example
        assert contract_validator("events", "event").is_valid(event) == (kind == "events")
    else:
        schema = {"batches": "events", "answers": "answer", "pointers": "pointer", "predictions": "prediction"}[kind]
        contract_validator(schema).validate(example)


def test_requests_carry_token_attempt_and_one_instance_if_events_are_sent(start: Start, recorder: Recorder) -> None:
    reporter = start(attempt=3, before=say_running)
    recorder.wait_for_events(1)
    reporter.emit("status", status="completed")
    recorder.wait_for_events(2)
    assert {request.path for request in recorder.requests} == {"/internal/training/12/events"}
    assert {request.headers["Authorization"] for request in recorder.requests} == {f"Bearer {TOKEN}"}
    assert {request.batch["attempt"] for request in recorder.requests} == {3}
    assert len({request.batch["instance"] for request in recorder.requests}) == 1


def test_instances_differ_if_two_processes_report(make_config: MakeConfig, start: Start, recorder: Recorder) -> None:
    for folder in ("one", "two"):
        start(work_dir=make_config().work_dir / folder, before=say_running)
    recorder.wait_for(lambda: len({request.batch["instance"] for request in recorder.requests}) == 2)


def test_environment_proxies_and_netrc_are_not_used_if_they_are_set(
    start: Start, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    start(before=say_running)
    recorder.wait_for_events(1)
    assert recorder.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "trouble",
    [
        *(backend.status(code) for code in (201, 301, 400, 401, 403, 404, 422, 429, 500, 502, 503)),
        backend.malformed,
        backend.cut,
        backend.answer(acknowledged=1),
        backend.answer(acknowledged="1", rejected=[], should_stop=False),
        backend.answer(acknowledged=1, rejected=[{"reason": "no number"}], should_stop=False),
        backend.answer(acknowledged=1, rejected=[], should_stop="yes"),
        backend.answer(acknowledged=0, rejected=[], should_stop=False),
    ],
)
def test_training_goes_on_and_the_same_event_is_sent_again_if_the_backend_fails(
    start: Start, recorder: Recorder, trouble: backend.Behaviour
) -> None:
    recorder.script.extend([trouble, trouble])
    reporter = start(before=say_running)
    recorder.wait_for_events(1)
    first, second, third = recorder.requests[:3]
    assert first.body == second.body == third.body
    assert (reporter.should_stop, reporter.superseded) == (False, False)


def test_nothing_is_sent_elsewhere_if_the_answer_redirects(start: Start, recorder: Recorder) -> None:
    elsewhere = Recorder()
    recorder.script.append(backend.status(302, Location=elsewhere.url))
    start(before=say_running)
    recorder.wait_for_events(1)
    elsewhere.close()
    assert elsewhere.requests == []


def test_events_arrive_once_if_answers_are_lost(start: Start, recorder: Recorder) -> None:
    recorder.script.extend([backend.lose_answer, backend.lose_answer])
    reporter = start(before=lambda reporter: emit_metrics(reporter, 3))
    recorder.wait_for(lambda: len(recorder.requests) == 3)
    reporter.close()
    assert [request.sequences for request in recorder.requests] == [[1, 2, 3]] * 3
    assert len({request.body for request in recorder.requests}) == 1


def test_everything_arrives_in_order_if_an_outage_ends(start: Start, recorder: Recorder) -> None:
    port = recorder.port
    recorder.close()
    reporter = start()
    emit_metrics(reporter, 50)
    assert not reporter.should_stop
    healed = Recorder(port)
    try:
        assert [event["sequence"] for event in healed.wait_for_events(50)] == list(range(1, 51))
    finally:
        healed.close()


def test_emitting_never_waits_if_the_backend_hangs(start: Start, recorder: Recorder) -> None:
    release = threading.Event()
    recorder.script.append(backend.hold(release))
    reporter = start(before=say_running)
    recorder.wait_for(lambda: len(recorder.requests) == 1)
    emit_metrics(reporter, 100)  # would not end before the release if it waited
    assert not release.is_set()
    release.set()
    recorder.wait_for_events(101)


def test_the_event_is_sent_again_if_the_answer_takes_too_long(start: Start, recorder: Recorder) -> None:
    release = threading.Event()
    recorder.script.append(backend.hold(release))
    start(replace(FAST, read_timeout=0.05), before=say_running)
    recorder.wait_for_events(1)
    release.set()
    assert recorder.requests[0].body == recorder.requests[1].body


def test_it_stops_for_good_if_the_platform_answers_409(start: Start, recorder: Recorder, tmp_path: Path) -> None:
    recorder.script.append(backend.status(409))
    reporter = start(replace(FAST, heartbeat=0.01), before=say_running)
    recorder.wait_for(lambda: reporter.superseded)
    reporter._sender.join(10)
    assert not reporter._sender.is_alive()
    reporter.emit("status", status="completed")
    assert len(recorder.requests) == 1
    assert len(read_outbox(tmp_path / "work/outbox.jsonl")) == 1
    assert reporter.should_stop
    with pytest.raises(Superseded):
        reporter.raise_if_superseded()


def test_it_asks_to_stop_if_the_heartbeat_is_answered_so(start: Start, recorder: Recorder) -> None:
    reporter = start(replace(FAST, heartbeat=0.01))
    recorder.wait_for(lambda: len(recorder.requests) >= 2)
    assert not reporter.should_stop
    recorder.should_stop = True
    recorder.wait_for(lambda: reporter.should_stop)
    assert not reporter.superseded
    assert {len(request.batch["events"]) for request in recorder.requests} == {0}


def test_it_asks_to_stop_if_a_signal_handler_requests_it(make_config: MakeConfig) -> None:
    reporter = Reporter(make_config())
    reporter.request_stop()
    assert (reporter.should_stop, reporter.superseded) == (True, False)


def test_events_behind_it_are_stored_if_one_is_rejected(
    start: Start, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = [{"sequence": 1, "reason": "colour: unknown field"}]
    recorder.script.append(backend.answer(acknowledged=1, rejected=refusal, should_stop=False))
    reporter = start(before=lambda reporter: reporter.emit("warning", code="ODD", message="x", colour="red"))
    recorder.wait_for(lambda: len(recorder.requests) == 1)
    emit_metrics(reporter, 2)
    recorder.wait_for_events(2)
    assert sorted(recorder.stored) == [2, 3]
    assert "refused report 1: colour: unknown field" in caplog.text


def test_the_rest_is_sent_again_if_only_some_are_acknowledged(start: Start, recorder: Recorder) -> None:
    recorder.script.append(backend.answer(acknowledged=2, rejected=[], should_stop=False))
    start(before=lambda reporter: emit_metrics(reporter, 5))
    recorder.wait_for_events(3)
    assert [request.sequences for request in recorder.requests] == [[1, 2, 3, 4, 5], [3, 4, 5]]


def test_nothing_unsent_is_lost_if_more_is_acknowledged_than_was_sent(start: Start, recorder: Recorder) -> None:
    recorder.script.append(backend.answer(acknowledged=1000, rejected=[], should_stop=False))
    reporter = start(before=say_running)
    recorder.wait_for(lambda: len(recorder.requests) == 1)
    emit_metrics(reporter, 3)
    recorder.wait_for_events(3)
    assert sorted(recorder.stored) == [2, 3, 4]


def test_batches_hold_at_most_500_events_if_many_wait(start: Start, recorder: Recorder) -> None:
    start(before=lambda reporter: emit_metrics(reporter, 1201))
    recorder.wait_for_events(1201)
    assert [len(request.sequences) for request in recorder.requests] == [500, 500, 201]


def test_batches_hold_at_most_a_megabyte_if_events_are_large(start: Start, recorder: Recorder) -> None:
    start(before=lambda reporter: emit_metrics(reporter, 7, per_class=["y" * 300_000]))
    recorder.wait_for_events(7)
    assert [request.sequences for request in recorder.requests] == [[1, 2, 3], [4, 5, 6], [7]]
    assert max(len(request.body) for request in recorder.requests) <= 1_000_000


def test_the_batch_is_split_if_it_is_too_large_for_the_platform(start: Start, recorder: Recorder) -> None:
    recorder.script.extend([backend.status(413), backend.status(413)])
    start(before=lambda reporter: emit_metrics(reporter, 4))
    recorder.wait_for_events(4)
    assert [request.sequences for request in recorder.requests] == [[1, 2, 3, 4], [1, 2], [1], [2, 3, 4]]


def test_those_behind_it_arrive_if_a_single_event_is_too_large(
    start: Start, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.script.extend([backend.status(413), backend.status(413)])
    start(before=lambda reporter: emit_metrics(reporter, 2))
    recorder.wait_for_events(1)
    assert list(recorder.stored) == [2]
    assert "report 1 is too large" in caplog.text


def test_trouble_is_logged_once_and_never_the_token_if_it_lasts(
    start: Start, recorder: Recorder, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    recorder.script.extend([backend.status(503)] * 5)
    reporter = start(before=say_running)
    recorder.wait_for_events(1)
    reporter.close()
    messages = [record.getMessage() for record in caplog.records if record.name == "trainer"]
    assert [message for message in messages if "HTTP 503" in message] == [
        "reports do not reach the platform (HTTP 503); they are kept and sent again"
    ]
    assert "reports reach the platform again" in messages
    assert TOKEN not in caplog.text
    assert TOKEN.encode() not in (tmp_path / "work/outbox.jsonl").read_bytes()


def test_closing_sends_what_is_left_if_the_backend_is_there(start: Start, recorder: Recorder) -> None:
    recorder.script.extend([backend.status(500)] * 3)
    reporter = start(replace(FAST, gather=60, longest_retry=60, first_retry=0.01))
    emit_metrics(reporter, 700)
    reporter.close()
    assert len(recorder.stored) == 700


def test_closing_gives_up_and_keeps_the_outbox_if_the_backend_stays_away(
    start: Start, recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.script.extend([backend.status(500)] * 1000)
    reporter = start()
    emit_metrics(reporter, 3)
    reporter.close(timeout=0.05)
    reporter._sender.join(10)
    assert not reporter._sender.is_alive()
    assert [event["sequence"] for event in read_outbox(tmp_path / "work/outbox.jsonl")] == [1, 2, 3]
    assert "3 or more reports could not be sent" in caplog.text


def test_reports_go_to_the_log_if_there_is_no_callback(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trainer")
    reporter = Reporter(make_config())
    reporter.start()
    reporter.progress("train", epoch=1, epochs=2, step=3, steps=4)
    utils.send_training_metrics(reporter, 1, {"train/box_loss": 1.23456})
    utils.send_validation_result(reporter, 1, ("mAP50", 0.5), {"mAP50": 0.5}, [{"class_id": 0, "class_name": "a"}])
    reporter.close()
    assert [record.getMessage() for record in caplog.records] == [
        "progress phase=train epoch=1 epochs=2 step=3 steps=4",
        "metrics epoch=1 train/box_loss=1.235",
        "validation epoch=1 primary={'name': 'mAP50', 'value': 0.5} mAP50=0.5",
    ]


def test_progress_is_at_most_one_a_second_if_phase_and_epoch_stay(make_config: MakeConfig, tmp_path: Path) -> None:
    now = 100.0
    reporter = Reporter(make_config(), Pace(), clock=lambda: now)
    for step in range(24):  # a step takes an eighth of a second
        reporter.progress("train", epoch=1 if step < 20 else 2, step=step)
        reporter.progress("download", step=step)
        now += 0.125
    reporter.progress("train", force=True, epoch=2, step=24)
    events = read_outbox(tmp_path / "work/outbox.jsonl")
    assert [event["step"] for event in events if event["phase"] == "train"] == [0, 8, 16, 20, 24]
    assert [event["step"] for event in events if event["phase"] == "download"] == [0, 8, 16]


def test_a_phase_tells_its_seconds_if_it_ended_well(make_config: MakeConfig, tmp_path: Path) -> None:
    now = 100.0
    reporter = Reporter(make_config(), Pace(), clock=lambda: now)
    with reporter.phase("prepare"):
        now += 2.5
    with pytest.raises(RuntimeError), reporter.phase("train"):
        raise RuntimeError
    events = read_outbox(tmp_path / "work/outbox.jsonl")
    assert [(event["phase"], event.get("seconds")) for event in events] == [
        ("prepare", None),
        ("prepare", 2.5),
        ("train", None),
    ]


def test_system_reports_tell_the_machine_if_time_passes(start: Start, recorder: Recorder) -> None:
    ballast = bytearray(b"x" * 2**20)
    start(replace(FAST, system=0.02))
    event = recorder.wait_for_events(2)[1]
    assert contract_validator("events", "event").is_valid(event)
    assert len(ballast) < event["memory_bytes"] < event["memory_total_bytes"]
    assert event["disk_free_bytes"] > 0
    assert event["cpu_percent"] is None or 0 <= event["cpu_percent"] <= 100


def test_memory_counts_the_whole_family_if_a_child_holds_it() -> None:
    before = utils._resident_bytes(os.getpid())
    code = "import sys; held = b'x' * 200_000_000; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline()
        during = utils._resident_bytes(os.getpid())
        child.communicate()
    assert during - before > 150_000_000


def test_gpus_are_told_if_nvidia_smi_knows_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\necho "$@" >&2\necho "0, NVIDIA H200, 88, 1024, 143771"\necho "1, GB10, [N/A], [N/A], [N/A]"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = utils._gpus()
    assert [(gpu["index"], gpu["utilization_percent"], gpu["memory_bytes"]) for gpu in gpus] == [
        (0, 88.0, 2**30),
        (1, None, 0),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert utils._gpus() == []
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert utils._gpus() == []


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_worker_reports_nothing_if_it_runs_the_same_code(
    start: Start, recorder: Recorder, tmp_path: Path
) -> None:
    reporter = start(before=say_running)
    child = os.fork()
    if child == 0:
        emit_metrics(reporter, 5)
        reporter.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    reporter.emit("status", status="completed")
    assert [event["status"] for event in recorder.wait_for_events(2)] == ["running", "completed"]
    assert len(read_outbox(tmp_path / "work/outbox.jsonl")) == 2


def test_numbering_goes_on_and_only_the_torn_record_is_lost_if_the_outbox_is_there_already(
    make_config: MakeConfig, start: Start, recorder: Recorder
) -> None:
    config = make_config()
    emit_metrics(Reporter(config), 3)
    outbox = config.work_dir / "outbox.jsonl"
    lines = outbox.read_bytes().splitlines(keepends=True)
    damaged = lines[1].replace(b"train/loss", b"train/l0ss")
    outbox.write_bytes(lines[0] + damaged + lines[2] + b'0badc0de {"sequence":4,"ti')
    start(before=say_running)
    assert [event["sequence"] for event in recorder.wait_for_events(3)] == [1, 3, 4]
    assert [event["sequence"] for event in read_outbox(outbox)] == [1, 3, 4]


DISK_FULL_PROGRAM = """
import resource, sys
from pathlib import Path
from utils import Reporter, TrainerFailure, notify_status
sys.path.insert(0, "tests")
from test_utils_reporting import FAST, emit_metrics, full_disk_config
reporter = Reporter(full_disk_config(Path(sys.argv[1]), sys.argv[2]), FAST)
reporter.start()
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    emit_metrics(reporter, 1000)
except TrainerFailure as failure:
    notify_status(reporter, "failed", failure)
reporter.close()
"""


def full_disk_config(work_dir: Path, url: str) -> TrainConfig:
    values: dict[str, Any] = dict.fromkeys(TrainConfig.__dataclass_fields__)
    return TrainConfig(**{**values, "attempt": 1, "work_dir": work_dir, "callback_url": url, "grace_period": 30})


def test_the_failure_is_still_reported_if_the_disk_is_full(recorder: Recorder, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DISK_FULL_PROGRAM, str(tmp_path), recorder.url]
    subprocess.run(command, cwd=Path(utils.__file__).parent, check=True, timeout=60)
    *metrics, last_metrics, status = recorder.events
    assert status["failure"]["code"] == "DISK_FULL"
    assert "outbox.jsonl" in status["failure"]["message"]
    assert last_metrics["sequence"] == status["sequence"] - 1  # the one that did not fit was sent from memory
    whole = read_outbox(tmp_path / "outbox.jsonl")
    assert whole == metrics
    assert (tmp_path / "outbox.jsonl").read_bytes().endswith(b"\n")


def test_waiting_doubles_up_to_its_cap_with_jitter_if_failures_go_on() -> None:
    pace = Pace(first_retry=1, longest_retry=8)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (10**6, 8)):
        waits = {pace.backoff(failures) for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_a_full_device_is_understood_as_a_full_disk() -> None:
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    assert utils.is_disk_full(caught.value)
    assert not utils.is_disk_full(PermissionError(13, "Permission denied"))
