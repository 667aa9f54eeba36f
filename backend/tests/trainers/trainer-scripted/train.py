"""A trainer that does as HYPERPARAMETERS says. Standard library alone; it keeps docs/trainer-contract.md.

It reports into its outbox, and to CALLBACK_URL where somebody listens there.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

SCRIPT: dict[str, Any] = json.loads(os.environ["HYPERPARAMETERS"])
HEARTBEAT_SECONDS = 0.2
STUBBORN_CHILD = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("it ignores SIGTERM", flush=True)
signal.pause()
"""


class Stopped(Exception):
    """SIGTERM came, or the platform answered should_stop."""


class Reports:
    def __init__(self) -> None:
        self.outbox = os.open(Path(os.environ["WORK_DIR"], "outbox.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.sequence = 0
        self.pending: list[dict[str, Any]] = []

    def send(self, type: str, **fields: Any) -> None:
        self.sequence += 1
        event = {"sequence": self.sequence, "time": datetime.now(UTC).isoformat(), "type": type} | fields
        data = json.dumps(event, separators=(",", ":")).encode()
        os.write(self.outbox, b"%08x %s\n" % (zlib.crc32(data), data))
        self.deliver(event)

    def deliver(self, *events: dict[str, Any]) -> None:
        """With what was not taken before, in order; heed should_stop. A platform that does not answer changes nothing.

        Without anything to deliver it is a heartbeat.
        """
        self.pending += events
        batch = self.pending[:500]
        body = {"attempt": int(os.environ["ATTEMPT"]), "instance": f"scripted-{os.getpid()}", "events": batch}
        request = urllib.request.Request(f"{os.environ['CALLBACK_URL']}/events", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {os.environ['INTERNAL_AUTH_TOKEN']}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
        except OSError:
            return
        self.pending = [event for event in self.pending if event["sequence"] > answer["acknowledged"]]
        if answer["should_stop"]:
            raise Stopped


def main() -> int:
    reports = Reports()
    print(f"attempt {os.environ['ATTEMPT']} does {SCRIPT['behaviour']}", flush=True)
    try:
        BEHAVIOURS[SCRIPT["behaviour"]](reports)
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with suppress(Stopped):
            reports.send("status", status="stopped")
        return 3
    return 0


def complete(reports: Reports) -> None:
    """Every kind of report of a good run; continues after the epoch of RESUME."""
    reports.send("status", status="running")
    epochs = int(os.environ["EPOCHS"])
    for epoch in range(_resumed_epoch() + 1, epochs + 1):
        reports.send("progress", phase="train", epoch=epoch, epochs=epochs)
        reports.send("metrics", epoch=epoch, values={"train/box_loss": 1 / epoch})
        primary = {"name": "mAP50-95", "value": epoch / epochs}
        reports.send("validation", epoch=epoch, primary=primary, metrics={"mAP50": epoch / epochs})
        for kind in ("last", "best"):
            reports.send("checkpoint", kind=kind, epoch=epoch, metrics={}, **_store_checkpoint(epoch))
    reports.send("status", status="completed")


def fail(reports: Reports) -> None:
    reports.send("status", status="running")
    failure = {"code": SCRIPT["code"], "message": "as the script says", "hint": None}
    reports.send("status", status="failed", failure=failure)
    print("Traceback: as the script says", flush=True)
    sys.exit(1)


def leave(_reports: Reports) -> None:
    """Exit with a code and no report."""
    sys.exit(SCRIPT.get("exit_code", 0))


def fail_once(reports: Reports) -> None:
    """Save one epoch, then fail; the second attempt completes."""
    if os.environ["ATTEMPT"] != "1":
        return complete(reports)
    reports.send("status", status="running")
    reports.send("checkpoint", kind="last", epoch=1, metrics={}, **_store_checkpoint(1))
    fail(reports)


def wait(reports: Reports) -> None:
    """Until asked to stop: by SIGTERM or by the platform. Heartbeats, and no progress."""
    if SCRIPT.get("child"):
        _start_child()
    signal.signal(signal.SIGTERM, _stop)
    reports.send("status", status="running")
    print("waiting", flush=True)
    while True:
        reports.deliver()
        time.sleep(HEARTBEAT_SECONDS)


def ignore_term(reports: Reports) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _start_child()
    reports.send("status", status="running")
    print("ignoring SIGTERM", flush=True)
    while True:
        signal.pause()


def fork_workers(reports: Reports) -> NoReturn:
    """As a data loader does; one of them leaves the session, and all of them ignore SIGTERM as the trainer does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    workers = [_fork_worker(leave_session=number == 0) for number in range(3)]
    Path(os.environ["WORK_DIR"], "workers.json").write_text(json.dumps(workers))
    reports.send("status", status="running")
    print("forked", flush=True)
    while True:
        signal.pause()


def count(reports: Reports) -> None:
    """One number after the other, without a pause for whoever does not listen, until WORK_DIR/enough is there."""
    reports.send("status", status="running")
    epoch = 0
    while not Path(os.environ["WORK_DIR"], "enough").exists():
        epoch += 1
        reports.send("metrics", epoch=epoch, values={"count": epoch})
        time.sleep(HEARTBEAT_SECONDS)
    print(f"counted to {epoch}", flush=True)
    reports.send("status", status="completed")


def mute(_reports: Reports) -> NoReturn:
    """Alive, and never a word to the platform."""
    print("mute", flush=True)
    while True:
        time.sleep(60)


def save_then_wait(reports: Reports) -> None:
    """Save one epoch as best and last, then wait to be stopped; the second attempt goes on and completes."""
    if os.environ["ATTEMPT"] != "1":
        return complete(reports)
    reports.send("status", status="running")
    for kind in ("last", "best"):
        reports.send("checkpoint", kind=kind, epoch=1, metrics={}, **_store_checkpoint(1))
    wait(reports)


def fill_disk(reports: Reports) -> NoReturn:
    """Take all there is in WORK_DIR; the report of it cannot be kept, only sent."""
    reports.send("status", status="running")
    try:
        with Path(os.environ["WORK_DIR"], "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(2**16)):
                pass
    except OSError as error:
        failure = {"code": "DISK_FULL", "message": str(error), "hint": None}
        now = datetime.now(UTC).isoformat()
        reports.deliver({"sequence": 2, "time": now, "type": "status", "status": "failed", "failure": failure})
        sys.exit(1)
    sys.exit("the disk has no end")


def leave_child(reports: Reports) -> None:
    """Complete, and leave a child behind that holds the output open and ignores SIGTERM."""
    _start_child()
    complete(reports)


def print_lines(reports: Reports) -> None:
    for number in range(SCRIPT["lines"]):
        print(f"line {number} öß한", flush=number % 100 == 0)
    complete(reports)


def flood(reports: Reports) -> None:
    """Print so many megabytes as fast as they are taken."""
    piece = (b"x" * 99 + b"\n") * 10_000
    for _ in range(SCRIPT["megabytes"]):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    complete(reports)


def kill_itself(reports: Reports) -> None:
    reports.send("status", status="running")
    os.kill(os.getpid(), SCRIPT.get("signal", signal.SIGKILL))


def exhaust_memory(reports: Reports) -> None:
    """Enter the memory cgroup that the test made, with the supervisor, and take more than it gives."""
    reports.send("status", status="running")
    _enter(SCRIPT["cgroup"], os.getppid())
    _enter(SCRIPT["cgroup"], os.getpid())
    _hoard()


def exhaust_memory_elsewhere(reports: Reports) -> None:
    """Have a neighbour killed for memory in another cgroup, then end by SIGKILL for another reason."""
    reports.send("status", status="running")
    neighbour = os.fork()
    if neighbour == 0:
        _enter(SCRIPT["cgroup"], os.getpid())
        _hoard()
    os.waitpid(neighbour, 0)
    os.kill(os.getpid(), signal.SIGKILL)


def _enter(cgroup: str, pid: int) -> None:
    Path(cgroup, "cgroup.procs").write_text(str(pid))


def _hoard() -> NoReturn:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(2**20)))


def _stop(*_: object) -> None:
    raise Stopped


def _fork_worker(leave_session: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    if leave_session:
        os.setsid()
    while True:
        signal.pause()


def _start_child() -> None:
    """In a session and group of its own, holding our error output open; return once it ignores SIGTERM."""
    child = subprocess.Popen([sys.executable, "-c", STUBBORN_CHILD], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    Path(os.environ["WORK_DIR"], "child.pid").write_text(str(child.pid))


def _resumed_epoch() -> int:
    resume = os.environ.get("RESUME")
    return int(Path(resume).stem.split("-")[0]) if resume else 0


def _store_checkpoint(epoch: int) -> dict[str, Any]:
    """As small as weights can be; stored only where the storage is a folder."""
    weights = f"weights of epoch {epoch}".encode()
    sha256 = hashlib.sha256(weights).hexdigest()
    key = f"checkpoints/job-{os.environ['JOB_ID']}/attempt-{os.environ['ATTEMPT']}/{epoch}-{sha256[:12]}.bin"
    if os.environ["STORAGE_TYPE"] == "local":
        path = Path(os.environ["STORAGE_PATH"], os.environ["STORAGE_BUCKET"], key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(weights)
    return {"key": key, "sha256": sha256, "size": len(weights)}


BEHAVIOURS = {
    "complete": complete,
    "fail": fail,
    "fail_once": fail_once,
    "leave": leave,
    "wait": wait,
    "ignore_term": ignore_term,
    "fork_workers": fork_workers,
    "count": count,
    "mute": mute,
    "save_then_wait": save_then_wait,
    "fill_disk": fill_disk,
    "leave_child": leave_child,
    "print": print_lines,
    "flood": flood,
    "kill_itself": kill_itself,
    "exhaust_memory": exhaust_memory,
    "exhaust_memory_elsewhere": exhaust_memory_elsewhere,
}

if __name__ == "__main__":
    sys.exit(main())
