"""The catalogue: what the trainer folders say of themselves in trainer.yaml (see docs/trainer-contract.md).

A folder whose trainer.yaml is wrong becomes a `Problem` and harms no other.
"""

import json
import sys
from dataclasses import dataclass
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

TRAINER_SCHEMA = REPOSITORY / "contracts" / "trainer.schema.json"


@dataclass(frozen=True)
class Task:
    """One task of a trainer. `models` are entries of trainer.yaml, each with a `name`."""

    primary_metric: str
    defaults: dict[str, Any]
    models: list[dict[str, Any]]

    @property
    def model_names(self) -> list[str]:
        return [model["name"] for model in self.models]


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
    errors = sorted(_contract().iter_errors(content), key=lambda error: list(map(str, error.path)))
    if errors:
        raise _Refused("; ".join(_described(error) for error in errors))
    _check_hyperparameters(content["hyperparameters"])
    return Trainer(
        name=content["name"],
        title=content["title"],
        version=content["version"],
        license=content["license"],
        folder=path.parent.resolve(),
        commands=content["commands"],
        tasks={name: Task(**task) for name, task in content["tasks"].items()},
        hyperparameters=content["hyperparameters"],
        max_gpus=content.get("max_gpus", 1),
    )


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


@cache
def _contract() -> Draft202012Validator:
    return _validator(json.loads(TRAINER_SCHEMA.read_text(encoding="utf-8")))


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, registry=Registry())  # an empty registry: no reference is ever fetched


def _described(error: ValidationError | SchemaError) -> str:
    where = ".".join(str(part) for part in error.path) or "trainer.yaml"
    return f"{where}: {error.message}"
