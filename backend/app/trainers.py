"""The catalogue: what the trainer folders say of themselves in trainer.yaml (see docs/trainer-contract.md).

A folder whose trainer.yaml is wrong becomes a `Problem` and harms no other.
"""

import json
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from app.errors import NotFound
from app.settings import REPOSITORY

CONTRACTS = REPOSITORY / "contracts"
SHOWN_ERRORS = 20  # of one file


@dataclass(frozen=True)
class Task:
    """One task of a trainer.

    `models` are those that trainer.yaml recommends, each with a `name`; `others` what may be chosen besides, by name
    (contracts/models.schema.json).
    """

    primary_metric: str
    defaults: dict[str, Any]
    models: list[dict[str, Any]]
    others: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def model_names(self) -> list[str]:
        """Every name that may be chosen, the recommended ones first; without the tags of weights."""
        return list(dict.fromkeys([*(model["name"] for model in self.models), *self.others]))

    @property
    def model_count(self) -> int:
        return len(self.model_names)

    def offers(self, model_name: str) -> bool:
        """Whether a job may name this model: alone, or with the tag of one of its pretrained weights."""
        name, _, tag = model_name.partition(".")
        tagged = tag != "" and tag in self.others.get(name, {}).get("pretrained", {})
        return model_name in self.model_names or tagged

    def find_models(self, search: str = "") -> list[dict[str, Any]]:
        """All that is known of the models whose name or title has every word of `search`, recommended ones first."""
        recommended = {model["name"]: model for model in self.models}
        known = [
            {"name": name, "recommended": name in recommended, **self.others.get(name, {}), **recommended.get(name, {})}
            for name in self.model_names
        ]
        words = search.lower().split()
        return [model for model in known if all(word in _searched(model) for word in words)]


def _searched(model: dict[str, Any]) -> str:
    return f"{model['name']} {model.get('title') or ''}".lower()


@dataclass(frozen=True)
class Trainer:
    """One trainer folder. `hyperparameters` is the JSON Schema of HYPERPARAMETERS."""

    name: str
    title: str
    version: str
    license: str
    folder: Path
    commands: dict[str, list[str]]
    tasks: dict[str, Task]
    hyperparameters: dict[str, Any]
    max_gpus: int

    def command(self, name: str) -> list[str]:
        """The words that start `train` or `predict`; `python` is the folder's own interpreter where it has one."""
        own = self.folder / ".venv" / "bin" / "python"
        python = str(own) if own.exists() else sys.executable
        return [python if word == "python" else word for word in self.commands[name]]

    def hyperparameter_errors(self, values: dict[str, Any]) -> list[ValidationError]:
        """What the trainer's schema says against these values, each error with its `path`."""
        return list(_validator(self.hyperparameters).iter_errors(values))


@dataclass(frozen=True)
class Problem:
    """Why a trainer folder is not in the catalogue."""

    folder: str
    reason: str


@dataclass(frozen=True)
class Catalogue:
    trainers: dict[str, Trainer]
    problems: list[Problem]

    def trainer(self, name: str) -> Trainer:
        """The trainer of this name, or `NotFound`."""
        if name not in self.trainers:
            raise NotFound(f"there is no framework {name!r}; known are {', '.join(sorted(self.trainers)) or 'none'}")
        return self.trainers[name]


def load_catalogue(root: Path) -> Catalogue:
    """Read every `trainer-*/trainer.yaml` below `root`, in the order of the folders' names."""
    catalogue = Catalogue({}, [])
    for path in sorted(root.glob("trainer-*/trainer.yaml")):
        try:
            trainer = _read(path)
            if trainer.name in catalogue.trainers:
                first = catalogue.trainers[trainer.name].folder.name
                raise _Refused(f"name: {trainer.name!r} is already the name of {first}; choose another")
        except _Refused as refusal:
            catalogue.problems.append(Problem(path.parent.name, str(refusal)))
        else:
            catalogue.trainers[trainer.name] = trainer
    return catalogue


class _Refused(Exception):
    """This trainer.yaml cannot be used."""


def _read(path: Path) -> Trainer:
    content = _load_yaml(path)
    _refuse_errors("trainer", content, "trainer.yaml")
    _check_hyperparameters(content["hyperparameters"])
    return Trainer(
        name=content["name"],
        title=content["title"],
        version=content["version"],
        license=content["license"],
        folder=path.parent.resolve(),
        commands=content["commands"],
        tasks={name: _task(path.parent, task) for name, task in content["tasks"].items()},
        hyperparameters=content["hyperparameters"],
        max_gpus=content.get("max_gpus", 1),
    )


def _task(folder: Path, task: dict[str, Any]) -> Task:
    more = task.pop("more_models", None)
    return Task(**task, others=_load_models(folder / more) if more else {})


def _load_models(path: Path) -> dict[str, dict[str, Any]]:
    """What more_models names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _Refused(f"more_models: {path.name} is not readable JSON: {error}") from error
    _refuse_errors("models", content, path.name)
    models: dict[str, dict[str, Any]] = content["models"]
    return models


def _load_yaml(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return json.loads(json.dumps(content, allow_nan=False))  # refuses dates, NaN and whatever JSON cannot say
    except (OSError, ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        raise _Refused(f"trainer.yaml is not readable YAML: {' '.join(str(error).split())}") from error


def _check_hyperparameters(schema: dict[str, Any]) -> None:
    """Refuse a schema that is not one, a reference that leads out of it, and a default that it forbids."""
    try:
        Draft202012Validator.check_schema(schema)
        for name, rule in schema.get("properties", {}).items():
            default = rule.get("default") if isinstance(rule, dict) else None
            wrong = [error for error in _validator(schema).iter_errors({name: default}) if name in error.path]
            if wrong and default is not None:
                raise _Refused(f"hyperparameters.{name}.default: {wrong[0].message}")
    except SchemaError as error:
        raise _Refused(f"hyperparameters is not a JSON Schema: {_described(error)}") from error
    except Unresolvable as error:
        raise _Refused(f"hyperparameters refers to {error.ref!r}, which is not in it") from error


def _refuse_errors(schema: str, content: Any, file: str) -> None:
    errors = sorted(_contract(schema).iter_errors(content), key=lambda error: list(map(str, error.path)))
    if errors:
        raise _Refused("; ".join(_described(error, file) for error in errors[:SHOWN_ERRORS]))


@cache
def _contract(name: str) -> Draft202012Validator:
    return _validator(json.loads((CONTRACTS / f"{name}.schema.json").read_text(encoding="utf-8")))


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, registry=Registry())  # an empty registry: no reference is ever fetched


def _described(error: ValidationError | SchemaError, file: str = "trainer.yaml") -> str:
    where = ".".join(str(part) for part in error.path) or file
    return f"{where}: {error.message}"
