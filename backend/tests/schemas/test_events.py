"""Both sides of the contract: our models and contracts/events.schema.json judge every example alike."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from app.schemas.events import EVENT, Answer, Batch
from app.services.reports import Report, judge_one
from tests import factories

CONTRACTS = Path(__file__).parents[3] / "contracts"
EXAMPLES = CONTRACTS / "examples"
SCHEMA = json.loads((CONTRACTS / "events.schema.json").read_text())


def examples(folder: str) -> list[Any]:
    files = sorted((EXAMPLES / folder).glob("*.json"))
    assert files, f"contracts/examples/{folder} is empty"
    return [pytest.param(json.loads(file.read_text()), id=file.stem) for file in files]


def event_validator() -> Draft202012Validator:
    schema = {"$schema": SCHEMA["$schema"], "$ref": "#/$defs/event", "$defs": SCHEMA["$defs"]}
    return Draft202012Validator(schema, format_checker=FormatChecker())


def allowed_by_schema(event: Any) -> bool:
    return bool(event_validator().is_valid(event))


@pytest.mark.parametrize("event", examples("events"))
def test_takes_an_event_if_the_contract_shows_it(event: dict[str, Any]) -> None:
    assert allowed_by_schema(event)
    report = judge_one(event)
    assert isinstance(report, Report)
    assert report.payload | {name: event[name] for name in ("sequence", "time", "type")} == event


@pytest.mark.parametrize("example", examples("rejected"))
def test_refuses_an_event_if_the_contract_shows_it_refused(example: dict[str, Any]) -> None:
    assert not allowed_by_schema(example["event"])
    assert not isinstance(judge_one(example["event"]), Report)


@pytest.mark.parametrize("batch", examples("batches"))
def test_takes_a_batch_if_the_contract_shows_it(batch: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(batch)
    assert Batch.model_validate(batch).model_dump() == batch


@pytest.mark.parametrize("answer", examples("answers"))
def test_answers_as_the_contract_shows(answer: dict[str, Any]) -> None:
    schema = json.loads((CONTRACTS / "answer.schema.json").read_text())
    Draft202012Validator(schema).validate(answer)
    assert Answer.model_validate(answer).model_dump(mode="json") == answer


def test_shows_every_type_by_example() -> None:
    shown = {example.values[0]["type"] for example in examples("events")}
    assert shown == set(SCHEMA["$defs"]["event"]["properties"]["type"]["enum"]) == set(factories.EVENT_FIELDS)


@pytest.mark.parametrize("type", factories.EVENT_FIELDS)
def test_takes_what_the_factories_make(type: str) -> None:
    event = factories.event(1, type)
    assert allowed_by_schema(event)
    assert isinstance(judge_one(event), Report)


EDGES: dict[str, dict[str, Any]] = {
    "whole number as a fraction": factories.event(1, epoch=2.0),
    "largest sequence": factories.event(2**53 - 1),
    "sequence too large": factories.event(2**53),
    "epoch too large": factories.event(1, epoch=2**31),
    "step null": factories.event(1, step=None),
    "step too large": factories.event(1, step=2**53),
    "progress epoch null": factories.event(1, "progress", epoch=None),
    "progress eta null": factories.event(1, "progress", eta_seconds=None),
    "progress seconds negative": factories.event(1, "progress", seconds=-1),
    "progress epochs zero": factories.event(1, "progress", epochs=0),
    "empty metric name": factories.event(1, values={"": 1}),
    "metric name of 120": factories.event(1, values={"x" * 120: 1}),
    "metric name of 121": factories.event(1, values={"x" * 121: 1}),
    "metric in Korean": factories.event(1, values={"손실": 1}),
    "no metrics": factories.event(1, values={}),
    "failure null": factories.event(1, "status", failure=None),
    "unknown field": factories.event(1, mood="good"),
    "field of another type": factories.event(1, phase="train"),
    "validation without rows": factories.event(1, "validation", per_class=[]),
    "class row with numbers": factories.event(
        1, "validation", per_class=[{"class_id": 0, "class_name": "zero", "AP": 0.5, "AP50": None}]
    ),
    "class row with text": factories.event(
        1, "validation", per_class=[{"class_id": 0, "class_name": "zero", "AP": "x"}]
    ),
    "class row without name": factories.event(1, "validation", per_class=[{"class_id": 0}]),
    "primary without value": factories.event(1, "validation", primary={"name": "mAP50"}),
    "artifact null": factories.event(1, "validation", artifact=None),
    "key with a backslash": factories.event(1, "artifact", key="a\\b"),
    "key with NUL": factories.event(1, "artifact", key="a\x00b"),
    "key of dots": factories.event(1, "artifact", key="a/./b"),
    "key with dots in a name": factories.event(1, "artifact", key="a/..b/c.png"),
    "key that ends with a slash": factories.event(1, "artifact", key="a/"),
    "key with a line break": factories.event(1, "artifact", key="a\nb"),
    "key of 501": factories.event(1, "artifact", key="x" * 501),
    "hardware of kinds": factories.event(1, "run", hardware={"gpu": None, "cores": 2, "cpu": "x86", "load": 0.5}),
    "hardware true": factories.event(1, "run", hardware={"gpu": True}),
    "hardware nested": factories.event(1, "run", hardware={"gpu": {}}),
    "gpu": factories.event(1, "system", gpus=[{"index": 0, "utilization_percent": None, "memory_bytes": 1}]),
    "gpu with more": factories.event(
        1, "system", gpus=[{"index": 0, "utilization_percent": None, "memory_bytes": 1, "fan": 1}]
    ),
    "size negative": factories.event(1, "checkpoint", size=-1),
    "checkpoint without metrics": factories.event(1, "checkpoint"),
}


@pytest.mark.parametrize("event", EDGES.values(), ids=EDGES.keys())
def test_agrees_with_the_schema_at_the_edges(event: dict[str, Any]) -> None:
    assert isinstance(judge_one(event), Report) == allowed_by_schema(event)


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 0},
        {"attempt": "1"},
        {"attempt": True},
        {"instance": "short"},
        {"instance": "x" * 65},
        {"instance": None},
        {"events": None},
        {"events": {}},
        {"events": [{}] * 501},
        {"more": 1},
    ],
)
def test_refuses_a_batch_if_its_frame_is_wrong(change: dict[str, Any]) -> None:
    batch: dict[str, Any] = {"attempt": 1, "instance": factories.INSTANCE, "events": []}
    Batch.model_validate(batch)
    assert not Draft202012Validator(SCHEMA).is_valid(batch | change)
    with pytest.raises(ValidationError):
        Batch.model_validate(batch | change)


def test_model_names_every_type_of_the_schema() -> None:
    choices = EVENT.json_schema()["discriminator"]["mapping"]
    assert set(choices) == set(factories.EVENT_FIELDS)
