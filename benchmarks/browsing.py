"""Looking through a large version: a page of 60 images with their thumbnails, as a browser asks for it."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.pictures import CLASSES, write_upload
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.api import Api
from e2e.backend import running_backend

SIDE = 160  # pixels; a thumbnail has 128, whatever the image has
PAGE = 60
CONNECTIONS = 6  # of a browser to one server, with HTTP/1.1
IMPORT_SECONDS = 1800.0
CHUNK = 2**20
AIM = 0.3
Milliseconds = list[float]


def measure(scale: Scale, scratch: Path) -> Report:
    upload = write_upload(scratch / "upload.zip", SIDE, images=scale.browse_images)
    with running_backend(scratch / "platform", IMPORT_MEMORY_BYTES=str(3 * 2**30)) as api:
        version = _import(api, upload.path)
        samples = _look_around(api, version, scale)
    return Report(
        name="browsing",
        title=f"A page of {PAGE} images with their thumbnails, of a version of {scale.browse_images} images",
        columns=["what", "p50 ms", "p99 ms", "max ms"],
        rows=[[name, *_figures(found)] for name, found in samples.items()],
        notes=[
            f"warm: drawn before; the aim is {1000 * AIM:.0f} ms; one backend process, SQLite, storage in a folder",
            f"singly: as many requests over {CONNECTIONS} connections, which is why there is `/thumbnails?ids=…`",
        ],
        settings={"images": scale.browse_images, "pages": scale.browse_pages, "page": PAGE, "side": SIDE},
        samples=samples,
    )


def _import(api: Api, upload: Path) -> str:
    query = {"name": "large", "task_type": "object_detection"}
    headers = {"Content-Type": "application/zip"}
    answer = api.http.post(
        "/api/v1/datasets", params=query, headers=headers, content=_chunks(upload), timeout=IMPORT_SECONDS
    )
    if answer.status_code != 201:
        raise SystemExit(f"The import was answered with {answer.status_code}: {answer.text[:1000]}")
    return "/api/v1/datasets/large/versions/1"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _look_around(api: Api, version: str, scale: Scale) -> dict[str, Milliseconds]:
    chance = random.Random(0)
    samples = {"the first page after the start": [_timed(partial(_page, api, version, {}))]}
    anywhere = [{"cursor": str(chance.randrange(scale.browse_images - PAGE))} for _ in range(scale.browse_pages)]
    filtered = [page | {"class": CLASSES[-1], "split": "val"} for page in anywhere]
    for name, pages in (("page", anywhere), ("page of a class and a split", filtered)):
        samples[f"{name}, drawn"] = [_timed(partial(_page, api, version, page)) for page in pages]
        again = chance.sample(pages, len(pages))
        samples[f"{name}, warm"] = [_timed(partial(_page, api, version, page)) for page in again]
    with ThreadPoolExecutor(CONNECTIONS) as browser:
        singly = anywhere[: max(1, len(anywhere) // 5)]
        samples["page, warm, singly"] = [_timed(partial(_singly, api, browser, version, page)) for page in singly]
    images = [f"{version}/images/{chance.randrange(1, scale.browse_images + 1)}/file" for _ in anywhere]
    samples["one whole image"] = [_timed(partial(api.download, image)) for image in images]
    return samples


def _page(api: Api, version: str, query: dict[str, str]) -> None:
    ids = [str(item["id"]) for item in _list(api, version, query)]
    answer = api.get(f"{version}/thumbnails", ids=",".join(ids))
    if any(item["data"] is None for item in answer["items"]) or len(answer["items"]) != len(ids):
        raise SystemExit(f"Thumbnails are missing on the page {query}")


def _singly(api: Api, browser: ThreadPoolExecutor, version: str, query: dict[str, str]) -> None:
    found: list[httpx.Response] = list(
        browser.map(lambda item: api.http.get(f"{version}/images/{item['id']}/thumbnail"), _list(api, version, query))
    )
    for answer in found:
        answer.raise_for_status()


def _list(api: Api, version: str, query: dict[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(f"{version}/images", limit=PAGE, **query)["items"]
    if not items:
        raise SystemExit(f"The page {query} is empty")
    return items


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return 1000 * (time.monotonic() - began)


def _figures(found: Milliseconds) -> list[Cell]:
    ordered = sorted(found)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return [round(value, 1) for value in (statistics.median(ordered), high, ordered[-1])]
