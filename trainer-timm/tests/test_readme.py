"""README.md and .env.example know every variable, code and command that the programs know."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import utils

TRAINER = Path(__file__).resolve().parents[1]
README = (TRAINER / "README.md").read_text(encoding="utf-8")
EXAMPLE = (TRAINER / ".env.example").read_text(encoding="utf-8")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in TRAINER.glob("*.py")}
READS = re.compile(
    r"(?:_optional|_matching|_one_of|_folder|_json_object|get_env_int|get_env_float)\(\s*\"([A-Z0-9_]+)\""
)
FAILS = re.compile(r"(?:TrainerFailure|warning|_warn|failure)\(\s*f?\"([A-Z0-9_]+)\"")
PREDICT_VARIABLES = {"CHECKPOINT", "IMAGE", "IMAGES_FROM", "CONFIDENCE", "PREDICT_MODE"}


def variables() -> set[str]:
    read = {name for source in SOURCES.values() for name in READS.findall(source)}
    return read | {*utils.REQUIRED, *(name for names in utils.STORAGE_VARIABLES.values() for name in names)}


def codes() -> set[str]:
    return {code for source in SOURCES.values() for code in FAILS.findall(source)}


def test_the_searches_find_something() -> None:
    assert {"JOB_ID", "SEED", "WORK_DIR", "R2_ENDPOINT", "CONFIDENCE"} <= variables()
    assert {"DATASET_MISSING", "IMAGE_INVALID", "MLFLOW_UNAVAILABLE"} <= codes()


@pytest.mark.parametrize("name", sorted(variables() | PREDICT_VARIABLES))
def test_every_variable_is_explained_and_in_the_example(name: str) -> None:
    assert f"`{name}`" in README
    assert re.search(rf"^(# )?{name}=", EXAMPLE, re.MULTILINE)


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_is_explained(code: str) -> None:
    assert f"`{code}`" in README


def test_example_is_a_valid_configuration_for_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "trainer"
    folder.mkdir()
    (tmp_path / "var" / "storage").mkdir(parents=True)
    code = "import utils, predict; print(utils.load_config().hyperparameters, predict.load_predict_config().image)"
    ended = subprocess.run(
        ["sh", "-c", 'set -a && . "$0" && set +a && exec "$@"', TRAINER / ".env.example", sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TRAINER), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.strip() == "{'hflip': 0} samples/classes.jpg", ended.stderr
