"""Streams over real connections: what is written while one waits arrives on it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from app.context import Platform
from app.main import create_app
from app.services import events, jobs
from app.settings import Settings
from app.words import Trigger
from tests import factories, sse
from tests.conftest import ACCESS_TOKEN
from tests.factories import INSTANCE, event


class Server:
    """The app behind a real socket on a free port."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1)
        self.app = app
        self._server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._server.run)

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self.thread.join(30)

    @property
    def platform(self) -> Platform:
        platform: Platform = self.app.state.platform
        return platform

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    server = Server(create_app(settings, reconciling=False))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def job_id(server: Server) -> int:
    with server.platform.database.write_session() as session:
        return factories.attempt(session).job_id


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


def report(platform: Platform, job_id: int, *reports: dict[str, Any]) -> None:
    with platform.database.write_session() as session:
        events.ingest(session, job_id, 1, INSTANCE, reports, factories.NOW)


def follow(server: Server, job_id: int, found: list[Any], *, may_be_cut: bool = False) -> threading.Thread:
    """Adds each message to `found` as it arrives."""

    def read() -> None:
        headers = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
        url = f"{server.url}/api/v1/jobs/{job_id}/stream"
        cut = suppress(httpx2.RemoteProtocolError) if may_be_cut else nullcontext()
        with cut, httpx2.stream("GET", url, headers=headers, timeout=60) as response:
            for message in sse.messages(response.iter_lines()):
                found.append(message)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_follows_to_the_end_if_the_job_goes_on(server: Server, job_id: int) -> None:
    found: list[Any] = []
    report(server.platform, job_id, event(1))
    thread = follow(server, job_id, found)
    wait_until(lambda: len(found) == 1)
    report(server.platform, job_id, event(2), event(3))
    wait_until(lambda: len(found) == 3)
    with server.platform.database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=factories.NOW, reason="test")
    thread.join(30)
    assert not thread.is_alive()
    assert [(message["id"], message["event"]) for message in found] == [
        ("1", "metrics"),
        ("2", "metrics"),
        ("3", "metrics"),
        ("4", "status"),
    ]


def test_ends_if_the_job_is_deleted(server: Server, job_id: int) -> None:
    found: list[Any] = []
    report(server.platform, job_id, event(1))
    thread = follow(server, job_id, found)
    wait_until(lambda: found)
    with server.platform.database.write_session() as session:
        session.delete(jobs.get(session, job_id))
    thread.join(30)
    assert not thread.is_alive()
    assert len(found) == 1


def test_answers_others_if_many_streams_wait(server: Server, job_id: int) -> None:
    report(server.platform, job_id, event(1))
    streams: list[list[Any]] = [[] for _ in range(50)]
    threads = [follow(server, job_id, found) for found in streams]
    wait_until(lambda: all(streams), 60)
    body = {"attempt": 1, "instance": INSTANCE, "events": [event(2)]}
    headers = {"Authorization": f"Bearer {factories.token(job_id)}"}
    answer = httpx2.post(f"{server.url}/internal/training/{job_id}/events", json=body, headers=headers, timeout=30)
    assert answer.json()["acknowledged"] == 2
    wait_until(lambda: all(len(found) == 2 for found in streams), 60)
    with server.platform.database.write_session() as session:
        jobs.transition(session, job_id, Trigger.FAIL, now=factories.NOW, reason="test")
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_shuts_down_if_a_stream_waits(settings: Settings) -> None:
    server = Server(create_app(settings, reconciling=False))
    server.start()
    with server.platform.database.write_session() as session:
        job_id = factories.attempt(session).job_id
    report(server.platform, job_id, event(1))
    found: list[Any] = []
    thread = follow(server, job_id, found, may_be_cut=True)
    wait_until(lambda: found)
    server.stop()
    thread.join(30)
    assert not server.thread.is_alive()
    assert not server.platform.writer.alive
