"""Imports while the backend is killed, and uploads whose connection breaks or lies: on a real server."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from app.launchers import processes
from app.services.datasets import folders
from app.services.datasets.running import BACKEND
from app.settings import Settings
from app.storage import open_storage
from tests.conftest import ACCESS_TOKEN
from tests.outages.serving import Served, serving
from tests.uploads import image, yolo_files, zipped
from tests.waiting import until

URL = "/api/v1/imports"
HEADERS = {"Authorization": f"Bearer {ACCESS_TOKEN}"}


class Backend:
    """The backend as a process of its own, which can be killed."""

    def __init__(self, settings: Settings, http: httpx2.Client, process: "subprocess.Popen[bytes]") -> None:
        self.settings, self.http, self._process = settings, http, process

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def get(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{URL}/{number}").json()
        return found


@contextmanager
def backend(settings: Settings) -> Iterator[Backend]:
    variables = {"PORT": "0", "SLOTS": "cpu:1", "ACCESS_TOKEN": ACCESS_TOKEN, "DATA_DIR": str(settings.data_dir)}
    variables |= {"DATABASE_URL": settings.database_url, "PATH": os.environ["PATH"]}
    settings.access_path.unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=BACKEND, env=variables) as process:
        try:
            until(lambda: settings.access_path.exists() and _answers(settings))
            with httpx2.Client(base_url=_url(settings), headers=HEADERS, timeout=60) as http:
                yield Backend(settings, http, process)
        finally:
            process.terminate()


def _url(settings: Settings) -> str:
    url: str = json.loads(settings.access_path.read_text())["url"]
    return url


def _answers(settings: Settings) -> bool:
    try:
        return httpx2.get(f"{_url(settings)}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def many_images(count: int = 20) -> bytes:
    """Enough work for a process to be met at it."""
    noise = random.Random(0)
    files = yolo_files()
    for number in range(count):
        files[f"images/train/{number}.png"] = image(number + 10, "PNG", (800, 600 + noise.randrange(40)))
        files[f"labels/train/{number}.txt"] = b"0 0.5 0.5 0.1 0.1\n"
    return zipped(files)


def _child(settings: Settings, number: int) -> list[int]:
    """The processes that read this import's files."""
    return processes.with_variable(f"HOME={folders.folder_of(settings.data_dir, number)}")


@pytest.mark.parametrize("phase", ["running", pytest.param("received", marks=pytest.mark.slow)])
def test_import_is_taken_up_again_if_the_backend_is_killed(settings: Settings, phase: str) -> None:
    data = many_images()
    with backend(settings) as first:
        number = first.http.post(URL, json={"name": "digits", "size": len(data)}).json()["id"]
        half = len(data) // 2
        first.http.patch(f"{URL}/{number}", content=data[:half], headers={"Upload-Offset": "0"})
        if phase == "running":
            first.http.patch(f"{URL}/{number}", content=data[half:], headers={"Upload-Offset": str(half)})
            first.http.post(f"{URL}/{number}/start")
            until(lambda: first.get(number)["status"] == "running" and _child(settings, number))
        first.kill()
        until(lambda: not _child(settings, number))
    with backend(settings) as second:
        if phase == "received":
            received = second.get(number)["received"]
            assert received == half
            second.http.patch(f"{URL}/{number}", content=data[half:], headers={"Upload-Offset": str(half)})
            second.http.post(f"{URL}/{number}/start")
        until(lambda: second.get(number)["status"] not in ("queued", "running"))
        ended = second.get(number)
        assert (ended["status"], ended["version"], ended["is_new"]) == ("accepted", 1, True), ended
        [dataset] = second.http.get("/api/v1/datasets").json()["items"]
        assert [version["version"] for version in dataset["versions"]] == [1]
    _check_storage(settings, dataset)


def _check_storage(settings: Settings, dataset: dict[str, Any]) -> None:
    storage, folder = open_storage(settings), f"datasets/{dataset['id']}"
    assert sorted(found.key for found in storage.list("datasets")) == [
        f"{folder}/1/data.zip",
        f"{folder}/1/index.sqlite",
        f"{folder}/latest",
    ]
    assert storage.size(f"{folder}/1/data.zip") == dataset["latest"]["archive_size"]
    assert list(folders.uploads(settings.data_dir).iterdir()) == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "vision.sqlite").write_bytes(sqlite_template.read_bytes())
    values: dict[str, Any] = {"_env_file": None, "data_dir": folder / "var", "access_token": ACCESS_TOKEN}
    settings = Settings(**values, database_url=f"sqlite:///{folder / 'vision.sqlite'}", slots="cpu:1")
    with serving(settings) as served:
        yield served


def begin(served: Served) -> int:
    number: int = served.http.post(URL, json={"name": "raw"}).json()["id"]
    return number


@contextmanager
def connected(served: Served, head: str, body: bytes) -> Iterator[socket.socket]:
    """A connection that sends exactly these bytes."""
    address = urlsplit(str(served.http.base_url))
    assert address.hostname and address.port
    lines = [head, f"Host: {address.netloc}", f"Authorization: Bearer {ACCESS_TOKEN}", "Upload-Offset: 0"]
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        yield connection


def raw(served: Served, head: str, body: bytes) -> bytes:
    """What the server says to exactly these bytes."""
    answer = b""
    with connected(served, head, body) as connection:
        while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
            answer += chunk
    return answer


def received(served: Served, number: int) -> int:
    count: int = served.http.get(f"{URL}/{number}").json()["received"]
    return count


SENT = 3 * 2**20
HALF_A_PART = [
    b"\r\nContent-Length: 4000000\r\n\r\n" + b"x" * SENT,
    b"\r\nTransfer-Encoding: chunked\r\n\r\n3D0900\r\n" + b"x" * SENT,
]


@pytest.mark.parametrize("body", HALF_A_PART, ids=["announced", "chunked"])
def test_part_counts_as_far_as_it_came_if_the_connection_breaks(served: Served, body: bytes) -> None:
    number = begin(served)
    upload = folders.folder_of(served.platform.settings.data_dir, number) / folders.UPLOAD
    with connected(served, f"PATCH {URL}/{number} HTTP/1.1", body):
        until(lambda: upload.exists() and upload.stat().st_size >= 2 * 2**20)
    until(lambda: received(served, number))
    count = received(served, number)
    assert 2 * 2**20 <= count <= SENT
    answer = served.http.patch(f"{URL}/{number}", content=b"y", headers={"Upload-Offset": str(count)})
    assert (answer.status_code, answer.json()["received"]) == (200, count + 1)
    assert upload.read_bytes() == b"x" * count + b"y"


@pytest.mark.parametrize("length", [b"-5", b"ten", b"99999999999999999999", b"5, 6", b"0x10"])
def test_length_that_is_none_is_refused(served: Served, length: bytes) -> None:
    number = begin(served)
    answer = raw(served, f"PATCH {URL}/{number} HTTP/1.1", b"\r\nContent-Length: " + length + b"\r\n\r\nx")
    assert answer.split(b" ")[1] in (b"400", b"413", b"422"), answer
    assert received(served, number) == 0


def test_no_more_is_taken_than_the_length_says(served: Served) -> None:
    number = begin(served)
    raw(served, f"PATCH {URL}/{number} HTTP/1.1", b"\r\nContent-Length: 5\r\n\r\n" + b"x" * 50)
    until(lambda: received(served, number) == 5)


def test_nothing_stays_of_an_upload_in_one_request_that_ended_early(served: Served) -> None:
    before = served.http.get(URL).json()["items"]
    head = "POST /api/v1/datasets?name=broken HTTP/1.1"
    with connected(served, head, b"\r\nContent-Length: 100000\r\n\r\nPK\x03\x04"):
        until(lambda: len(served.http.get(URL).json()["items"]) > len(before))
    until(lambda: served.http.get(URL).json()["items"] == before)
    uploads = folders.uploads(served.platform.settings.data_dir)
    assert len(list(uploads.iterdir())) == len(before)
