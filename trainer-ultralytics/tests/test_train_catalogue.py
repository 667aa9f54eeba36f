"""trainer.yaml against the Ultralytics that is installed."""

import inspect
from pathlib import Path

import pytest
from catalogue import load_catalogue, with_defaults
from checkpoint import TASKS
from environment import prepare_ultralytics

OURS = {"optimizer": "AdamW", "freeze": 0, "warmup_bias_lr": 0.0}  # `auto`, nothing and 0.1 in Ultralytics


@pytest.fixture(autouse=True)
def _prepared(tmp_path: Path) -> None:
    prepare_ultralytics(tmp_path)


def test_every_default_is_the_one_of_ultralytics_but_a_few() -> None:
    from ultralytics.utils import DEFAULT_CFG_DICT

    mine = with_defaults({})
    assert {name: value for name, value in mine.items() if DEFAULT_CFG_DICT[name] != value} == OURS


def test_every_default_is_accepted_by_ultralytics() -> None:
    from ultralytics.cfg import get_cfg

    assert vars(get_cfg(overrides=with_defaults({}))).items() >= with_defaults({}).items()


def test_every_limit_is_accepted_by_ultralytics() -> None:
    from ultralytics.cfg import get_cfg

    for name, field in load_catalogue()["hyperparameters"]["properties"].items():
        for limit in ("minimum", "maximum"):
            if limit in field:
                get_cfg(overrides={name: field[limit]})


def test_every_optimizer_is_one_that_ultralytics_builds() -> None:
    from ultralytics.engine.trainer import BaseTrainer

    source = inspect.getsource(BaseTrainer.build_optimizer)
    for name in load_catalogue()["hyperparameters"]["properties"]["optimizer"]["enum"]:
        assert f'"{name}"' in source or f'"{name.replace("RMSProp", "RMSprop")}"' in source


def test_every_model_is_packaged_for_its_task_and_on_the_hub() -> None:
    import framework
    import yaml
    from ultralytics.nn.tasks import guess_model_scale, guess_model_task
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    for task_type, task in load_catalogue()["tasks"].items():
        for model in task["models"]:
            description = yaml.safe_load(framework.packaged_model(model["name"]).read_text())
            assert guess_model_task(description) == TASKS[task_type], model["name"]
            assert guess_model_scale(f"{model['name']}.yaml") in description["scales"]
            assert f"{model['name']}.pt" in GITHUB_ASSETS_NAMES
