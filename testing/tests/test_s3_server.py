"""The S3 server that other tests rely on: ready when it says so, strict about credentials, gone without a trace."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError
from s3_server import s3_client

SCRIPT = Path(__file__).parents[1] / "s3_server.py"


class Server:
    def __init__(self, scratch: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        assert self.process.stdout is not None
        self.credentials: dict[str, str] = json.loads(self.process.stdout.readline())
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("s3"), "--bucket", "vision", "--region", "auto")
    yield running
    running.end()


@pytest.fixture
def client(server: Server) -> Any:
    return s3_client(server.credentials)


def test_buckets_exist_if_asked_for(client: Any) -> None:
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["vision"]


def test_object_reads_back_if_written_in_parts(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(os.urandom(9 * 2**20))
    client.upload_file(str(path), "vision", "folder/object", ExtraArgs={"Metadata": {"epoch": "3"}})

    answer = client.get_object(Bucket="vision", Key="folder/object")

    assert hashlib.sha256(answer["Body"].read()).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert answer["Metadata"] == {"epoch": "3"}


def test_range_reads_back_if_asked_for(client: Any) -> None:
    client.put_object(Bucket="vision", Key="numbers", Body=b"0123456789")

    assert client.get_object(Bucket="vision", Key="numbers", Range="bytes=2-4")["Body"].read() == b"234"


def test_request_is_refused_if_the_secret_is_wrong(server: Server) -> None:
    stranger = s3_client({**server.credentials, "secret_key": "wrong"})

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket="vision")


def test_region_is_the_one_asked_for(client: Any) -> None:
    assert client.get_bucket_location(Bucket="vision")["LocationConstraint"] == "auto"


@pytest.mark.parametrize("ending", ["stdin", "SIGTERM", "SIGINT", "SIGKILL"])
def test_nothing_is_left_if_it_ends(ending: str, tmp_path: Path) -> None:
    server = Server(tmp_path)
    if ending != "stdin":
        server.process.send_signal(getattr(signal, ending))

    code = server.end()

    _, alive = psutil.wait_procs(server.children, timeout=10)
    assert len(server.children) == 4 and not alive
    if ending != "SIGKILL":
        assert code == 0 and list(tmp_path.iterdir()) == []
