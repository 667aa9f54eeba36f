"""Imports from beginning to end: what goes in, what comes out, and that it is the same however it was packed."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from app.datasets.annotations import Annotation
from app.datasets.run import ARCHIVE, DRAFT, INDEX, UPLOAD, run
from app.datasets.work import Outcome, Phase
from app.words import TaskType
from tests.datasets.imports import LINES, TASK_LINES, Imported, Kind, files_of, ignore, make, prepare, yolo, yolo_splits
from tests.datasets.pictures import quarters, turned
from tests.datasets.versioned import picture


def _backwards(files: dict[str, str | bytes]) -> dict[str, str | bytes]:
    return dict(reversed(files.items()))


def test_canonical_upload_becomes_a_version(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo_splits())
    assert made.outcome.status == "accepted"
    assert (made.packed.task_type, made.packed.format, made.packed.classes) == (
        "object_detection",
        "yolo",
        ["cat", "dog"],
    )
    assert made.packed.counts == {
        "images": {"train": 2, "val": 1},
        "instances": {"train": 4, "val": 2},
        "classes": {"cat": 3, "dog": 3},
        "files": {"ignored": 0},
    }
    assert {name: data for name, data in made.files.items() if name != "data.yaml"} == {
        name: data.encode() if isinstance(data, str) else data
        for name, data in yolo_splits().items()
        if name != "data.yaml"
    }
    assert made.codes == {}


def test_outcome_says_what_the_files_are(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo())
    archive, index = (tmp_path / "one" / name for name in (ARCHIVE, INDEX))
    assert made.packed.archive_sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert made.packed.archive_size == archive.stat().st_size
    assert made.packed.index_sha256 == hashlib.sha256(index.read_bytes()).hexdigest()
    assert Outcome.model_validate_json(made.outcome.model_dump_json()) == made.outcome


def test_nothing_is_left_but_the_version(tmp_path: Path) -> None:
    make(tmp_path / "one", yolo())
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"request.json", UPLOAD, ARCHIVE, INDEX}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_version_is_the_same_however_it_was_packed(kind: Kind, tmp_path: Path) -> None:
    files = yolo(12, {"images/A.JPG": picture(50), "images/a.jpg": picture(51), "images/deep/er.jpg": picture(52)})
    first = make(tmp_path / "first", files)
    other = make(tmp_path / "other", {f"x/y/{name}": data for name, data in _backwards(files).items()}, kind=kind)
    assert other.packed.sha256 == first.packed.sha256
    assert other.packed.archive_sha256 == first.packed.archive_sha256
    assert other.codes == first.codes


def test_version_is_the_same_if_it_is_imported_again_from_itself(tmp_path: Path) -> None:
    first = make(
        tmp_path / "first", yolo(8, {"images/3.jpg": turned("JPEG", 6), "labels/4.txt": "", "labels/5.txt": None})
    )
    prepare(tmp_path / "again", None)
    (tmp_path / "again" / UPLOAD).hardlink_to(tmp_path / "first" / ARCHIVE)
    again = Imported(tmp_path / "again", run(tmp_path / "again", ignore))
    assert again.packed.sha256 == first.packed.sha256


def test_identity_changes_if_a_file_does(tmp_path: Path) -> None:
    changes: list[dict[str, str | bytes | None]] = [
        {},
        {"images/val/c.jpg": picture(9)},
        {"labels/train/a.txt": "0 0.5 0.5 1 1"},
        {"data.yaml": "names: [cat, cow]"},
        {"images/train/a.jpg": None, "labels/train/a.txt": None},
    ]
    made = [make(tmp_path / str(number), yolo_splits(change)) for number, change in enumerate(changes)]
    assert len({one.packed.sha256 for one in made}) == len(changes)


@pytest.mark.parametrize("task", TaskType)
def test_every_task_is_imported_counted_and_the_same_again(task: TaskType, tmp_path: Path) -> None:
    made = make(tmp_path / "one", files_of(task))
    assert (made.packed.task_type, made.packed.classes) == (task, ["cat", "doggy"])
    images, objects = {"train": 2, "val": 1}, {"train": 4, "val": 2}
    if task is TaskType.IMAGE_CLASSIFICATION:
        images = objects = {"train": 2, "val": 2}
    else:
        assert made.files["labels/train/a.txt"].decode() == TASK_LINES[task]
    assert made.packed.counts["images"] == made.packed.statistics["images"] == images
    assert made.packed.counts["instances"] == made.packed.statistics["objects"] == objects
    again = make(tmp_path / "again", made.files, wish={"task_type": task})
    assert again.packed.sha256 == made.packed.sha256


def test_description_of_poses_has_their_keypoints(tmp_path: Path) -> None:
    made = make(tmp_path / "one", files_of(TaskType.POSE_ESTIMATION))
    content = yaml.safe_load(made.files["data.yaml"])
    assert (content["kpt_shape"], content["flip_idx"]) == ([2, 3], [1, 0])


def test_description_is_generated_and_never_the_users(tmp_path: Path) -> None:
    hostile = "names: [cat, dog]\npath: /\ndownload: |\n  import os; os.system('id')\nval: ../../etc\n"
    made = make(tmp_path / "one", yolo(6, {"data.yaml": hostile}))
    content = yaml.safe_load(made.files["data.yaml"])
    assert content == {"train": "images/train", "val": "images/val", "nc": 2, "names": ["cat", "dog"]}


def test_label_caches_and_foreign_files_stay_behind_and_are_named(tmp_path: Path) -> None:
    foreign = {"labels/train.cache": b"pickle", "train.py": b"code", ".hidden": b"", "__MACOSX/images/._0.jpg": b""}
    made = make(tmp_path / "one", yolo() | foreign)
    assert not [name for name in made.files if not name.startswith(("images/", "labels/", "data.yaml"))]
    assert made.codes["FILE_IGNORED"] == 3
    assert made.packed.counts["files"] == {"ignored": 4}


def test_image_and_its_labels_are_upright(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo_splits({"images/val/c.jpg": turned("JPEG", 6), "labels/val/c.txt": LINES[0]}))
    data = made.files["images/val/c.jpg"]
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert quarters(image) == [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
    assert made.files["labels/val/c.txt"] == LINES[0].encode()


def test_index_says_where_each_image_lies(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(6, {"images/3.jpg": turned("JPEG", 8), "images/4.jpg": picture(4, ".png")}))
    data = (made.folder / ARCHIVE).read_bytes()
    rows = made.rows("SELECT path, sha256, size, offset FROM images ORDER BY id")
    assert [row[0] for row in rows] == sorted(name for name in made.files if name.startswith("images/"))
    for path, sha256, size, offset in rows:
        assert data[offset : offset + size] == made.files[path]
        assert hashlib.sha256(made.files[path]).hexdigest() == sha256


def test_annotations_are_in_the_index(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo_splits())
    boxes = [annotation.box for annotation in made.annotations("images/train/a.jpg")]
    assert [annotation.class_id for annotation in made.annotations("images/train/a.jpg")] == [0, 1]
    assert boxes[0] == pytest.approx((0.3, 0.3, 0.7, 0.7))
    assert Annotation(0, boxes[0]) == made.annotations("images/train/a.jpg")[0]


def test_upload_is_refused_with_every_finding_if_it_has_errors(tmp_path: Path) -> None:
    bad = {"labels/0.txt": "0 nan 0.5 0.1 0.1\n", "labels/1.txt": "7 0.5 0.5 0.1 0.1\n", "labels/99.txt": "0 0 0 1 1"}
    made = make(tmp_path / "one", yolo(6, bad))
    assert made.outcome.status == "refused"
    assert made.outcome.packed is None
    assert set(made.codes) >= {"CLASS_OUT_OF_RANGE", "LABEL_NOT_FINITE", "LABEL_WITHOUT_IMAGE", "SPLIT_MADE"}
    assert [group.severity for group in made.outcome.report.groups] == sorted(
        (group.severity for group in made.outcome.report.groups), key=["error", "warning", "note"].index
    )
    line = made.outcome.report.groups[0].first[0]
    assert (line.file, line.line, line.value) == ("labels/1.txt", 1, "7 0.5 0.5 0.1 0.1")
    assert not (made.folder / ARCHIVE).exists() and not (made.folder / DRAFT).exists()


@pytest.mark.parametrize(("strict", "status"), [(False, "accepted"), (True, "refused")])
def test_warnings_refuse_if_the_person_is_strict(strict: bool, status: str, tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(6, {"labels/0.txt": None}), wish={"strict": strict})
    assert (made.outcome.status, made.outcome.report.errors) == (status, 0)
    assert made.codes["IMAGE_UNLABELLED"] == 1


def test_notes_do_not_refuse_if_the_person_is_strict(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(6, {"README.md": "x"}), wish={"strict": True})
    assert made.outcome.status == "accepted"
    assert made.outcome.report.notes == 2


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\3\4" + bytes(100)])
def test_upload_is_invalid_if_it_is_no_archive(data: bytes, tmp_path: Path) -> None:
    prepare(tmp_path / "one", None)
    (tmp_path / "one" / UPLOAD).write_bytes(data)
    outcome = run(tmp_path / "one", ignore)
    assert (outcome.status, outcome.code) == ("invalid", "INVALID")
    assert outcome.message and "send" in outcome.message


def test_upload_is_invalid_if_it_unpacks_to_too_much(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(), max_bytes=1000)
    assert (made.outcome.status, made.outcome.code) == ("invalid", "TOO_LARGE")


def test_upload_is_refused_if_it_has_no_images(tmp_path: Path) -> None:
    made = make(tmp_path / "one", {"data.yaml": "names: [a]", "labels/1.txt": "0 0.5 0.5 1 1"})
    assert made.outcome.status == "refused"
    assert "NO_IMAGES" in made.codes


def test_upload_is_refused_if_nobody_knows_its_format(tmp_path: Path) -> None:
    made = make(tmp_path / "one", {"notes.md": "x"})
    assert (made.outcome.status, list(made.codes)) == ("refused", ["FORMAT_UNKNOWN"])


def test_upload_is_refused_if_it_has_a_single_image(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(1))
    assert (made.outcome.status, made.codes["SPLIT_EMPTY"]) == ("refused", 1)


def test_two_images_are_enough(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(2))
    assert made.packed.counts["images"] == {"train": 1, "val": 1}


def test_names_that_differ_by_case_alone_are_told_apart(tmp_path: Path) -> None:
    files = yolo_splits({"images/train/A.jpg": picture(7), "labels/train/A.txt": LINES[0]})
    made = make(tmp_path / "one", files)
    assert made.codes == {"NAME_COLLISION": 1}
    assert {name for name in made.files if "train" in name} == {
        *("images/train/A.jpg", "images/train/a-2.jpg", "images/train/b.jpg"),
        *("labels/train/A.txt", "labels/train/a-2.txt", "labels/train/b.txt"),
    }
    assert made.files["labels/train/A.txt"] == LINES[0].encode()


def test_progress_goes_through_every_phase(tmp_path: Path) -> None:
    told: list[tuple[Phase, int, int]] = []
    prepare(tmp_path / "one", yolo())
    run(tmp_path / "one", lambda *step: told.append(step))
    phases = list(dict.fromkeys(phase for phase, _, _ in told))
    assert phases == ["unpack", "inspect", "read", "check", "write"]
    assert ("inspect", 6, 6) in told and ("write", 6, 6) in told


def test_archive_is_stored_sorted_and_of_one_time(tmp_path: Path) -> None:
    made = make(tmp_path / "one", _backwards(yolo()))
    with zipfile.ZipFile(made.folder / ARCHIVE) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {(entry.compress_type, entry.date_time) for entry in entries} == {(0, (1980, 1, 1, 0, 0, 0))}


def test_identity_is_what_sha256sum_prints(tmp_path: Path) -> None:
    made = make(tmp_path / "one", yolo(6, {"images/고양이.jpg": picture(7)}))
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(made.files.items())]
    assert made.packed.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_request_is_all_that_an_import_is_told(tmp_path: Path) -> None:
    prepare(tmp_path / "one", yolo(), wish={"split": {"train": 0.5, "val": 0.5, "seed": 3}})
    asked = json.loads((tmp_path / "one" / "request.json").read_text())
    assert asked["wish"]["split"] == {"train": 0.5, "val": 0.5, "test": 0.0, "seed": 3, "anew": False}
    made = Imported(tmp_path / "one", run(tmp_path / "one", ignore))
    assert made.packed.counts["images"] == {"train": 3, "val": 3}
