"""data.zip is canonical, reproducible and holds nothing that the platform did not check."""

import hashlib
import zipfile
from pathlib import Path

import pytest
import yaml

from app.errors import Invalid
from app.services.datasets.archive import open_archive
from app.services.datasets.pack import Packed, pack
from app.words import TaskType
from tests.services.datasets.zips import class_files, files_of, write_zip, yolo_files

DETECTION = TaskType.OBJECT_DETECTION


def _pack(tmp_path: Path, files: dict[str, bytes], task_type: TaskType = DETECTION, name: str = "data.zip") -> Packed:
    with open_archive(write_zip(tmp_path / f"upload-{name}", files), 2**20) as archive:
        return pack(archive, task_type, tmp_path / name)


@pytest.mark.parametrize("task_type", TaskType)
def test_every_task_is_counted(task_type: TaskType, tmp_path: Path) -> None:
    packed = _pack(tmp_path, files_of(task_type), task_type)
    assert packed.classes == ["cat", "dog"]
    if task_type is TaskType.IMAGE_CLASSIFICATION:
        images = {"train": 3, "val": 2}
        assert packed.counts == {
            "images": images,
            "instances": images,
            "classes": {"cat": 3, "dog": 2},
            "files": {"ignored": 0},
        }
    else:
        images, instances = {"train": 2, "val": 1}, {"train": 2, "val": 2}
        expected = {"images": images, "instances": instances, "classes": {"cat": 2, "dog": 2}, "files": {"ignored": 0}}
        assert packed.counts == expected


def test_archive_is_stored_sorted_and_of_one_time(tmp_path: Path) -> None:
    packed = _pack(tmp_path, dict(reversed(yolo_files().items())))
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
    names = [entry.filename for entry in entries]
    assert names == sorted(names) == sorted(yolo_files())
    assert {(entry.compress_type, entry.date_time) for entry in entries} == {(0, (1980, 1, 1, 0, 0, 0))}
    data = (tmp_path / "data.zip").read_bytes()
    assert (packed.archive_sha256, packed.archive_size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_identity_is_what_sha256sum_prints(tmp_path: Path) -> None:
    packed = _pack(tmp_path, yolo_files())
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        lines = [f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}\n" for name in sorted(archive.namelist())]
    assert packed.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_same_content_gives_the_same_bytes_however_it_was_zipped(tmp_path: Path) -> None:
    nested = {f"digits/{name}": data for name, data in reversed(yolo_files().items())}
    first = _pack(tmp_path, yolo_files(), name="first.zip")
    second = _pack(tmp_path, nested, name="second.zip")
    assert (first.sha256, first.archive_sha256) == (second.sha256, second.archive_sha256)


@pytest.mark.parametrize(
    "changes",
    [
        {"images/val/c.jpg": b"other"},
        {"label": "0 0 0 1 1"},
        {"data.yaml": "names: [cat, cow]"},
        {"images/train/a.jpg": None, "labels/train/a.txt": None},
    ],
)
def test_identity_changes_if_a_file_does(changes: dict[str, str | bytes | None], tmp_path: Path) -> None:
    before = _pack(tmp_path, yolo_files(), name="before.zip")
    after = _pack(tmp_path, yolo_files(DETECTION, **changes), name="after.zip")
    assert before.sha256 != after.sha256


def test_description_is_generated_and_never_the_users(tmp_path: Path) -> None:
    hostile = "names: [cat, dog]\npath: /\ndownload: |\n  import os; os.system('id')\nval: ../../etc\n"
    _pack(tmp_path, yolo_files(DETECTION, **{"data.yaml": hostile}))
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        description = yaml.safe_load(archive.read("data.yaml"))
    assert description == {"train": "images/train", "val": "images/val", "nc": 2, "names": ["cat", "dog"]}


def test_description_of_pose_has_its_keypoints(tmp_path: Path) -> None:
    _pack(tmp_path, yolo_files(TaskType.POSE_ESTIMATION), TaskType.POSE_ESTIMATION)
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        description = yaml.safe_load(archive.read("data.yaml"))
    assert (description["kpt_shape"], description["flip_idx"]) == ([2, 3], [1, 0])


def test_label_caches_and_foreign_files_stay_behind(tmp_path: Path) -> None:
    foreign = {"labels/train.cache": b"pickle", "train.py": b"code", ".hidden": b""}
    packed = _pack(tmp_path, yolo_files() | foreign)
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        assert set(archive.namelist()) == set(yolo_files())
    assert packed.counts["files"] == {"ignored": 3}


def test_bad_lines_are_named_by_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        _pack(tmp_path, yolo_files(label="0 0 0 1 1\n9 0 0 1 1\n"))
    assert [field["field"] for field in caught.value.details["fields"]] == ["labels/train/a.txt:2"]
    assert not (tmp_path / "data.zip").exists()


def test_empty_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"train/cat/2\.jpg: is an empty file"):
        _pack(tmp_path, class_files(**{"train/cat/2.jpg": b""}), TaskType.IMAGE_CLASSIFICATION)
