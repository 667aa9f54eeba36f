import re
import zipfile
from pathlib import Path

import pytest
from vision_client.archive import pack
from vision_client.imports import announce, changes, send

from tests.vision import Vision, make_dataset, make_image

ADD = ("dataset", "add")
TASK = ("--task", "object_detection")


def make_zip(folder: Path) -> Path:
    archive = folder / "zipped.zip"
    pack(make_dataset(folder / "source", train=4), archive, lambda *_: lambda _: None)
    return archive


def test_folder_is_registered_and_counted(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "my squares", train=5)
    result = vision(*ADD, folder, *TASK)
    assert "Dataset 'my-squares'" in result.stdout and "version 1" in result.stdout
    assert "train: 5 images, 5 labelled objects" in result.stdout and "square (7)" in result.stdout


def test_upload_shows_its_progress_on_a_terminal(vision: Vision, tmp_path: Path) -> None:
    shown = vision.on_terminal(*ADD, make_dataset(tmp_path / "uploaded", train=10), *TASK)
    assert "packing" in shown and re.search(r"uploading.*?(\d+\.\d)/\1 kB", shown)


def test_zip_is_registered_under_another_name(vision: Vision, tmp_path: Path) -> None:
    dataset = vision.json(*ADD, make_zip(tmp_path), *TASK, "--name", "from-a-zip")
    assert dataset["name"] == "from-a-zip"
    assert dataset["latest"]["counts"]["images"] == {"train": 4, "val": 2}
    assert vision.json("dataset", "show", "from-a-zip") == vision.json("dataset", "show", dataset["id"])


def test_same_content_is_stored_once(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "twice", train=6)
    first = vision.json(*ADD, folder, *TASK)
    again = vision(*ADD, folder, *TASK, "--json")
    assert "nothing new was stored" in again.stderr
    assert vision.json("dataset", "show", "twice")["versions"] == first["versions"]


def test_changed_content_is_a_new_version(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "growing", train=7)
    vision(*ADD, folder, *TASK)
    (folder / "labels/train/0.txt").write_text("")
    assert "version 2" in vision(*ADD, folder, *TASK).stdout


def test_datasets_are_listed(vision: Vision) -> None:
    names = [item["name"] for item in vision.json("dataset", "list")["items"]]
    assert "shapes" in names
    assert all(name in vision("dataset", "list").stdout for name in names)


def test_dataset_is_deleted(vision: Vision, tmp_path: Path) -> None:
    dataset = vision.json(*ADD, make_dataset(tmp_path / "short-lived", train=8), *TASK)
    assert vision.json("dataset", "delete", "short-lived") == {"deleted": dataset["id"], "version": None}
    assert "NOT_FOUND" in vision("dataset", "show", "short-lived", code=4).stderr
    assert dataset["id"] in vision("dataset", "list", "--deleted").stdout


def test_deleted_dataset_comes_back(vision: Vision, tmp_path: Path) -> None:
    dataset = vision.json(*ADD, make_dataset(tmp_path / "missed", train=6), *TASK)
    vision("dataset", "delete", "missed")
    assert vision.json("dataset", "restore", dataset["id"])["name"] == "missed"
    assert vision.json("dataset", "show", "missed")["id"] == dataset["id"]


def test_purged_dataset_is_gone(vision: Vision, tmp_path: Path) -> None:
    dataset = vision.json(*ADD, make_dataset(tmp_path / "unwanted", train=6), *TASK)
    assert "CONFLICT" in vision("dataset", "purge", dataset["id"], code=4).stderr
    vision("dataset", "delete", "unwanted")
    vision("dataset", "purge", dataset["id"])
    assert dataset["id"] not in vision("dataset", "list", "--deleted").stdout


def test_dataset_is_kept_if_a_job_uses_it(vision: Vision, tmp_path: Path) -> None:
    vision(*ADD, make_dataset(tmp_path / "in-use", train=9), *TASK)
    job = vision.json("train", "--dataset", "in-use", "--model", "scripted-n", "--set", "behaviour=complete")
    result = vision("dataset", "delete", "in-use", code=4)
    assert "CONFLICT" in result.stderr and str(job["id"]) in result.stderr


def test_broken_dataset_is_refused_in_words(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "broken")
    (folder / "labels/train/0.txt").write_text("0 0.5 nonsense\n")
    result = vision(*ADD, folder, *TASK, code=4)
    assert "LABEL_MALFORMED" in result.stderr and "labels/train/0.txt:1" in result.stderr and result.stdout == ""
    refused = vision.json(*ADD, folder, *TASK, code=4)["import"]
    assert refused["status"] == "refused" and refused["report"]["errors"] == 1
    assert "NOT_FOUND" in vision("dataset", "show", "broken", code=4).stderr


def test_format_and_task_are_recognised(vision: Vision, tmp_path: Path) -> None:
    folder = tmp_path / "sorted"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            make_image(folder / name / f"{number}.png", shade=len(name) * 10 + number * 3 + (name == "dog"))
    dataset = vision.json(*ADD, folder, "--split", "60/40")
    assert dataset["task_type"] == "image_classification" and dataset["latest"]["classes"] == ["cat", "dog"]
    assert dataset["latest"]["counts"]["images"] == {"train": 6, "val": 4}
    assert "SPLIT_MADE" in vision("dataset", "report", "sorted").stdout


def test_warnings_refuse_only_if_strict(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "untidy", train=7)
    (folder / "labels/train/0.txt").write_text("0 0.9 0.5 0.5 0.5\n")
    assert "BOX_OUTSIDE" in vision(*ADD, folder, "--strict", code=4).stderr
    vision(*ADD, folder)
    assert "labels/train/0.txt:1" in vision("dataset", "report", "untidy", "--code", "BOX_OUTSIDE").stdout


def test_edit_makes_a_version_that_can_be_compared(vision: Vision, tmp_path: Path) -> None:
    vision(*ADD, make_dataset(tmp_path / "edited", train=6), *TASK)
    edit = ("--rename-class", "square=box", "--remove-image", "images/train/0.png")
    assert "version 2" in vision("dataset", "edit", "edited@1", *edit).stdout
    assert vision.json("dataset", "show", "edited@2")["version"]["parent_version"] == 1
    compared = vision("dataset", "compare", "edited", 1, 2).stdout
    assert "removed: 1 image\n" in compared and "images/train/0.png" in compared
    assert "class square: 8 → – objects" in compared and "class box: – → 7 objects" in compared


def test_version_is_exported(vision: Vision, tmp_path: Path) -> None:
    vision(*ADD, make_dataset(tmp_path / "exported", train=5), *TASK)
    target = tmp_path / "exported.zip"
    vision("dataset", "export", "exported", "--format", "coco", "-o", target)
    with zipfile.ZipFile(target) as archive:
        assert {"annotations/instances_train.json", "train/0.png"} <= set(archive.namelist())
    assert "refused" in vision("dataset", "export", "exported", "--format", "nonsense", "-o", target, code=4).stderr


def test_broken_upload_goes_on(vision: Vision, tmp_path: Path) -> None:
    archive = make_zip(tmp_path)
    with vision.backend.client() as client:
        begun = client.create_import(announce(archive, {"name": "continued", "task_type": TASK[1]}))
        client.send_part(begun.id, 0, archive.read_bytes()[:1000])
    assert vision.json(*ADD, archive, "--resume", begun.id)["name"] == "continued"
    assert "does not wait for these bytes" in vision(*ADD, archive, "--resume", begun.id, code=4).stderr


def test_part_whose_answer_was_lost_is_not_sent_twice(vision: Vision, tmp_path: Path) -> None:
    archive = make_zip(tmp_path)
    with vision.backend.client() as client:
        begun = client.create_import(announce(archive, {"name": "unheard", "task_type": TASK[1]}))
        client.send_part(begun.id, 0, archive.read_bytes())
        *_, ended = changes(client, send(client, begun, archive))
    assert ended.status == "accepted" and ended.received == archive.stat().st_size


@pytest.mark.parametrize("words", [("gone", *TASK), ("gone", "--split", "80"), ("gone", "--split", "0/nan")])
def test_refused_if_it_is_called_wrongly(vision: Vision, words: tuple[str, ...], tmp_path: Path) -> None:
    result = vision(*ADD, tmp_path / words[0], *words[1:], code=4 if TASK[0] in words else 2)
    assert result.stderr and not result.stdout and "Traceback" not in result.stderr
