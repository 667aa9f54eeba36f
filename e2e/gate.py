"""Stands between the platform and its S3 server, and holds one request half-way for as long as a test needs."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

HELD_SECONDS = 120.0
SERVER_SECONDS = 60.0
NOT_FORWARDED = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """`path` with its query."""

    method: str
    path: str
    body: bytes


@dataclass
class Hold:
    """The first request that `matches` goes no further: half of its body arrives, or, `answered`, its answer does not.

    It never goes on; whoever sent it is meant to be dead by then.
    """

    matches: Callable[[Request], bool]
    answered: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        assert self.reached.wait(HELD_SECONDS), "the request that was to be held did not come"


class Gate:
    """Open for everything but what `hold` waits for."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._hold: Hold | None = None
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self, matches: Callable[[Request], bool], *, answered: bool = False) -> Hold:
        self._hold = Hold(matches, answered)
        return self._hold

    def take(self, request: Request) -> Hold | None:
        """The hold that this request runs into."""
        with self._lock:
            hold = self._hold
            if hold is None or not hold.matches(request):
                return None
            self._hold = None
            return hold

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, gate: Gate) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gate = gate

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients die here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        gate = cast(_Server, self.server).gate
        hold = gate.take(Request(self.command, self.path, body))
        connection = http.client.HTTPConnection("127.0.0.1", gate.target_port, timeout=SERVER_SECONDS)
        try:
            self._send_head(connection)
            if hold and body and not hold.answered:
                connection.send(body[: len(body) // 2])
                return self._stay(hold)
            connection.send(body)
            response = connection.getresponse()
            content = response.read()
            if hold and hold.answered:
                return self._stay(hold)
            self._answer(response, content[: len(content) // 2] if hold else content)
            if hold:
                self._stay(hold)
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its failures."""

    def _send_head(self, connection: http.client.HTTPConnection) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in NOT_FORWARDED:
                connection.putheader(name, value)
        connection.endheaders()

    def _answer(self, response: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in NOT_FORWARDED:
                self.send_header(name, value)
        if response.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _stay(self, hold: Hold) -> None:
        hold.reached.set()
        hold.over.wait(HELD_SECONDS)
        self.close_connection = True
