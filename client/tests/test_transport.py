"""Answers that no platform should give, but proxies and other programs do."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from vision_client.api import Client
from vision_client.errors import ApiError, Unreachable, VisionError
from vision_client.transport import checked_url

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Answer) -> Iterator[Client]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Tests stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", "token") as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def respond(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_refusal_has_a_line_for_each_field() -> None:
    fields = [
        {"field": "epochs", "value": 0, "message": "must be at least 1"},
        {"field": "x", "value": "NaN", "message": "is no number"},
    ]
    error = {"code": "INVALID", "message": "2 values are refused", "details": {"fields": fields}}
    with answering(respond(422, json.dumps({"error": error}).encode())) as client, pytest.raises(ApiError) as refused:
        client.system()
    assert refused.value.lines() == [
        "INVALID: 2 values are refused",
        "  epochs=0 must be at least 1",
        "  x='NaN' is no number",
    ]


def test_refusal_says_nothing_twice_if_its_message_holds_the_fields() -> None:
    error = ApiError(
        "INVALID",
        "a=1 is odd; b=2 is even",
        {"fields": [{"field": "a", "value": 1, "message": "is odd"}, {"field": "b", "value": 2, "message": "is even"}]},
        422,
    )
    assert error.lines() == ["INVALID: 2 value(s) refused", "  a=1 is odd", "  b=2 is even"]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"[]", b'{"error": "text"}'])
def test_refusal_is_told_if_a_proxy_answers(body: bytes) -> None:
    with answering(respond(502, body)) as client, pytest.raises(ApiError, match="Bad Gateway") as refused:
        client.system()
    assert refused.value.code == "HTTP_502"


def test_another_programs_page_is_not_taken_for_an_answer() -> None:
    with answering(respond(200, b"<html>")) as client, pytest.raises(VisionError, match="did not answer with JSON"):
        client.system()


def test_redirect_is_refused_so_that_the_token_goes_nowhere_else() -> None:
    with answering(respond(302, b"", Location="http://127.0.0.1:9/")) as client, pytest.raises(ApiError, match="Found"):
        client.system()


def test_connection_refused_says_how_to_start_the_platform() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", "token") as client, pytest.raises(Unreachable, match="make run"):
        client.system()


def test_broken_connection_is_told_in_words() -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)

    with answering(hang_up) as client, pytest.raises(Unreachable, match="broke"):
        client.system()


def test_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with answering(respond(200, b"")) as client:
        assert client.is_ready()


def test_download_is_not_kept_if_its_digest_is_wrong(tmp_path: Path) -> None:
    with answering(respond(200, b"damaged", ETag='"00"')) as client, pytest.raises(VisionError, match="sha256"):
        client.download_checkpoint(1, "best", tmp_path / "best.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", ""])
def test_address_is_refused_if_it_is_none(url: str) -> None:
    with pytest.raises(VisionError, match="is not an address"):
        checked_url(url)
