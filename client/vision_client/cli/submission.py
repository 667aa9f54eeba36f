"""From the options of `vision train` to the API's JobCreate."""

import json
from typing import Any

import typer

from vision_client.api import Client
from vision_client.errors import VisionError


def job_request(client: Client, options: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Fills in what the platform can tell: the task from the dataset, the framework from the model."""
    request = {name: value for name, value in options.items() if value is not None}
    if settings:
        request["hyperparameters"] = hyperparameters(settings)
    if "task_type" not in request:
        request["task_type"] = client.dataset(request["dataset_id"]).task_type
    if "framework" not in request:
        request["framework"] = _framework(client, request["task_type"], request["model_name"])
    return request


def hyperparameters(settings: list[str]) -> dict[str, Any]:
    """`mosaic=0.5` as a number, `cos_lr=true` as a boolean, `optimizer=AdamW` as a string."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        parsed[name] = _json_or_text(value)
    return parsed


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=str)  # NaN stays a word, which the platform refuses by name
    except ValueError:
        return value


def _framework(client: Client, task: str, model: str) -> str:
    offered = client.catalogue().items
    fitting = [framework.name for framework in offered if model in framework.models(task)]
    if len(fitting) == 1 or len(offered) == 1:
        return fitting[0] if fitting else offered[0].name
    if fitting:
        raise VisionError(f"{model} is offered by {', '.join(fitting)}; choose one with --framework")
    raise VisionError(f"no framework offers {model!r} for {task!r}; `vision models` lists what there is")
