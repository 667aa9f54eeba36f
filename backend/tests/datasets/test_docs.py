import re
from pathlib import Path

from app.datasets.findings import KINDS, Kind
from app.datasets.formats.recognise import FORMATS

DATASETS = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"
ROW = re.compile(r"\| `(?P<code>[A-Z_]+)` \| (?P<severity>\w+) \| (?P<action>\w+) \| (?P<when>.+) \| (?P<fix>.+) \|")


def test_documentation_holds_the_same_findings() -> None:
    rows = [row for line in _lines() if (row := ROW.fullmatch(line))]
    told = [(row["code"], row["severity"], row["action"], row["fix"]) for row in rows]
    assert sorted(told) == sorted(_row(code, kind) for code, kind in KINDS.items())


def test_documentation_names_every_format_and_its_tasks() -> None:
    rows = [cells for line in _lines() if len(cells := line.split("|")) == 5]
    told = {}
    for _, name, tasks, *_ in rows[::-1]:  # the first table wins
        told[name.strip()] = tasks
    for known in FORMATS:
        tasks = told[f"`{known.name}`"].replace("the same four", told["`yolo`"])
        assert re.findall(r"`(\w+)`", tasks) == list(known.tasks)


def _lines() -> list[str]:
    return DATASETS.read_text(encoding="utf-8").splitlines()


def _row(code: str, kind: Kind) -> tuple[str, str, str, str]:
    """A backslash is two in Markdown."""
    return code, kind.severity, kind.action, kind.fix.replace("\\", "\\\\")
