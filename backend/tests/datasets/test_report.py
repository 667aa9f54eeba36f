"""Findings as people see them."""

import sqlite3
from pathlib import Path

from app.datasets.draft import FINDINGS_KEPT, Draft
from app.datasets.findings import Finding
from app.datasets.report import report_of
from app.datasets.work import Report
from app.words import TaskType


def report(tmp_path: Path, *found: Finding) -> Report:
    draft = Draft(tmp_path / "draft")
    for finding in found:
        draft.find(finding)
    draft.close()
    connection = sqlite3.connect(tmp_path / "draft")
    made = report_of(connection, "yolo", TaskType.OBJECT_DETECTION)
    connection.close()
    return made


def test_nothing_found_is_an_empty_report(tmp_path: Path) -> None:
    assert report(tmp_path) == Report(format="yolo", task_type=TaskType.OBJECT_DETECTION)


def test_errors_come_first_and_all_are_counted(tmp_path: Path) -> None:
    codes = ["FILE_IGNORED", "BOX_EMPTY", "CLASS_UNKNOWN", "BOX_EMPTY", "IMAGE_MISSING"]
    made = report(tmp_path, *(Finding(code, "words", f"{number}.txt") for number, code in enumerate(codes)))
    assert [(group.code, group.severity, group.count) for group in made.groups] == [
        ("CLASS_UNKNOWN", "error", 1),
        ("IMAGE_MISSING", "warning", 1),
        ("BOX_EMPTY", "warning", 2),
        ("FILE_IGNORED", "note", 1),
    ]
    assert (made.errors, made.warnings, made.notes) == (1, 3, 1)


def test_line_says_where_what_and_how_to_mend_it(tmp_path: Path) -> None:
    line = report(tmp_path, Finding("BOX_EMPTY", "no area", "a.txt", 3, "0 0 0 0 0")).groups[0].first[0]
    assert (line.file, line.line, line.value, line.message, line.action) == (
        "a.txt",
        3,
        "0 0 0 0 0",
        "no area",
        "dropped",
    )
    assert line.fix == "Draw the box again; it has no area."


def test_first_five_are_shown_of_any_number(tmp_path: Path) -> None:
    count = FINDINGS_KEPT + 7
    group = report(tmp_path, *(Finding("BOX_EMPTY", "no area", f"{number}.txt") for number in range(count))).groups[0]
    assert group.count == count
    assert [line.file for line in group.first] == [f"{number}.txt" for number in range(5)]
