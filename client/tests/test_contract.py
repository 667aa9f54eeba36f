"""What the contract allows a trainer to say, a person can see."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from vision_client.drawing import annotate
from vision_client.live import LiveDisplay
from vision_client.models import PredictionResult
from vision_client.narration import Narrator
from vision_client.view import View

from tests.factories import make_entry, make_job

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "examples"
EVENTS = sorted(EXAMPLES.glob("events/*.json"))
PREDICTIONS = [path for path in sorted(EXAMPLES.glob("predictions/*.json")) if "error" not in path.read_text()]
SILENT = {"artifact", "run", "status", "system"}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_report_is_shown(path: Path) -> None:
    event = read(path)
    payload = {name: value for name, value in event.items() if name not in {"sequence", "time", "type"}}
    entry = make_entry(event["type"], **payload)
    view = View(make_job())
    view.apply(entry)
    console = Console(width=140)
    with console.capture() as capture:
        console.print(LiveDisplay(view))
    assert "digits, first try" in capture.get()
    said = Narrator().line(entry)
    assert said or event["type"] in SILENT or not any("loss" in name for name in payload.get("values", {}))


@pytest.mark.parametrize("path", PREDICTIONS, ids=lambda path: path.stem)
def test_prediction_is_drawn(path: Path, tmp_path: Path) -> None:
    result = PredictionResult.model_validate(read(path))
    image = tmp_path / "image.png"
    Image.new("RGB", (result.width, result.height), "white").save(image)
    colours = annotate(image, result).getcolors(1 << 24) or []
    assert (len(colours) > 1) == bool(result.predictions)


def test_there_are_examples_of_both() -> None:
    assert len(EVENTS) > 10 and len(PREDICTIONS) >= 5
