"""Class names that mean harm: shown as they are where they are only text, refused where they cannot be."""

from pathlib import Path

import pytest
import yaml

from app.datasets.findings import Finding
from app.datasets.formats import folders
from app.datasets.formats.class_names import MAX_CLASSES, accepted_names
from tests.datasets.formats.uploads import Read, reader
from tests.datasets.imports import folders as folder_files
from tests.datasets.imports import make, yolo_splits

read_folders = reader(folders.FORMAT)
TEXT = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE images; --",
    "../../etc/passwd",
    "{{7*7}}",
    "%s%n",
]
REFUSED = ["", " ", " cat", "a\x00b", "a\nb", "\x1b[31mred", "evil\u202etxt", "x" * 201, "\ud800", "a\u2028b"]
REFUSED_FOLDERS = [".", "..", ".hidden", "a/b", "a\\b", "한" * 81]


def codes(names: list[str], *, as_folders: bool) -> tuple[list[str], list[str]]:
    findings: list[Finding] = []
    accepted = accepted_names(names, "data.yaml", findings.append, folders=as_folders)
    return accepted, [finding.code for finding in findings]


def test_names_stay_text_from_end_to_end(tmp_path: Path) -> None:
    files = yolo_splits({"data.yaml": yaml.safe_dump({"names": ["cat", "dog", *TEXT]}, allow_unicode=True)})
    imported = make(tmp_path / "import", files)
    assert imported.packed.classes == ["cat", "dog", *TEXT]
    assert yaml.safe_load(imported.files["data.yaml"])["names"] == ["cat", "dog", *TEXT]


def test_folders_stay_text_from_end_to_end(tmp_path: Path) -> None:
    names = {"cat": "<script>", "dog": "=cmd()"}
    files = {name.replace(name[:3], names[name[:3]]): data for name, data in folder_files().items()}
    imported = make(tmp_path / "import", files)
    assert imported.packed.classes == ["<script>", "=cmd()"]
    assert {path.split("/")[1] for path in imported.files} == {"<script>", "=cmd()"}


@pytest.mark.parametrize("name", REFUSED)
def test_name_is_refused_if_it_cannot_be_shown(name: str) -> None:
    for as_folders in (False, True):
        assert codes(["cat", name], as_folders=as_folders) == (["cat", "class 1"], ["CLASS_NAME_INVALID"])


@pytest.mark.parametrize("name", REFUSED_FOLDERS)
def test_name_is_refused_only_as_a_folder_if_it_cannot_be_one(name: str) -> None:
    assert codes([name], as_folders=True)[1] == ["CLASS_NAME_INVALID"]
    assert codes([name], as_folders=False) == ([name], [])


@pytest.mark.parametrize("twins", [("Cat", "cAT"), ("straße", "STRASSE"), ("ﬁsh", "fish"), ("Å", "Å")])
def test_twins_are_told_and_refused_as_folders(twins: tuple[str, str]) -> None:
    assert codes(list(twins), as_folders=False)[1] in (["CLASS_NAMES_ALIKE"], ["CLASS_NAMES_DISAGREE"])
    assert codes(list(twins), as_folders=True)[1] in (["CLASS_NAME_INVALID"], ["CLASS_NAMES_DISAGREE"])


def test_name_is_refused_if_two_classes_have_it() -> None:
    assert codes(["cat", "cat"], as_folders=False) == (["cat", "class 1"], ["CLASS_NAMES_DISAGREE"])


def test_stand_in_is_not_taken_from_another_class() -> None:
    assert codes(["class 1", ""], as_folders=False)[0] == ["class 1", "class 1'"]
    assert codes(["", "class 0"], as_folders=False)[1] == ["CLASS_NAME_INVALID", "CLASS_NAMES_DISAGREE"]


@pytest.mark.parametrize("name", ["고양이", "собака", "قطة‌ها", "बिल्ली", "猫 2", "👨‍👩‍👧", "x" * 200, "a:b", "no"])
def test_name_is_taken_in_any_script(name: str) -> None:
    assert codes([name], as_folders=True) == ([name], [])


def test_classes_are_refused_if_there_are_too_many(read_folders: Read) -> None:
    accepted, found = codes([str(number) for number in range(MAX_CLASSES + 5)], as_folders=True)
    assert (len(accepted), found) == (MAX_CLASSES, ["CLASS_NAME_INVALID"])


def test_folders_are_refused_if_their_names_differ_by_case_alone(read_folders: Read) -> None:
    reading = read_folders({"Cat/1.png": b"", "cat/2.png": b"", "dog/3.png": b""})
    assert reading.finding("CLASS_NAME_INVALID")[2] == "cat"
