"""Trainers that are killed at random while they store checkpoints: what is listed always loads.

Each one is an attempt of its own that stores one epoch as `last` and as `best`, so that pointers move and what they
superseded is deleted. What is checked is what the pointers say, and what the platform lists: it reads a dead attempt's
outbox to its end before the next one starts.
"""

import hashlib
import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
import pytest
import utils
from s3 import DeadlyRelay, S3Server
from trainings import TRAINER, environment_for

SEED = 20261123
A_HUNDRED = pytest.param(100, marks=pytest.mark.slow)
DOOMED = Path(__file__).with_name("doomed.py")
CHECKPOINT = re.compile(r"checkpoints/job-12/attempt-[1-9]\d*/[1-9]\d*-([0-9a-f]{12})\.pt")
STAGED = re.compile(r".*#\d+")  # half written in a folder
KINDS = ("last", "best")
CALLS = 850  # about as many as storing takes
REQUESTS_BYTES = 6000  # about as many as storing sends besides the weights


@dataclass
class Job:
    """The attempts so far, and their bucket as an independent reader sees it."""

    folder: Path
    variables: dict[str, str]
    digests: Callable[[], dict[str, str]]
    listed: dict[str, Any] = field(default_factory=dict)  # by the platform: the newest of each kind
    killed: int = 0

    def start(self, number: int, weights: bytes, doom: str = "") -> "subprocess.Popen[bytes]":
        path = self.folder / "weights.pt"
        path.write_bytes(weights)
        work_dir = self.folder / f"work-{number}"
        environment = environment_for(self.folder, ATTEMPT=str(number), WORK_DIR=str(work_dir), DOOM=doom)
        command = [sys.executable, str(DOOMED), str(number), str(path)]
        return subprocess.Popen(command, env=environment | {"PYTHONPATH": str(TRAINER)} | self.variables)

    def end(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        code = process.wait(60)
        assert code in (0, -signal.SIGKILL, -signal.SIGXFSZ)
        self.killed += code != 0
        outbox = self.folder / f"work-{number}/outbox.jsonl"
        for record in utils.Outbox(outbox).pending() if outbox.exists() else ():
            event = json.loads(record.json)
            self.listed[event["kind"]] = event

    def check(self, store: Any, config: utils.TrainConfig) -> dict[str, str]:
        """What is stored, by key; everything that somebody may be pointed to is there and whole."""
        found = self.digests()
        pointers = {kind: utils.read_pointer(store, config, kind) for kind in KINDS}
        for named in (*pointers.values(), *self.listed.values()):
            assert named is None or found.get(named["key"]) == named["sha256"]
        for kind in self.listed:
            assert pointers[kind] is not None
        for key, digest in found.items():
            match = CHECKPOINT.fullmatch(key)
            assert match is None or digest.startswith(match[1]), f"{key} is torn"
        return found

    def check_leftovers(self, store: Any, config: utils.TrainConfig) -> None:
        """After an attempt that nobody killed: the rest is what the platform's collection knows as superseded."""
        found = self.check(store, config)
        named = {self.listed[kind]["key"] for kind in KINDS} | {f"checkpoints/job-12/{kind}.json" for kind in KINDS}
        assert named <= set(found)
        left = set(found) - named
        assert all(CHECKPOINT.fullmatch(key) or STAGED.fullmatch(key) for key in left), left


@pytest.fixture
def open_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Any]:
    def open_it(variables: dict[str, str]) -> Any:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return utils.get_storage_client()

    return open_it


@pytest.mark.parametrize("kills", [12, A_HUNDRED])
def test_what_is_listed_loads_if_trainers_are_killed_while_they_write_to_a_folder(
    tmp_path: Path, kills: int, open_store: Callable[[dict[str, str]], Any], make_config: Any
) -> None:
    choose = random.Random(SEED)
    bucket = tmp_path / "bucket"
    variables = {"STORAGE_TYPE": "local", "STORAGE_PATH": str(tmp_path), "STORAGE_BUCKET": "bucket"}
    job, store = Job(tmp_path, variables, lambda: digests_of(bucket)), open_store(variables)
    for number in range(1, kills + 1):
        weights = choose.randbytes(choose.randrange(50_000, 400_000))
        doom = choose.choice([f"bytes:{choose.randrange(len(weights))}", f"calls:{choose.randrange(CALLS)}"])
        job.end(number, job.start(number, weights, doom))
        job.check(store, make_config())
    assert job.killed >= kills * 0.8
    job.end(kills + 1, job.start(kills + 1, choose.randbytes(1000)))
    job.check_leftovers(store, make_config())


@pytest.mark.parametrize("kills", [8, A_HUNDRED])
def test_what_is_listed_loads_if_trainers_are_killed_while_they_send_to_a_server(
    tmp_path: Path,
    kills: int,
    minio_server: S3Server,
    open_store: Callable[[dict[str, str]], Any],
    make_config: Any,
) -> None:
    choose = random.Random(SEED)
    relay = DeadlyRelay(minio_server.port)
    names = utils.STORAGE_VARIABLES["minio"]
    values = (minio_server.endpoint, minio_server.access_key, minio_server.secret_key)
    direct = {"STORAGE_TYPE": "minio", "STORAGE_BUCKET": "kills", **dict(zip(names, values, strict=True))}
    variables = direct | {"MINIO_ENDPOINT": f"http://127.0.0.1:{relay.port}"}
    job, store = Job(tmp_path, variables, lambda: minio_server.digests("kills")), open_store(direct)
    for number in range(1, kills + 1):
        several_parts = number % 5 == 0
        weights = choose.randbytes(utils.PART_BYTES + 100_000 if several_parts else choose.randrange(50_000, 400_000))
        first = choose.choice([0, len(weights)])
        process = job.start(number, weights)
        relay.arm(process, choose.randrange(first, len(weights) + REQUESTS_BYTES))
        job.end(number, process)
        found = job.check(store, make_config())
        discard_superseded(store, found, job)
    assert job.killed >= kills * 0.8
    relay.disarm()
    job.end(kills + 1, job.start(kills + 1, choose.randbytes(1000)))
    job.check_leftovers(store, make_config())
    relay.close()
    obstore.delete(store, list(job.digests()))


def digests_of(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def discard_superseded(store: Any, found: dict[str, str], job: Job) -> None:
    """As the collection does in the end, so that a hundred attempts are no gigabyte."""
    pointers = [json.loads(bytes(obstore.get(store, key).bytes())) for key in found if key.endswith(".json")]
    named = {one["key"] for one in (*pointers, *job.listed.values())}
    if left := [key for key in found if CHECKPOINT.fullmatch(key) and key not in named]:
        obstore.delete(store, left)
