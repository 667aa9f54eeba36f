"""Uploads in every layout, from their bytes to the canonical archive, with all formats competing for them."""

import time
from pathlib import Path

import pytest

from app.datasets.formats.recognise import recognise
from app.datasets.work import Wish
from app.words import TaskType
from tests.datasets.formats.test_folders import LAYOUTS as FOLDERS
from tests.datasets.formats.test_folders import images
from tests.datasets.formats.test_yolo import BOX, LAYOUTS
from tests.datasets.formats.uploads import Upload
from tests.datasets.imports import folders, make
from tests.datasets.versioned import picture

LINES = {
    TaskType.OBJECT_DETECTION: "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n",
    TaskType.INSTANCE_SEGMENTATION: "0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.ORIENTED_OBJECT_DETECTION: "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.POSE_ESTIMATION: "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n1 0.5 0.5 0.2 0.2 0.4 0.4 1 0.6 0.6 2\n",
}
Contents = dict[str, str | bytes]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_yolo_is_recognised_if_(layout: str) -> None:
    files = LAYOUTS[layout][0]
    assert recognise(Upload(files), Wish()).name == "yolo"


@pytest.mark.parametrize("layout", FOLDERS.keys() - {"a folder around splits"})
def test_folders_are_recognised_if_there_are_(layout: str) -> None:
    assert recognise(Upload(images(FOLDERS[layout][0])), Wish()).name == "folders"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"a/1.jpg": b"", "a/1.txt": BOX, "b/2.jpg": b"", "b/2.txt": BOX}, "yolo"),
        ({"a/1.jpg": b"", "a/1.txt": "a caption", "b/2.jpg": b"", "c/3.jpg": b""}, "folders"),
        ({"a/1.jpg": b"", "b/2.jpg": b"", "labels.csv": "file,label\n1.jpg,x\n2.jpg,y\n"}, "table"),
        ({"a/1.jpg": b"", "b/2.jpg": b"", "notes.csv": "who,when\nme,now\n"}, "folders"),
        ({"a/1.jpg": b"", "b/2.jpg": b"", "args.yaml": "lr: 1"}, "folders"),
    ],
)
def test_one_format_wins_if_others_could_read_the_upload(files: Contents, name: str) -> None:
    assert recognise(Upload(files), Wish()).name == name


@pytest.mark.parametrize("task", LINES)
def test_labels_come_out_as_they_went_in(task: TaskType, tmp_path: Path) -> None:
    yaml = "names: [cat, dog]\ntrain: ../train/images\nval: ../valid/images\ndownload: rm -rf /\n"
    files: Contents = {"data.yaml": yaml + ("kpt_shape: [2, 3]\nflip_idx: [1, 0]\n" if "pose" in task else "")}
    for number, split in enumerate(("train", "valid")):
        files[f"set/{split}/images/{number}.jpg"] = picture(number)
        files[f"set/{split}/labels/{number}.txt"] = LINES[task]
    imported = make(tmp_path / "import", files)
    assert (imported.packed.task_type, imported.packed.format) == (task, "yolo")
    assert imported.packed.counts["images"] == {"train": 1, "val": 1}
    written = imported.files["labels/val/1.txt"].decode()
    assert [list(map(float, line.split())) for line in written.splitlines()] == [
        list(map(float, line.split())) for line in LINES[task].splitlines()
    ]


def test_background_keeps_its_empty_label_and_an_unlabelled_image_is_told(tmp_path: Path) -> None:
    files: Contents = {f"images/{number}.jpg": picture(number) for number in range(4)}
    files |= {"labels/0.txt": BOX, "labels/1.txt": BOX, "labels/2.txt": "\n", "classes.txt": "cat"}
    imported = make(tmp_path / "import", files, wish={"split": {"train": 0.5, "val": 0.5}})
    labels = {name.split("/")[-1]: data for name, data in imported.files.items() if name.startswith("labels")}
    assert (labels["2.txt"], "3.txt" in labels) == (b"", False)
    assert imported.codes["IMAGE_UNLABELLED"] == 1


def test_table_gives_the_same_classes_as_folders(tmp_path: Path) -> None:
    by_folders = make(tmp_path / "folders", folders())
    flat = {name.replace("/", "_"): data for name, data in folders().items()}
    rows = "".join(f"{name},{name.split('_')[0]}\n" for name in flat)
    by_table = make(tmp_path / "table", {**flat, "labels.csv": rows})
    assert by_table.packed.classes == by_folders.packed.classes == ["cat", "dog"]
    assert sum(by_table.packed.counts["images"].values()) == 8


@pytest.mark.slow
def test_five_thousand_small_pngs_are_imported_in_seconds(tmp_path: Path) -> None:
    files: Contents = {
        f"{split}/{number % 10}/{number}.png": picture(number, ".png", (28, 28))
        for split, numbers in (("training", range(4_000)), ("testing", range(4_000, 5_000)))
        for number in numbers
    }
    start = time.process_time()
    imported = make(tmp_path / "import", files, max_bytes=2**30)
    assert sum(imported.packed.counts["images"].values()) == 5_000
    assert time.process_time() - start < 60
