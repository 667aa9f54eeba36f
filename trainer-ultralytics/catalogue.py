"""What trainer.yaml offers, and whether an attempt asks for it. Imports no framework, so that a refusal is quick."""

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

LIMITS = {"LEARNING_RATE": (0, 1), "IMAGE_SIZE": (32, 8192), "SEED": (0, 2**32 - 2)}


@cache
def load_catalogue() -> dict[str, Any]:
    """trainer.yaml as contracts/trainer.schema.json describes it."""
    text = (Path(__file__).parent / "trainer.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue


def primary_metric(task_type: str) -> str:
    name: str = load_catalogue()["tasks"][task_type]["primary_metric"]
    return name


def default_image_size(task_type: str) -> int:
    size: int = load_catalogue()["tasks"][task_type]["defaults"]["image_size"]
    return size


def with_defaults(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every hyperparameter of trainer.yaml: as given, else its default there."""
    properties = load_catalogue()["hyperparameters"]["properties"]
    values = {name: hyperparameters.get(name, schema["default"]) for name, schema in properties.items()}
    whole = {name for name, schema in properties.items() if schema["type"] == "integer"}  # 2.0 is one to JSON Schema
    return {name: int(value) if name in whole else value for name, value in values.items()}


def find_problems(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the variables ask for and trainer.yaml does not offer. What is missing or malformed, utils.py tells."""
    task = load_catalogue()["tasks"].get(environ.get("TASK_TYPE", "").strip())
    problems = _model_problems(environ, [model["name"] for model in task["models"]]) if task else []
    return [*problems, *_hyperparameter_problems(environ), *_device_problems(environ), *_range_problems(environ)]


def _model_problems(environ: Mapping[str, str], names: list[str]) -> list[str]:
    model = environ.get("MODEL_NAME", "").strip()
    if not model or model in names:
        return []
    return [f"MODEL_NAME={model!r} is not offered for TASK_TYPE={environ['TASK_TYPE']!r}; choose {', '.join(names)}"]


def _hyperparameter_problems(environ: Mapping[str, str]) -> list[str]:
    try:
        given = json.loads(environ.get("HYPERPARAMETERS", "").strip() or "{}")
    except (ValueError, RecursionError):
        return []
    if not isinstance(given, dict):
        return []
    schema = load_catalogue()["hyperparameters"]
    unknown = sorted(set(given) - set(schema["properties"]))
    problems = [f"HYPERPARAMETERS: {name!r} is unknown; trainer.yaml lists what there is" for name in unknown]
    known = {name: value for name, value in given.items() if name not in unknown}
    errors = Draft202012Validator(schema).iter_errors(known)
    return problems + [f"HYPERPARAMETERS: {error.json_path[2:]}: {error.message}" for error in errors]


def _device_problems(environ: Mapping[str, str]) -> list[str]:
    device = environ.get("DEVICE", "").strip()
    if "," in device:
        return [f"DEVICE={device!r} names more than one GPU; this trainer uses one at a time"]
    if device and not re.fullmatch(r"cpu|mps|(cuda:)?[0-9]{1,3}", device):
        return [f"DEVICE={device!r} is not cpu, mps or the number of a GPU"]
    return []


def _range_problems(environ: Mapping[str, str]) -> list[str]:
    """Ultralytics' own limits on what the contract leaves open."""
    problems = []
    for name, (least, most) in LIMITS.items():
        text = environ.get(name, "").strip()
        with suppress(ValueError):
            if text and 0 < float(text) < math.inf and not least <= float(text) <= most:
                problems.append(f"{name}={text!r} is not between {least} and {most}")
    return problems
