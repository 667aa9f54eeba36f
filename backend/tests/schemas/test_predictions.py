"""The Python shape of an answer against the contract's examples."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from app.schemas.predictions import Result

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
EXAMPLES = sorted((CONTRACTS / "examples" / "predictions").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_through_unchanged(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    schema = json.loads((CONTRACTS / "prediction.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(example)
    if "error" not in example:
        assert json.loads(Result.model_validate(example).model_dump_json(exclude_unset=True)) == example
