"""YAML, label files and tables that mean harm end as findings, in little time and memory."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from app.datasets.formats import table, yolo
from app.datasets.formats.text import MAX_LINE
from tests.datasets.formats.uploads import Read, Reading, reader
from tests.datasets.imports import folders, make, yolo_splits
from tests.hostile import texts

MEMORY = 150 * 2**20
SECONDS = 20  # of processor, on the slowest machine
Contents = dict[str, str | bytes]

read_yolo = reader(yolo.FORMAT)
read_table = reader(table.FORMAT)


def dataset(yaml: str = texts.NAMES, label: str | bytes = "0 .5 .5 .2 .2") -> Contents:
    return {"data.yaml": yaml, "images/a.jpg": b"", "labels/a.txt": label}


def bounded(read: Read, files: Contents) -> Reading:
    """The reading; fails if it took more processor time than anything hostile may."""
    start = time.process_time()
    reading = read(files)
    assert time.process_time() - start < SECONDS
    return reading


@pytest.mark.parametrize("bomb", [texts.alias_bomb, texts.merge_bomb, texts.self_reference])
def test_yaml_is_refused_if_it_has_aliases(bomb: Callable[[], str], read_yolo: Read) -> None:
    reading = bounded(read_yolo, dataset(bomb()))
    assert "has an alias" in reading.finding("DATA_YAML_INVALID")[3]


@pytest.mark.parametrize("yaml", list(texts.tags()))
def test_yaml_is_refused_if_it_has_tags(yaml: str, read_yolo: Read) -> None:
    assert "has a tag" in read_yolo(dataset(yaml)).finding("DATA_YAML_INVALID")[3]


@pytest.mark.parametrize("make_yaml", [texts.deep, texts.deep_blocks, texts.wide, texts.many_keys])
def test_yaml_is_refused_if_it_is_too_deep_or_has_too_much(make_yaml: Callable[[], str], read_yolo: Read) -> None:
    assert "DATA_YAML_INVALID" in bounded(read_yolo, dataset(make_yaml())).codes


def test_yaml_is_refused_if_it_is_too_long(read_yolo: Read) -> None:
    reading = read_yolo(dataset(texts.NAMES + "#" * 2**20))
    assert "at most" in reading.finding("DATA_YAML_INVALID")[3]


def test_class_is_refused_if_its_name_fills_the_file(read_yolo: Read) -> None:
    file, _, value, message = read_yolo(dataset(texts.long_scalar())).finding("CLASS_NAME_INVALID")
    assert (file, len(value or "")) == ("data.yaml", 200)
    assert "at most 200" in message


def test_numbers_of_yaml_are_never_computed(read_yolo: Read) -> None:
    assert set(bounded(read_yolo, dataset(texts.huge_numbers())).codes) == {"DATA_YAML_INVALID"}


def test_download_of_yaml_is_never_run(tmp_path: Path) -> None:
    script = "download: |\n  import os\n  os.system('touch owned')\n"
    for number, download in enumerate((script, "download: bash -c 'touch owned'\n", "download: https://x.org/a.zip\n")):
        imported = make(tmp_path / str(number), yolo_splits({"data.yaml": texts.NAMES + download}))
        assert imported.codes["DOWNLOAD_IGNORED"] == 1
        assert b"download" not in imported.files["data.yaml"]
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("path", ["/etc", "../../../etc", "\\\\server\\share", "C:\\Windows", "~", "/proc/self/fd"])
def test_path_of_yaml_leads_nowhere_outside(path: str, tmp_path: Path) -> None:
    yaml = f"{texts.NAMES}path: '{path}'\ntrain: images/train\nval: images/val\ntest: passwd\n"
    imported = make(tmp_path / "import", yolo_splits({"data.yaml": yaml}))
    assert imported.packed.counts["images"] == {"train": 2, "val": 1}
    assert imported.codes["SPLIT_LEFT_OUT"] == 1
    assert b"path" not in imported.files["data.yaml"]


def test_list_of_images_leads_nowhere_outside(read_yolo: Read) -> None:
    written = [
        "/etc/passwd",
        "../../../../etc/passwd",
        "//server/a.jpg/x",
        "\\\\?\\C:\\b.jpg",
        "a" * 5000,
        "../" * 1000,
    ]
    files = dataset(f"{texts.NAMES}train: train.txt") | {"train.txt": "\n".join([*written, "images/a.jpg"])}
    reading = read_yolo(files)
    assert reading.splits == {"images/a.jpg": "train"}
    assert reading.codes == ["IMAGE_MISSING"] * len(written)


def test_label_of_a_hundred_megabytes_is_not_read(read_yolo: Read) -> None:
    files = dataset(label=texts.one_line(100 * 10**6))
    tracemalloc.start()
    try:
        reading = read_yolo(files)
        assert tracemalloc.get_traced_memory()[1] < 2**20 * 10
    finally:
        tracemalloc.stop()
    file, _, _, message = reading.finding("LABEL_UNREADABLE")
    assert file == "labels/a.txt"
    assert "at most" in message


def test_label_is_refused_if_a_line_is_too_long_to_split(read_yolo: Read) -> None:
    files = dataset(label=texts.one_line(15 * 2**20))
    tracemalloc.start()
    try:
        reading = bounded(read_yolo, files)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert f"at most {MAX_LINE}" in reading.finding("LABEL_UNREADABLE")[3]


def test_label_is_refused_if_it_has_more_lines_than_an_image_has_objects(read_yolo: Read) -> None:
    reading = read_yolo(dataset(label=texts.lines(1_000_000)))
    assert "more than 100000 lines" in reading.finding("LABEL_UNREADABLE")[3]


@pytest.mark.parametrize(
    "label",
    [
        b"\x00" * 1000,
        b"0 0.5 0.5 0.2 0.2\x00",
        b"\x89PNG\r\n\x1a\n\x00\xff",
        b"\xff\xfe0",
        b"\x1f\x8b\x08\x00",
        b"PK\x03\x04",
    ],
)
def test_label_is_refused_if_it_is_no_text(label: bytes, read_yolo: Read) -> None:
    (code,) = read_yolo(dataset(label=label)).codes
    assert code in ("LABEL_UNREADABLE", "LABEL_MALFORMED")


def test_class_number_does_not_make_as_many_classes(read_yolo: Read) -> None:
    label = "0 .5 .5 .2 .2\n999999999 .5 .5 .2 .2\n1e308 .5 .5 .2 .2\n"
    reading = read_yolo({"a.jpg": b"", "a.txt": label})
    assert reading.draft.classes == ["0"]
    assert reading.codes == ["CLASS_NAMES_MISSING", "CLASS_OUT_OF_RANGE", "CLASS_OUT_OF_RANGE"]


def test_cells_that_others_would_run_stay_text(tmp_path: Path) -> None:
    labels = {"cat": "=cmd()", "dog": "<script>"}
    rows = [f'{folder}/{number}.png,"{label}"\n' for folder, label in labels.items() for number in range(4)]
    imported = make(tmp_path / "import", {**folders(), "labels.csv": f"file,label\n{''.join(rows)}"})
    assert imported.packed.format == "table"
    assert imported.packed.classes == ["<script>", "=cmd()"]


@pytest.mark.parametrize("label", ["..", ".", "../../etc", "a/b", "a\\b", ".hidden", "a\x01b", "x" * 201, "한" * 100])
def test_table_is_refused_if_a_label_cannot_be_a_folder(label: str, read_table: Read) -> None:
    reading = read_table({"a.png": b"", "b.png": b"", "t.csv": f"a.png,{label}\nb.png,dog\n"})
    assert reading.finding("CLASS_NAME_INVALID")[2] == label[:200]


def test_table_is_refused_if_labels_differ_by_case_alone(read_table: Read) -> None:
    reading = read_table({"a.png": b"", "b.png": b"", "t.csv": "a.png,Dog\nb.png,dog\n"})
    assert "'Dog' by case or form alone" in reading.finding("CLASS_NAME_INVALID")[3]


@pytest.mark.parametrize(
    "rest",
    ['b.png,"' + "dog\n" * 500_000, "b.png," + "x" * 200_000, "b.png,dog" + "," * 2**21, '"' + '","\n' * 400_000],
    ids=["a quote", "a cell", "cells", "cells on many lines"],
)
def test_table_is_refused_if_a_row_has_no_end(rest: str, read_table: Read) -> None:
    files: Contents = {"a.png": b"", "b.png": b"", "t.csv": "a.png,cat\n" * 60 + rest}
    assert "LABEL_UNREADABLE" in bounded(read_table, files).codes
