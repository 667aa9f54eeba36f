"""Range requests as RFC 9110 has them, on bytes that never change."""

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from app.api import ranges
from app.api.errors import handle_errors

DATA = bytes(range(100))


@pytest.fixture
def plain() -> TestClient:
    """An app that serves DATA and nothing else."""
    app = FastAPI()
    handle_errors(app)

    @app.get("/")
    def read(request: Request) -> Response:
        content = ranges.Content(len(DATA), "ab", "image/png", lambda start, length: iter([DATA[start:][:length]]))
        return ranges.answer(request, content)

    return TestClient(app)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=90-", 90, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=99-99", 99, 100),
        ("Bytes=0-0", 0, 1),
    ],
)
def test_a_part_is_answered_if_a_range_asks_for_it(plain: TestClient, wanted: str, start: int, end: int) -> None:
    answer = plain.get("/", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["", "bytes=", "bytes=-", "bytes=9-5", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b"])
def test_all_is_answered_if_no_one_range_is_asked_for(plain: TestClient, wanted: str) -> None:
    answer = plain.get("/", headers={"Range": wanted} if wanted else {})
    assert (answer.status_code, answer.content) == (200, DATA)
    assert "Content-Range" not in answer.headers
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_refused_with_the_size_if_the_range_begins_behind_the_end(plain: TestClient, wanted: str) -> None:
    answer = plain.get("/", headers={"Range": wanted})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */100")
    assert answer.json()["error"]["code"] == "RANGE_NOT_SATISFIABLE"
    assert answer.json()["error"]["details"] == {"size": 100}


@pytest.mark.parametrize("known", ['"ab"', 'W/"ab"', '"x", "ab"', "*"])
def test_nothing_is_sent_if_the_client_has_it(plain: TestClient, known: str) -> None:
    answer = plain.get("/", headers={"If-None-Match": known, "Range": "bytes=0-1"})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"ab"')


def test_all_is_sent_if_the_client_has_another(plain: TestClient) -> None:
    assert plain.get("/", headers={"If-None-Match": '"cd", ab'}).status_code == 200


@pytest.mark.parametrize(("tag", "status"), [('"ab"', 206), ('"cd"', 200), ('W/"ab"', 200)])
def test_the_part_is_sent_only_if_it_is_of_what_the_client_has(plain: TestClient, tag: str, status: int) -> None:
    assert plain.get("/", headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == status


def test_a_browser_keeps_it_and_runs_nothing_if_it_is_foreign(plain: TestClient) -> None:
    headers = plain.get("/").headers
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Content-Type"] == "image/png"
