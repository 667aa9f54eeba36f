"""A backend that records: a real HTTP server which takes reports as the contract says, or misbehaves as it is told."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def batch(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def sequences(self) -> list[int]:
        return [event["sequence"] for event in self.batch["events"]]


Behaviour = Callable[["Recorder", BaseHTTPRequestHandler, Request], None]


class Recorder:
    """`script` holds what to do with the next requests; when it is empty, reports are stored and acknowledged."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.stored: dict[int, dict[str, Any]] = {}
        self.script: deque[Behaviour] = deque()
        self.should_stop = False
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/internal/training/12"

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was stored, in the order of arrival."""
        return list(self.stored.values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Block until `condition` holds after some request; fails after a deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not so after {DEADLINE_SECONDS} s and {len(self.requests)} requests"
                self._changed.wait(min(left, 0.05))

    def wait_for_events(self, count: int) -> list[dict[str, Any]]:
        self.wait_for(lambda: len(self.stored) >= count)
        return self.events

    def handle(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            behaviour = self.script.popleft() if self.script else acknowledge
        behaviour(self, handler, request)
        with self._changed:
            self._changed.notify_all()

    def store(self, request: Request) -> int:
        """Keep the events that are new; returns the highest sequence."""
        for event in request.batch["events"]:
            self.stored.setdefault(event["sequence"], event)
        return max(self.stored, default=0)


def acknowledge(recorder: Recorder, handler: BaseHTTPRequestHandler, request: Request) -> None:
    answer(acknowledged=recorder.store(request), rejected=[], should_stop=recorder.should_stop)(
        recorder, handler, request
    )


def answer(**fields: Any) -> Behaviour:
    """Status 200 with this answer; nothing is stored."""
    return lambda recorder, handler, request: _send(handler, 200, json.dumps(fields).encode())


def status(code: int, **headers: str) -> Behaviour:
    return lambda recorder, handler, request: _send(handler, code, b'{"error": {}}', **headers)


def malformed(recorder: Recorder, handler: BaseHTTPRequestHandler, request: Request) -> None:
    """Something between us and the backend answers with a page of its own."""
    _send(handler, 200, b"<html>Please log in</html>")


def lose_answer(recorder: Recorder, handler: BaseHTTPRequestHandler, request: Request) -> None:
    """The reports are stored, and the connection dies before the answer."""
    recorder.store(request)
    handler.close_connection = True


def cut(recorder: Recorder, handler: BaseHTTPRequestHandler, request: Request) -> None:
    """The connection dies in the middle of the answer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
    handler.close_connection = True


def hold(release: threading.Event) -> Behaviour:
    """No answer before `release`; the reports are lost."""

    def behave(recorder: Recorder, handler: BaseHTTPRequestHandler, request: Request) -> None:
        release.wait(DEADLINE_SECONDS)
        handler.close_connection = True

    return behave


def _send(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: str) -> None:
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _handler_of(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            recorder.handle(self, Request(self.path, dict(self.headers.items()), body))

        def do_GET(self) -> None:
            recorder.handle(self, Request(self.path, dict(self.headers.items()), b""))

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler
