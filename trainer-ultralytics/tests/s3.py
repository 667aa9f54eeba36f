"""A real S3 server for the storage tests, boto3 as the independent witness, and a relay that can be cut."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = REPOSITORY / "testing/.venv/bin/python"
WITNESS = """
import hashlib, json, sys, boto3
from botocore.config import Config
settings = json.loads(sys.stdin.readline())
client = boto3.client(
    "s3",
    endpoint_url=settings["endpoint"],
    aws_access_key_id=settings["access_key"],
    aws_secret_access_key=settings["secret_key"],
    region_name=settings["region"],
    config=Config(s3={"addressing_style": "path"}),
)
for line in sys.stdin:
    bucket = line.strip()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    print(json.dumps({key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}), flush=True)
"""


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    digests: Callable[[str], dict[str, str]]
    """The sha256 of every object of a bucket, as boto3 reads them."""

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])


@contextmanager
def s3_server(region: str, buckets: list[str]) -> Iterator[S3Server]:
    """A server and its witness; they end with the block, or with this process."""
    assert PYTHON.exists(), f"{PYTHON} is missing: `make test` sets up the S3 server that these tests need"
    arguments = [flag for bucket in buckets for flag in ("--bucket", bucket)]
    script = str(REPOSITORY / "testing/s3_server.py")
    with _program(script, "--region", region, *arguments) as server, _program("-c", WITNESS) as witness:
        credentials = json.loads(_answer(server))

        def digests(bucket: str) -> dict[str, str]:
            found: dict[str, str] = json.loads(_answer(witness, bucket))
            return found

        _say(witness, json.dumps(credentials))
        yield S3Server(credentials["endpoint"], credentials["access_key"], credentials["secret_key"], digests)


@contextmanager
def _program(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """One that ends when its standard input does."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command, pipe = [str(PYTHON), *arguments], subprocess.PIPE
    with subprocess.Popen(command, env=clean, text=True, stdin=pipe, stdout=pipe) as program:
        try:
            yield program
        finally:
            assert program.stdin
            program.stdin.close()


def _say(program: "subprocess.Popen[str]", line: str) -> None:
    assert program.stdin
    program.stdin.write(line + "\n")
    program.stdin.flush()


def _answer(program: "subprocess.Popen[str]", question: str | None = None) -> str:
    if question is not None:
        _say(program, question)
    assert program.stdout
    return program.stdout.readline()


class Relay:
    """Passes TCP connections on to a port of this machine, until it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        self.refused = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection dies, and so does each new one."""
        self._is_cut = True
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()
        for connection in self._sockets:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for source, sink, passes in ((client, server, self.sent), (server, client, bytes)):
                threading.Thread(target=_pump, args=(source, sink, passes), daemon=True).start()

    def sent(self, data: bytes) -> bytes:
        """What arrives at the server of what a client sent."""
        return data


class DeadlyRelay(Relay):
    """Kills a process at a byte of what it sends: those before it arrive, and none after."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._left: int | None = None
        self._victim: subprocess.Popen[bytes] | None = None
        super().__init__(port)

    def arm(self, victim: "subprocess.Popen[bytes]", after: int) -> None:
        """For a process that connects from now on."""
        with self._lock:
            self._victim, self._left = victim, after

    def disarm(self) -> None:
        with self._lock:
            self._left = None

    def sent(self, data: bytes) -> bytes:
        with self._lock:
            if self._left is None or self._victim is None:
                return data
            arriving, self._left = data[: self._left], max(0, self._left - len(data))
            if not self._left:
                self._victim.kill()
            return arriving


def _pump(source: socket.socket, sink: socket.socket, passes: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(passes(data))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
