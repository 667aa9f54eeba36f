import os
import zipfile
from pathlib import Path

import pytest
from vision_client.archive import Advance, dataset_archive
from vision_client.errors import VisionError


class Bars:
    """Records what a progress bar would show."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.counted = 0

    def __call__(self, title: str, total: int) -> Advance:
        self.totals[title] = total
        return self._count

    def _count(self, count: int) -> None:
        self.counted += count


def make_folder(folder: Path) -> Path:
    for name in ("images/train/b.png", "images/train/a.png", "labels/train/a.txt", ".git/config", "images/.DS_Store"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_folder_is_packed_uncompressed_and_sorted_without_noise(tmp_path: Path) -> None:
    bars = Bars()
    with dataset_archive(make_folder(tmp_path / "data"), bars) as archive, zipfile.ZipFile(archive) as packed:
        names = ["images/train/a.png", "images/train/b.png", "labels/train/a.txt"]
        assert packed.namelist() == names
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        assert packed.read(names[0]) == names[0].encode()
    assert bars.totals == {"packing": bars.counted}
    assert not archive.exists()


def test_folder_is_packed_if_a_file_is_older_than_zip_can_say(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    os.utime(folder / "images/train/a.png", (0, 0))
    with dataset_archive(folder, Bars()) as archive:
        assert zipfile.ZipFile(archive).testzip() is None


def test_zip_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "names: [a]")
    with dataset_archive(path, Bars()) as used:
        assert used == path
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "reason"), [("gone", "does not exist"), ("notes.txt", "neither"), ("empty", "no files")]
)
def test_refused_if_there_is_nothing_to_upload(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VisionError, match=reason), dataset_archive(tmp_path / name, Bars()):
        pytest.fail("nothing to upload")
