"""Looking into a version over HTTP."""

import base64
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.context import Platform
from app.datasets.annotations import Annotation
from app.main import create_app
from app.settings import Settings
from tests.conftest import ACCESS_TOKEN
from tests.datasets.versioned import Made, Shot, box, make_version, picture, shots
from tests.services.datasets.placed import place

URL = "/api/v1/datasets/digits/versions/1"
SCRIPT = "<script>alert(1)</script>"
LABEL = Annotation(
    1,
    (0.1, 0.2, 0.3, 0.4),
    polygons=((0.1, 0.2, 0.3, 0.2, 0.3, 0.4),),
    keypoints=((0.15, 0.25, 2),),
    attributes={"difficult": True},
)
REPORT: dict[str, Any] = {"errors": 0, "warnings": 1, "notes": 0, "groups": []}


@dataclass
class Site:
    """A platform with the version 1 of digits, for tests that only look."""

    client: TestClient
    platform: Platform
    made: Made


@pytest.fixture(scope="module")
def site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = _make(folder / "made")
    shutil.copy(sqlite_template, folder / "vision.sqlite")
    values: dict[str, Any] = {"_env_file": None, "data_dir": folder, "access_token": ACCESS_TOKEN, "slots": "cpu:1"}
    app = create_app(Settings(**values), reconciling=False)
    with TestClient(app, headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}) as client:
        platform: Platform = app.state.platform
        counts = {"classes": {"zero": 2, SCRIPT: 2}}
        place(platform.database, platform.storage, made, report=REPORT, statistics={"images": {}}, counts=counts)
        yield Site(client, platform, made)


@pytest.fixture
def client(site: Site) -> TestClient:
    return site.client


@pytest.fixture
def made(site: Site) -> Made:
    return site.made


def _make(folder: Path) -> Made:
    images = [
        Shot("a.jpg", "train", picture(1), [box(0), LABEL], ["IMAGE_UNLABELLED"]),
        Shot("b.png", "train", picture(2, ".png"), [box(0)], ["IMAGE_UNLABELLED", "BOX_OUTSIDE"]),
        Shot("c.webp", "val", picture(3, ".webp"), [box(1)]),
        Shot("d.tiff", "val", picture(4, ".tiff")),
    ]
    return make_version(folder, images, classes=("zero", SCRIPT))


def test_a_version_is_read_with_its_report(client: TestClient) -> None:
    found = client.get(URL).json()
    assert (found["version"], found["origin"], found["format"], found["parent_version"]) == (1, "import", "yolo", None)
    assert (found["report"]["warnings"], found["statistics"]) == (1, {"images": {}})


def test_images_come_in_pages(client: TestClient) -> None:
    first = client.get(f"{URL}/images", params={"limit": 3}).json()
    rest = client.get(f"{URL}/images", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == [1, 2, 3, 4]
    assert rest["next_cursor"] is None
    assert first["items"][0] == {
        "id": 1,
        "path": "images/train/a.jpg",
        "split": "train",
        "width": 32,
        "height": 24,
        "size": len(picture(1)),
        "objects": 2,
        "classes": ["zero", SCRIPT],
        "findings": ["IMAGE_UNLABELLED"],
    }


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"split": "val"}, [3, 4]),
        ({"split": "test"}, []),
        ({"class": SCRIPT}, [1, 3]),
        ({"finding": "BOX_OUTSIDE"}, [2]),
        ({"finding": "BOX_EMPTY"}, []),
        ({"class": "zero", "split": "train", "finding": "IMAGE_UNLABELLED"}, [1, 2]),
    ],
)
def test_images_are_filtered(client: TestClient, filters: dict[str, str], ids: list[int]) -> None:
    assert [item["id"] for item in client.get(f"{URL}/images", params=filters).json()["items"]] == ids


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("images", {"class": "cat"}, "class"),
        ("images", {"class": "\x00"}, "class"),
        ("images", {"finding": "' OR 1=1"}, "finding"),
        ("images", {"split": "training"}, "split"),
        ("images", {"cursor": "-1"}, "cursor"),
        ("images", {"cursor": "٣"}, "cursor"),
        ("images", {"cursor": "9" * 30}, "cursor"),
        ("images", {"limit": "201"}, "limit"),
        ("images/0", {}, "image"),
        ("images/9223372036854775808", {}, "image"),
        ("findings", {"severity": "bad"}, "severity"),
        ("findings", {"cursor": "x"}, "cursor"),
        ("thumbnails", {"ids": ""}, "ids"),
        ("thumbnails", {"ids": "1,,2"}, "ids"),
        ("thumbnails", {"ids": "1;2"}, "ids"),
        ("thumbnails", {"ids": ",".join(["1"] * 201)}, "ids"),
        ("thumbnails", {"ids": "1", "size": "500"}, "size"),
        ("images/1/thumbnail", {"size": "0"}, "size"),
        ("compare", {}, "with"),
        ("compare", {"with": "0"}, "with"),
    ],
)
def test_invalid_names_the_field_if_a_value_cannot_be(
    client: TestClient, path: str, query: dict[str, str], field: str
) -> None:
    answer = client.get(f"{URL}/{path}", params=query)
    assert answer.status_code == 422, answer.text
    assert [problem["field"] for problem in answer.json()["error"]["details"]["fields"]] == [field]


@pytest.mark.parametrize(
    "path",
    [
        "versions/2",
        "versions/1/images/99",
        "versions/1/images/99/file",
        "versions/1/images/99/thumbnail",
        "versions/1/thumbnails?ids=1,99",
        "versions/1/compare?with=3",
    ],
)
def test_not_found_if_there_is_no_such_thing(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/datasets/digits/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_an_image_is_read_with_its_annotations(client: TestClient) -> None:
    found = client.get(f"{URL}/images/1").json()
    assert found["annotations"][1] == {
        "id": 2,
        "class_id": 1,
        "class_name": SCRIPT,
        "box": [0.1, 0.2, 0.3, 0.4],
        "polygons": [[0.1, 0.2, 0.3, 0.2, 0.3, 0.4]],
        "keypoints": [[0.15, 0.25, 2]],
        "crowd": False,
        "attributes": {"difficult": True},
    }
    assert (found["path"], found["objects"]) == ("images/train/a.jpg", 2)


def test_findings_are_listed_with_what_to_do(client: TestClient) -> None:
    first = client.get(f"{URL}/findings", params={"limit": 2}).json()
    rest = client.get(f"{URL}/findings", params={"cursor": first["next_cursor"]}).json()
    found = first["items"] + rest["items"]
    assert [(item["code"], item["image_id"]) for item in found] == [
        ("IMAGE_UNLABELLED", 1),
        ("IMAGE_UNLABELLED", 2),
        ("BOX_OUTSIDE", 2),
    ]
    assert found[2]["fix"].startswith("Check the coordinates")
    only = client.get(f"{URL}/findings", params={"code": "BOX_OUTSIDE", "severity": "warning", "image": 2}).json()
    assert only["items"] == [found[2]]
    assert client.get(f"{URL}/findings", params={"severity": "error"}).json()["items"] == []


def test_an_image_is_served_from_the_archive(client: TestClient, made: Made) -> None:
    for number, (shot, kind) in enumerate(zip(made.shots, ("jpeg", "png", "webp", "tiff"), strict=True), start=1):
        answer = client.get(f"{URL}/images/{number}/file")
        assert (answer.status_code, answer.content) == (200, shot.data)
        assert answer.headers["Content-Type"] == f"image/{kind}"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        sha256 = client.get(f"{URL}/images/{number}").json()["sha256"]
        assert answer.headers["ETag"] == f'"{sha256}"'
        known = client.get(f"{URL}/images/{number}/file", headers={"If-None-Match": f'"{sha256}"'})
        assert (known.status_code, known.content) == (304, b"")


def test_a_part_of_an_image_is_served_if_asked_for(client: TestClient, made: Made) -> None:
    data = made.shots[1].data
    answer = client.get(f"{URL}/images/2/file", headers={"Range": "bytes=5-20"})
    assert (answer.status_code, answer.content) == (206, data[5:21])
    assert answer.headers["Content-Range"] == f"bytes 5-20/{len(data)}"
    assert client.get(f"{URL}/images/2/file", headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_a_thumbnail_is_a_small_jpeg_that_is_kept(client: TestClient) -> None:
    answer = client.get(f"{URL}/images/2/thumbnail")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "JPEG"
    assert "immutable" in answer.headers["Cache-Control"]
    known = client.get(f"{URL}/images/2/thumbnail", headers={"If-None-Match": answer.headers["ETag"]})
    assert known.status_code == 304
    other = client.get(f"{URL}/images/2/thumbnail", params={"size": 256})
    assert other.headers["ETag"] != answer.headers["ETag"]


def test_the_thumbnails_of_a_page_come_at_once(client: TestClient) -> None:
    answer = client.get(f"{URL}/thumbnails", params={"ids": "3,1,3,2"})
    items = answer.json()["items"]
    assert [item["id"] for item in items] == [3, 1, 2]
    for item in items:
        kind, _, data = item["data"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert base64.b64decode(data) == client.get(f"{URL}/images/{item['id']}/thumbnail").content
    again = client.get(f"{URL}/thumbnails?ids=3,1,3,2", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_versions_are_compared_with_the_parent_if_no_other_is_named(
    client: TestClient, site: Site, tmp_path: Path
) -> None:
    database, storage = site.platform.database, site.platform.storage
    first = place(
        database, storage, make_version(tmp_path / "1", shots(3)), name="other", counts={"classes": {"zero": 2}}
    )
    second = make_version(tmp_path / "2", shots(4)[1:], classes=("zero", "two"))
    values: dict[str, Any] = {"parent_version": 1, "counts": {"classes": {"zero": 1, "two": 2}}}
    place(database, storage, second, first.dataset_id, **values)
    found = client.get("/api/v1/datasets/other/versions/2/compare").json()
    assert (found["before"], found["after"]) == (1, 2)
    assert found["classes"] == {"zero": {"before": 2, "after": 1}, "two": {"before": None, "after": 2}} | (
        {"one": {"before": None, "after": None}}
    )
    assert {name: changes["count"] for name, changes in found["images"].items()} == {
        "added": 1,
        "removed": 1,
        "moved": 1,
        "renamed": 0,
        "relabelled": 1,
    }
    assert found["images"]["moved"]["first"] == [
        {"path": "images/train/0002.jpg", "before": "images/val/0002.jpg"},
    ]
    same = client.get("/api/v1/datasets/other/versions/2/compare", params={"with": 2}).json()
    assert {changes["count"] for changes in same["images"].values()} == {0}


def test_the_access_token_is_needed(client: TestClient) -> None:
    for path in ("", "/images", "/images/1/file", "/thumbnails?ids=1"):
        assert client.get(f"{URL}{path}", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_nothing_of_a_deleted_version_is_shown(client: TestClient, site: Site, tmp_path: Path) -> None:
    made = make_version(tmp_path / "gone", shots(2))
    place(site.platform.database, site.platform.storage, made, name="gone")
    url = "/api/v1/datasets/gone"
    assert client.get(f"{url}/versions/1/images").status_code == 200
    client.delete(url)
    for path in ("", "/images", "/images/1/file", "/thumbnails?ids=1"):
        assert client.get(f"{url}/versions/1{path}").status_code == 404
