"""MLflow in every state it can be in: the run goes on, nothing waits, and the platform hears one warning at most."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import MakeConfig
from utils import Reporter, TrainConfig

from tracking import Tracker, start_tracking

REPOSITORY = Path(__file__).resolve().parents[2]
MLFLOW = REPOSITORY / "tracking" / ".venv" / "bin" / "mlflow"
PARAMETERS = {"epochs": 2, "learning_rate": 0.01, "odd (name)": "x" * 7000, "nothing": None}


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.05)


def events_of(config: TrainConfig, type: str) -> list[dict[str, Any]]:
    outbox = config.work_dir / "outbox.jsonl"
    lines = outbox.read_text(encoding="utf-8").splitlines() if outbox.exists() else []
    events = [json.loads(line[9:]) for line in lines]
    return [event for event in events if event["type"] == type]


def report_run(tracker: Tracker, status: str | None = "completed", timeout: float = 60.0) -> None:
    """What train.py would say in a run of two epochs."""
    tracker.metrics(1, {"mAP50": 0.5, "mAP50(B)": 0.5, "val/box_loss": float("nan")})
    tracker.metrics(2, {"mAP50": 0.75, "lr": None})
    tracker.checkpoint("best", "checkpoints/job-12/attempt-1/2-abc.pt", 2)
    tracker.close(status, timeout)


def seconds_of(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """Refuses connections: bound by us, but nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@contextlib.contextmanager
def hanging_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as one:
        yield one.getsockname()[1]


class Answer500(BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.send_response(500)
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Answer403(Answer500):
    def answer(self) -> None:
        body = b'{"error_code": "PERMISSION_DENIED", "message": "not yours"}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer


@contextlib.contextmanager
def answering_port(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


SICK: dict[str, Callable[[], contextlib.AbstractContextManager[int]]] = {
    "refuses": unused_port,
    "hangs": hanging_port,
    "fails": lambda: answering_port(Answer500),
    "forbids": lambda: answering_port(Answer403),
}


@pytest.fixture
def make_tracker(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[TrainConfig, Tracker]]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    def make(port: int, patience: float, work: str = "first", **changes: Any) -> tuple[TrainConfig, Tracker]:
        config = make_config(mlflow_tracking_uri=f"http://127.0.0.1:{port}", work_dir=tmp_path / work, **changes)
        return config, start_tracking(config, Reporter(config), PARAMETERS, patience)

    return make


MakeTracker = Callable[..., tuple[TrainConfig, Tracker]]


@pytest.mark.parametrize(
    "sickness", ["hangs", *(pytest.param(name, marks=pytest.mark.slow) for name in ("refuses", "fails", "forbids"))]
)
def test_one_warning_and_no_delay_if_mlflow_is_sick_for_long(make_tracker: MakeTracker, sickness: str) -> None:
    with SICK[sickness]() as port:
        config, tracker = make_tracker(port, patience=0.0)
        wait_until(lambda: events_of(config, "warning"))
        took = seconds_of(lambda: report_run(tracker))
    assert took < 3
    (warning,) = events_of(config, "warning")
    assert warning["code"] == "MLFLOW_UNAVAILABLE"
    assert events_of(config, "run") == []


@pytest.mark.parametrize("sickness", ["refuses", "hangs"])
def test_one_warning_if_the_run_ends_before_patience_does(make_tracker: MakeTracker, sickness: str) -> None:
    with SICK[sickness]() as port:
        config, tracker = make_tracker(port, patience=600.0)
        took = seconds_of(lambda: report_run(tracker, timeout=1.0))
    assert took < 5
    assert [event["code"] for event in events_of(config, "warning")] == ["MLFLOW_UNAVAILABLE"]


def test_reports_return_at_once_if_mlflow_hangs(make_tracker: MakeTracker) -> None:
    with hanging_port() as port:
        config, tracker = make_tracker(port, patience=600.0)
        many = {f"metric {number}": 1.0 for number in range(150)}
        started = time.monotonic()
        for epoch in range(2000):
            tracker.metrics(epoch, many)
        took = time.monotonic() - started
        tracker.close("failed", timeout=0.5)
    assert took < 5
    assert len(events_of(config, "warning")) == 1


def test_writer_ends_if_the_trainer_is_gone(make_tracker: MakeTracker) -> None:
    with unused_port() as port:
        _, tracker = make_tracker(port, patience=600.0)
        writer = tracker._writer
        assert writer
        tracker._outgoing.put(None)  # closes the pipe, as the trainer's death would
        wait_until(lambda: writer.poll() is not None)
        tracker.close("failed", timeout=1.0)


def test_one_warning_if_the_writer_dies(make_tracker: MakeTracker) -> None:
    with hanging_port() as port:
        config, tracker = make_tracker(port, patience=600.0)
        assert tracker._writer
        tracker._writer.kill()
        report_run(tracker)
    assert len(events_of(config, "warning")) == 1


def test_nothing_is_started_if_there_is_no_tracking_uri(make_config: MakeConfig) -> None:
    config = make_config()
    tracker = start_tracking(config, Reporter(config), PARAMETERS)
    report_run(tracker)
    assert tracker._writer is None
    assert events_of(config, "warning") == events_of(config, "run") == []


def test_trainer_does_not_import_mlflow() -> None:
    code = "import sys, tracking; print([name for name in sys.modules if name.split('.')[0] == 'mlflow'])"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY / "trainer-ultralytics", capture_output=True, text=True
    )
    assert ended.stdout.strip() == "[]"


@contextlib.contextmanager
def mlflow_server(port: int, folder: Path) -> Iterator[str]:
    command = [str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite", "--artifacts-destination", str(folder)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with open(folder / "server.log", "wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield f"http://127.0.0.1:{port}/api/2.0/mlflow"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def get(url: str, **parameters: str) -> dict[str, Any]:
    return dict(requests.get(url, params=parameters, timeout=30).json())


def run_in_mlflow(api: str, run_id: str) -> dict[str, Any]:
    return dict(get(f"{api}/runs/get", run_id=run_id)["run"])


def named(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in rows}


def history(api: str, run_id: str, name: str) -> list[tuple[int, float]]:
    rows = get(f"{api}/metrics/get-history", run_id=run_id, metric_key=name)["metrics"]
    return sorted((row["step"], row["value"]) for row in rows)


@pytest.mark.slow
@pytest.mark.skipif(not MLFLOW.exists(), reason="tracking/.venv is not set up: make setup")
def test_whole_run_is_in_mlflow_though_its_server_starts_late(
    make_tracker: MakeTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    with unused_port() as port:
        config, tracker = make_tracker(port, patience=600.0, mlflow_experiment_name="digits")
    with mlflow_server(port, tmp_path) as api:
        wait_until(lambda: events_of(config, "run"), 120)
        report_run(tracker)
        assert events_of(config, "warning") == []
        run_id = events_of(config, "run")[0]["mlflow_run_id"]
        check_first_attempt(api, run_id)
        check_second_attempt(api, run_id, make_tracker, port)
        check_unknown_run(api, run_id, make_tracker, port)


def check_first_attempt(api: str, run_id: str) -> None:
    run = run_in_mlflow(api, run_id)
    assert run["info"]["status"] == "FINISHED" and run["info"]["run_name"] == "job-12"
    parameters = named(run["data"]["params"])
    assert (parameters["epochs"], parameters["learning_rate"], parameters["nothing"]) == ("2", "0.01", "None")
    assert set(parameters["odd _name_"]) == {"x"}
    tags = named(run["data"]["tags"])
    assert tags["vision.checkpoint.best"] == "checkpoints/job-12/attempt-1/2-abc.pt"
    assert (tags["vision.checkpoint.best.epoch"], tags["vision.attempt"]) == ("2", "1")
    assert history(api, run_id, "mAP50") == [(1, 0.5), (2, 0.75)]
    assert set(named(run["data"]["metrics"])) == {"mAP50", "mAP50_B_"}
    experiment = get(f"{api}/experiments/get-by-name", experiment_name="digits")["experiment"]["experiment_id"]
    found = requests.post(f"{api}/runs/search", json={"experiment_ids": [experiment]}, timeout=30).json()["runs"]
    assert [one["info"]["run_id"] for one in found] == [run_id]


def check_second_attempt(api: str, run_id: str, make_tracker: MakeTracker, port: int) -> None:
    """It continues the run: the same parameters again, a repeated epoch, another ending."""
    config, tracker = make_tracker(port, 600.0, mlflow_run_id=run_id, attempt=2, work="second")
    wait_until(lambda: run_in_mlflow(api, run_id)["info"]["status"] == "RUNNING")
    tracker.metrics(2, {"mAP50": 0.8})
    tracker.metrics(3, {"mAP50": 0.9})
    tracker.close("stopped", 60.0)
    assert [event["mlflow_run_id"] for event in events_of(config, "run")] == [run_id]
    assert events_of(config, "warning") == []
    assert run_in_mlflow(api, run_id)["info"]["status"] == "KILLED"
    assert history(api, run_id, "mAP50") == [(1, 0.5), (2, 0.75), (2, 0.8), (3, 0.9)]
    assert named(run_in_mlflow(api, run_id)["data"]["tags"])["vision.attempt"] == "2"


def check_unknown_run(api: str, run_id: str, make_tracker: MakeTracker, port: int) -> None:
    """A run that MLflow does not know, or that was deleted there, is replaced by a new one."""
    requests.post(f"{api}/runs/delete", json={"run_id": run_id}, timeout=30).raise_for_status()
    config, tracker = make_tracker(port, 600.0, mlflow_run_id=run_id, work="third")
    tracker.close(None, 60.0)
    (event,) = events_of(config, "run")
    assert event["mlflow_run_id"] != run_id
    assert run_in_mlflow(api, event["mlflow_run_id"])["info"]["status"] == "RUNNING"
