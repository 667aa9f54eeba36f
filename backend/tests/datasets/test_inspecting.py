"""All images of an upload, entered in the draft."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.datasets.archives import open_upload
from app.datasets.draft import Draft, SourceImage
from app.datasets.inspecting import inspect_all
from tests.datasets.pictures import HEIGHT, WIDTH, encoded, picture, turned


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    draft = Draft(tmp_path / "index.sqlite")
    yield draft
    draft.close()


def _inspect(draft: Draft, folder: Path, files: dict[str, bytes]) -> list[tuple[str, int, int]]:
    path = folder / "upload.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    told: list[tuple[str, int, int]] = []
    with open_upload(path, folder, 2**28) as opened:
        taken = inspect_all(opened, draft, lambda *progress: told.append(progress))
    assert taken == len(list(draft.images()))
    return told


def _findings(draft: Draft) -> list[tuple[str, str, int | None]]:
    return draft.connection.execute("SELECT code, file, image_id FROM findings ORDER BY id").fetchall()


def test_images_are_entered_by_name_with_digest_and_size(draft: Draft, tmp_path: Path) -> None:
    sound, sideways = encoded(), turned("JPEG", 6)
    told = _inspect(draft, tmp_path, {"b/2.jpg": sideways, "a/1.jpg": sound, "a/1.txt": b"0 .5 .5 1 1"})
    first, second = draft.images()
    digest = hashlib.sha256(sound).hexdigest()
    assert first == SourceImage(first.id, "a/1.jpg", digest, "JPEG", WIDTH, HEIGHT, 1)
    assert (second.entry, second.width, second.orientation, second.rewrite) == ("b/2.jpg", WIDTH, 6, ".jpg")
    assert _findings(draft) == [("IMAGE_ORIENTATION", "b/2.jpg", second.id)]
    assert told == [("inspect", 1, 2), ("inspect", 2, 2)]


def test_only_findings_remain_of_what_cannot_be_taken(draft: Draft, tmp_path: Path) -> None:
    files = {"a.jpg": b"", "b.png": encoded(kind="PNG")[:60], "c.gif": encoded(kind="GIF"), "d.svg": b"<svg/>"}
    _inspect(draft, tmp_path, files)
    assert list(draft.images()) == []
    assert draft.image("a.jpg") is None
    assert _findings(draft) == [
        ("IMAGE_UNREADABLE", "a.jpg", None),
        ("IMAGE_TRUNCATED", "b.png", None),
        ("IMAGE_FORMAT_UNSUPPORTED", "c.gif", None),
        ("IMAGE_FORMAT_UNSUPPORTED", "d.svg", None),
    ]


def test_found_by_its_bytes_if_the_suffix_says_nothing(draft: Draft, tmp_path: Path) -> None:
    files = {"a": encoded(), "b.jpg_large": encoded(), "c.gif": encoded(), "d.bin": b"bytes", "e.txt": encoded()}
    _inspect(draft, tmp_path, files)
    assert [image.entry for image in draft.images()] == ["a", "b.jpg_large", "c.gif"]
    assert {code for code, _, _ in _findings(draft)} == {"IMAGE_SUFFIX_WRONG"}


def test_all_of_many_are_entered_in_order(draft: Draft, tmp_path: Path) -> None:
    names = [f"{index:03}.png" for index in range(200)]
    _inspect(draft, tmp_path, {name: encoded(picture("L", 28, 28), "PNG") for name in reversed(names)})
    assert [image.entry for image in draft.images()] == names
    assert [image.id for image in draft.images()] == sorted(image.id for image in draft.images())


def test_a_finding_if_the_archive_holds_it_damaged(draft: Draft, tmp_path: Path) -> None:
    path, data = tmp_path / "damaged.zip", encoded()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", data)
        archive.writestr("b.jpg", data)
    content = bytearray(path.read_bytes())
    content[content.index(data) + len(data) // 2] ^= 0xFF
    path.write_bytes(content)
    with open_upload(path, tmp_path, 2**28) as opened:
        inspect_all(opened, draft, lambda *_: None)
    assert [image.entry for image in draft.images()] == ["b.jpg"]
    assert _findings(draft) == [("IMAGE_UNREADABLE", "a.jpg", None)]
