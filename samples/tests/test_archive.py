"""The zip and the bucket folder: same bytes for the same files, and versions that never change."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from digits.archive import store_dataset, store_image, write_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset" / "images").mkdir(parents=True)
    (tmp_path / "dataset" / "data.yaml").write_text("nc: 1\n")
    (tmp_path / "dataset" / "images" / "a.jpg").write_bytes(b"a picture")
    return tmp_path / "dataset"


def latest(bucket: Path) -> dict[str, object]:
    return dict(json.loads((bucket / "datasets" / "digits" / "latest").read_bytes()))


def test_zip_holds_every_file_uncompressed(folder: Path, tmp_path: Path) -> None:
    digest = write_zip(folder, tmp_path / "new" / "data.zip")
    with zipfile.ZipFile(tmp_path / "new" / "data.zip") as archive:
        assert archive.namelist() == ["data.yaml", "images/a.jpg"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert digest == hashlib.sha256((tmp_path / "new" / "data.zip").read_bytes()).hexdigest()


def test_same_zip_if_the_files_are_newer(folder: Path, tmp_path: Path) -> None:
    first = write_zip(folder, tmp_path / "1.zip")
    (folder / "data.yaml").touch()
    assert write_zip(folder, tmp_path / "2.zip") == first


def test_latest_names_the_first_version(folder: Path, tmp_path: Path) -> None:
    digest = write_zip(folder, tmp_path / "data.zip")
    assert store_dataset(tmp_path / "data.zip", tmp_path / "bucket", "digits") == 1
    assert latest(tmp_path / "bucket") == {"version": 1, "archive_sha256": digest}
    stored = tmp_path / "bucket" / "datasets" / "digits" / "1" / "data.zip"
    assert stored.read_bytes() == (tmp_path / "data.zip").read_bytes()


def test_version_stays_if_the_content_is_the_same(folder: Path, tmp_path: Path) -> None:
    write_zip(folder, tmp_path / "data.zip")
    versions = [store_dataset(tmp_path / "data.zip", tmp_path / "bucket", "digits") for _ in range(2)]
    assert versions == [1, 1]


def test_next_version_if_the_content_differs(folder: Path, tmp_path: Path) -> None:
    write_zip(folder, tmp_path / "data.zip")
    store_dataset(tmp_path / "data.zip", tmp_path / "bucket", "digits")
    before = (tmp_path / "bucket" / "datasets" / "digits" / "1" / "data.zip").read_bytes()
    (folder / "data.yaml").write_text("nc: 2\n")
    digest = write_zip(folder, tmp_path / "data.zip")
    assert store_dataset(tmp_path / "data.zip", tmp_path / "bucket", "digits") == 2
    assert latest(tmp_path / "bucket") == {"version": 2, "archive_sha256": digest}
    assert (tmp_path / "bucket" / "datasets" / "digits" / "1" / "data.zip").read_bytes() == before


def test_nothing_half_written_remains(folder: Path, tmp_path: Path) -> None:
    write_zip(folder, tmp_path / "data.zip")
    store_dataset(tmp_path / "data.zip", tmp_path / "bucket", "digits")
    assert store_image(folder / "images" / "a.jpg", tmp_path / "bucket", "digits") == "samples/digits.jpg"
    assert not list(tmp_path.rglob("*.partial"))
    assert (tmp_path / "bucket" / "samples" / "digits.jpg").read_bytes() == b"a picture"
