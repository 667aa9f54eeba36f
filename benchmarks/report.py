"""One table a benchmark, and the same as JSON."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine

Cell = str | int | float | None


@dataclass(frozen=True)
class Report:
    """`samples` are the single measurements that the rows summarise."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str]
    settings: dict[str, Any]
    samples: dict[str, list[float]]
    machine: dict[str, Any] = field(default_factory=machine.describe)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def show(report: Report) -> None:
    cells = [report.columns, *[[_text(cell) for cell in row] for row in report.rows]]
    widths = [max(len(row[index]) for row in cells) for index in range(len(report.columns))]
    print(f"\n{report.title}")
    for row in cells:
        print("  " + "  ".join(_aligned(index, cell, widths[index]) for index, cell in enumerate(row)))
    for note in [*report.notes, _machine_line(report.machine)]:
        print(f"  {note}")


def save(report: Report, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return path


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _aligned(index: int, cell: str, width: int) -> str:
    return cell.ljust(width) if index == 0 else cell.rjust(width)


def _machine_line(described: dict[str, Any]) -> str:
    words = "{processor}, {cores} cores, {memory_gib} GiB, {system}, Python {python}, load {load_average}"
    return words.format(**described)
