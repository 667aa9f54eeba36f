from typing import Any

import pytest
from vision_client.narration import Narrator

from tests.factories import make_entry


@pytest.mark.parametrize(
    ("type", "source", "payload", "words"),
    [
        ("status", "platform", {"from": "pending", "to": "starting", "reason": "slot"}, "pending → starting · slot"),
        ("launch", "platform", {"slots": ["cpu:0"]}, "attempt 1 launched · cpu:0"),
        ("progress", "trainer", {"phase": "train", "epoch": 2, "epochs": 12}, "train: epoch 2 of 12"),
        ("progress", "trainer", {"phase": "train", "eta_seconds": 90}, "train · about 1 min 30 s left"),
        ("progress", "trainer", {"phase": "download", "seconds": 3.2}, "download: took 3 s"),
        ("metrics", "trainer", {"epoch": 2, "values": {"train/box_loss": 1.5, "lr": 0.1}}, "epoch 2 losses: box 1.5"),
        (
            "validation",
            "trainer",
            {"epoch": 2, "primary": {"name": "top1", "value": 0.5}},
            "epoch 2 validated: top1 0.500",
        ),
        (
            "checkpoint",
            "trainer",
            {"kind": "best", "epoch": 2, "size": 54e5},
            "checkpoint best of epoch 2 stored, 5.4 MB",
        ),
        ("warning", "trainer", {"code": "TRACKING_AWAY", "message": "gone"}, "warning TRACKING_AWAY: gone"),
    ],
)
def test_entry_is_told_in_words(type: str, source: str, payload: dict[str, Any], words: str) -> None:
    line = Narrator().line(make_entry(type, source=source, **payload))
    assert line is not None and line.split("  ", 1)[1] == words


@pytest.mark.parametrize(("type", "payload"), [("system", {"cpu_percent": 1.0}), ("status", {"status": "running"})])
def test_nothing_is_said_if_it_is_no_news(type: str, payload: dict[str, Any]) -> None:
    assert Narrator().line(make_entry(type, **payload)) is None


def test_epoch_is_told_once_if_it_is_reported_often() -> None:
    narrator = Narrator()
    reports = [
        make_entry("progress", phase="train", epoch=epoch, epochs=2, step=step) for epoch in (1, 2) for step in range(9)
    ]
    assert len([line for line in map(narrator.line, reports) if line]) == 2


def test_trouble_is_told_once_and_its_end_too() -> None:
    narrator = Narrator()
    told = [narrator.trouble(reason) for reason in (None, "refused", "refused", None, None)]
    assert told == [None, "connection lost, trying again (refused)", None, "connected again", None]
