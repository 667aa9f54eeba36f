import re
from pathlib import Path

import pytest
from vision_client.archive import pack

from tests.vision import Vision, make_dataset

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
    assert vision.json("dataset", "delete", "short-lived") == {"deleted": dataset["id"]}
    assert "NOT_FOUND" in vision("dataset", "show", "short-lived", code=4).stderr


def test_dataset_is_kept_if_a_job_uses_it(vision: Vision, tmp_path: Path) -> None:
    vision(*ADD, make_dataset(tmp_path / "in-use", train=9), *TASK)
    job = vision.json("train", "--dataset", "in-use", "--model", "scripted-n", "--set", "behaviour=complete")
    result = vision("dataset", "delete", "in-use", code=4)
    assert "CONFLICT" in result.stderr and str(job["id"]) in result.stderr


def test_broken_dataset_is_refused_in_words(vision: Vision, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "broken")
    (folder / "labels/train/0.txt").write_text("0 0.5 nonsense\n")
    result = vision(*ADD, folder, *TASK, "--json", code=4)
    assert "labels/train/0.txt" in result.stderr and result.stdout == ""
    assert "NOT_FOUND" in vision("dataset", "show", "broken", code=4).stderr


@pytest.mark.parametrize("words", [("gone", *TASK), ("gone",)])
def test_refused_if_it_is_called_wrongly(vision: Vision, words: tuple[str, ...], tmp_path: Path) -> None:
    result = vision(*ADD, tmp_path / words[0], *words[1:], code=4 if TASK[0] in words else 2)
    assert result.stderr and not result.stdout and "Traceback" not in result.stderr
