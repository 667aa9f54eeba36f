"""What trainer.yaml offers, and whether an attempt asks for it. Imports no framework, so that a refusal is quick."""

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

TASK = "image_classification"
LIMITS = {"LEARNING_RATE": (0, 100), "IMAGE_SIZE": (32, 8192), "SEED": (0, 2**32 - 2)}


@cache
def load_catalogue() -> dict[str, Any]:
    """trainer.yaml as contracts/trainer.schema.json describes it."""
    text = (Path(__file__).parent / "trainer.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue


@cache
def load_models() -> dict[str, dict[str, Any]]:
    """Every model of timm by its name, as list_models.py wrote them."""
    content = json.loads((Path(__file__).parent / "models.json").read_text(encoding="utf-8"))
    models: dict[str, dict[str, Any]] = content["models"]
    return models


def pretrained_tag(model_name: str) -> str | None:
    """Which weights `pretrained` means: those that the name asks for, else timm's own choice; None without any."""
    name, _, tag = model_name.partition(".")
    return tag or next(iter(load_models()[name]["pretrained"]), None)


def primary_metric(hyperparameters: Mapping[str, Any]) -> str:
    """What `best` follows. HYPERPARAMETERS may choose, within trainer.yaml."""
    name: str = with_defaults(hyperparameters)["primary_metric"]
    return name


def default_image_size() -> int:
    size: int = load_catalogue()["tasks"][TASK]["defaults"]["image_size"]
    return size


def with_defaults(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every hyperparameter of trainer.yaml: as given, else its default there."""
    properties = load_catalogue()["hyperparameters"]["properties"]
    values = {name: hyperparameters.get(name, schema["default"]) for name, schema in properties.items()}
    whole = {name for name, schema in properties.items() if schema["type"] == "integer"}  # 2.0 is one to JSON Schema
    return {name: int(value) if name in whole else value for name, value in values.items()}


def find_problems(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the variables ask for and trainer.yaml does not offer. What is missing or malformed, utils.py tells."""
    return [
        *_task_problems(environ),
        *_model_problems(environ),
        *_hyperparameter_problems(environ),
        *_device_problems(environ),
        *_weights_problems(environ),
        *_range_problems(environ),
    ]


def _task_problems(environ: Mapping[str, str]) -> list[str]:
    task = environ.get("TASK_TYPE", "").strip()
    return [f"TASK_TYPE={task!r} is not offered by this trainer; it does {TASK}"] if task not in ("", TASK) else []


def _model_problems(environ: Mapping[str, str]) -> list[str]:
    model = environ.get("MODEL_NAME", "").strip()
    name, _, tag = model.partition(".")
    if not model or (name in load_models() and (not tag or tag in load_models()[name]["pretrained"])):
        return []
    if name in load_models():
        tags = ", ".join(load_models()[name]["pretrained"]) or "none"
        return [f"MODEL_NAME={model!r}: {name} has no weights {tag!r}; it has {tags}"]
    near = get_close_matches(name, load_models(), 5, 0.5) or [one["name"] for one in _curated()]
    return [f"MODEL_NAME={model!r} is not a model of timm; close to it are {', '.join(near)}"]


def _curated() -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = load_catalogue()["tasks"][TASK]["models"]
    return models


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


def _weights_problems(environ: Mapping[str, str]) -> list[str]:
    weights = environ.get("WEIGHTS", "").strip()
    if weights in ("", "scratch", "pretrained") or weights.endswith((".safetensors", ".pt")):
        return []
    return [f"WEIGHTS={weights!r} is not scratch, pretrained or the key of a .safetensors or .pt file of this trainer"]


def _range_problems(environ: Mapping[str, str]) -> list[str]:
    """This trainer's own limits on what the contract leaves open."""
    problems = []
    for name, (least, most) in LIMITS.items():
        text = environ.get(name, "").strip()
        with suppress(ValueError):
            if text and 0 < float(text) < math.inf and not least <= float(text) <= most:
                problems.append(f"{name}={text!r} is not between {least} and {most}")
    return problems
