"""Stands between trainers and the backend, and breaks what it is told to break."""

import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

FATES = ("request lost", "answer lost", "cut mid-body", "delivered")
FORWARDED = ("Authorization", "Content-Type")
BACKEND_SECONDS = 30.0


@dataclass
class Faults:
    """Draws the fate of each call from a seed; `rate` is the share of each of the three faults."""

    seed: int
    rate: float
    drawn: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def draw(self) -> tuple[str, bool]:
        """The fate, and for a cut whether it hits the request instead of the answer."""
        with self._lock:
            weights = [self.rate] * 3 + [1 - 3 * self.rate]
            fate, in_request = self._random.choices(FATES, weights)[0], self._random.random() < 0.5
            self.drawn[fate] += 1
            return fate, in_request

    @property
    def calls(self) -> int:
        return self.drawn.total()


@contextmanager
def faulty_proxy(target_port: int, faults: Faults) -> Iterator[str]:
    """The URL under which the backend of that port is badly reached."""
    server = _Server(target_port, faults)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, target_port: int, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port, self.faults = target_port, faults


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = cast(_Server, self.server)
        fate, in_request = server.faults.draw()
        if fate == "request lost":
            return self._cut()
        if fate == "cut mid-body" and in_request:
            self._send_half(server.target_port, body)
            return self._cut()
        try:
            status, answer = self._forward(server.target_port, body)
        except OSError:
            return self._cut()
        if fate != "answer lost":
            self._answer(status, answer, cut=fate == "cut mid-body")
        if fate != "delivered":
            self._cut()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its failures."""

    def _forward(self, port: int, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BACKEND_SECONDS)
        try:
            connection.request("POST", self.path, body, self._forwarded())
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _send_half(self, port: int, body: bytes) -> None:
        """The backend sees a request that announces more than it brings."""
        headers = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body))} | self._forwarded()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(("127.0.0.1", port), timeout=BACKEND_SECONDS) as connection:
            connection.sendall(f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body[: len(body) // 2])

    def _answer(self, status: int, body: bytes, *, cut: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def _cut(self) -> None:
        """Reset the connection: what was not read is gone."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)

    def _forwarded(self) -> dict[str, str]:
        return {name: self.headers[name] for name in FORWARDED if name in self.headers}
