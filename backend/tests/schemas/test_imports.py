"""The examples of imports in the API's description fit their shapes."""

from typing import Any

import pytest
from pydantic import BaseModel

from app.main import create_app
from app.schemas.imports import EditCreate, Import, ImportCreate
from app.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings.model_construct()).openapi()


@pytest.mark.parametrize("shape", [EditCreate, Import, ImportCreate], ids=lambda shape: shape.__name__)
def test_examples_fit(shape: type[BaseModel]) -> None:
    shown = DOCUMENT["components"]["schemas"][shape.__name__]
    assert shown["examples"] and set(shown["properties"]) == set(shape.model_fields)
    for example in shape.model_json_schema()["examples"]:
        assert set(example) <= set(shape.model_fields)
        shape.model_validate(example)
