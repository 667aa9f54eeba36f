"""HTTP with the platform: one place that turns answers into JSON and trouble into words."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from vision_client.errors import ApiError, Unreachable, VisionError

TIMEOUT = httpx.Timeout(60, connect=10)


class Transport:
    def __init__(self, url: str, token: str) -> None:
        self.url = checked_url(url)
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            trust_env=not _is_loopback(self.url),  # a proxy cannot reach this machine's own loopback
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Raises ApiError when the platform refuses and Unreachable when nothing answers."""
        with self._translated():
            response = self._http.request(method, path, **options)
        raise_for_refusal(response)
        return response

    def json(self, method: str, path: str, **options: Any) -> Any:
        response = self.request(method, path, **options)
        try:
            return response.json()
        except ValueError as error:
            raise VisionError(f"{self.url}{path} did not answer with JSON; is this the platform's address?") from error

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        with self._translated(), self._http.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
                raise_for_refusal(response)
            yield response

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(f"nothing answers at {self.url} ({error}); start the platform with `make run`") from error
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"{self.url} did not answer in time ({type(error).__name__}); is it overloaded?"
            ) from error
        except httpx.TransportError as error:
            raise Unreachable(f"the connection to {self.url} broke: {error or type(error).__name__}") from error


def raise_for_refusal(response: httpx.Response) -> None:
    if not response.is_success:
        raise _refusal(response)


def checked_url(url: str) -> str:
    """The address without a trailing slash; raises VisionError when it is not one."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise VisionError(f"{url!r} is not an address; write it as http://127.0.0.1:8000")
    return url.rstrip("/")


def _refusal(response: httpx.Response) -> ApiError:
    try:
        error = response.json()["error"]
        return ApiError(str(error["code"]), str(error["message"]), error.get("details") or {}, response.status_code)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(
            f"HTTP_{response.status_code}",
            f"{response.request.method} {response.request.url} answered {response.reason_phrase}",
            {},
            response.status_code,
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
