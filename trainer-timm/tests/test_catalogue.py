"""trainer.yaml and models.json against the contract and against timm itself."""

import json
from pathlib import Path

import pytest
import timm
from catalogue import find_problems, load_catalogue, load_models, pretrained_tag, with_defaults
from conftest import contract_validator
from jsonschema import Draft202012Validator
from timm.models import get_pretrained_cfg

CURATED = load_catalogue()["tasks"]["image_classification"]["models"]
SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT"}


def test_trainer_yaml_keeps_the_contract() -> None:
    assert [error.message for error in contract_validator("trainer").iter_errors(load_catalogue())] == []
    schema = load_catalogue()["hyperparameters"]
    Draft202012Validator.check_schema(schema)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(with_defaults({}))] == []
    for name, one in schema["properties"].items():
        assert {"title", "description", "default", "x-group"} <= set(one), name


def test_models_json_keeps_the_contract() -> None:
    content = json.loads((Path(__file__).parents[1] / "models.json").read_text())
    assert [error.message for error in contract_validator("models").iter_errors(content)] == []
    assert load_catalogue()["tasks"]["image_classification"]["more_models"] == "models.json"


def test_models_json_is_of_the_installed_timm() -> None:
    """After an upgrade: `.venv/bin/python list_models.py`."""
    content = json.loads((Path(__file__).parents[1] / "models.json").read_text())
    assert content["timm"] == timm.__version__
    assert list(content["models"]) == timm.list_models()
    tagged = {f"{name}.{tag}" if tag else name for name, one in content["models"].items() for tag in one["pretrained"]}
    assert tagged == set(timm.list_pretrained())


def test_non_commercial_weights_are_named() -> None:
    restricted = [tag for model in load_models().values() for tag in model.get("non_commercial", [])]
    assert len(restricted) >= 88
    assert "fcmae_ft_in22k_in1k" in load_models()["convnextv2_tiny"]["non_commercial"]


@pytest.mark.parametrize("model", CURATED, ids=lambda model: str(model["name"]))
def test_recommended_model_is_as_it_says(model: dict[str, str]) -> None:
    known, tag = load_models()[model["name"]], pretrained_tag(model["name"])
    assert tag and get_pretrained_cfg(model["name"]).tag == tag
    assert model["weights_license"] == SPDX[known["pretrained"][tag]]
    assert model["parameters_millions"] == round(known["parameters_millions"], 1)
    assert model["advice"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASK_TYPE": "object_detection"}, "TASK_TYPE='object_detection' is not offered"),
        ({"MODEL_NAME": "resnet_50"}, "resnet50"),
        ({"MODEL_NAME": "resnet50.none"}, "a1_in1k"),
        ({"DEVICE": "0,1"}, "more than one GPU"),
        ({"DEVICE": "tpu"}, "DEVICE='tpu'"),
        ({"WEIGHTS": "a/b.onnx"}, "WEIGHTS='a/b.onnx'"),
        ({"IMAGE_SIZE": "16"}, "IMAGE_SIZE='16' is not between 32 and 8192"),
        ({"HYPERPARAMETERS": '{"optimizer": "sgdx"}'}, "optimizer"),
        ({"HYPERPARAMETERS": '{"mosaic": 1}'}, "'mosaic' is unknown"),
    ],
)
def test_refused_if_it_is_not_offered(variables: dict[str, str], words: str) -> None:
    [problem] = find_problems(variables)
    assert words in problem


@pytest.mark.parametrize("model", ["resnet18", "resnet50.a1_in1k", "vit_base_patch16_224.augreg_in21k"])
def test_every_model_of_timm_is_offered(model: str) -> None:
    assert find_problems({"MODEL_NAME": model, "TASK_TYPE": "image_classification"}) == []
