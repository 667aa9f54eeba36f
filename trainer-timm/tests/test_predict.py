"""predict.py as a launcher starts it: one image, a list, and serving; a broken image harms no other."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import contract_validator
from PIL import Image
from predict import Predictor, load_predict_config
from tinysets import CLASSES, picture
from trainings import TRAINER, Training
from utils import TrainerFailure

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

BEST = "checkpoints/job-12/best.safetensors"
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def bucket(finished: Training) -> Path:
    folder = finished.bucket / "images"
    folder.mkdir()
    for name, colour in CLASSES.items():
        (folder / f"{name}.png").write_bytes(picture(colour, (5, 9)))
    (folder / "broken.png").write_bytes(b"no picture")
    wide = Image.open(io.BytesIO(picture(CLASSES["red"]))).resize((70, 50))
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    wide.save(folder / "turned.jpg", exif=exif)
    Image.fromarray(np.full((40, 40), 30000, np.uint16)).save(folder / "deep.png")
    keys = ["images/red.png", "images/broken.png", "images/nothing.png", "images/turned.jpg", "images/deep.png"]
    (folder / "list.json").write_text(json.dumps(keys))
    return finished.bucket


def environment_of(bucket: Path) -> dict[str, str]:
    """What a launcher would set."""
    given = {"TASK_TYPE": "image_classification", "CHECKPOINT": BEST, "STORAGE_TYPE": "local", "DEVICE": "cpu"}
    return {**given, "STORAGE_PATH": str(bucket.parent), "STORAGE_BUCKET": bucket.name, "HOME": str(bucket.parent)}


def predict(
    bucket: Path, environment: Mapping[str, str], lines: str = ""
) -> tuple[int, list[Answer], "subprocess.CompletedProcess[str]"]:
    """Exit code, answers, and everything."""
    ended = subprocess.run(
        [sys.executable, str(TRAINER / "predict.py")],
        cwd=bucket.parent,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment_of(bucket), **environment},
        input=lines,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()], ended


@pytest.fixture
def ask(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Predictor]:
    """A predictor in this process: importing torch for each would take most of the time."""

    def make(**changes: str) -> Predictor:
        for name, value in {**environment_of(bucket), **changes}.items():
            monkeypatch.setenv(name, value)
        return Predictor(load_predict_config(), tmp_path)

    return make


def test_every_image_of_a_list_is_answered(ask: Callable[..., Predictor]) -> None:
    predictor = ask(IMAGES_FROM="images/list.json", CONFIDENCE="0")
    answers = [predictor.answer(key) for key in predictor.keys()]  # noqa: SIM118  (it is no dict)
    validator = contract_validator("prediction")
    assert [error.message for answer in answers for error in validator.iter_errors(answer)] == []
    red, broken, nothing, turned, deep = answers
    assert red["predictions"][0]["class_name"] == "red" and red["count"] == 2
    assert sum(one["confidence"] for one in red["predictions"]) == pytest.approx(1, abs=0.001)
    assert (broken["error"]["code"], nothing["error"]["code"]) == ("IMAGE_INVALID", "IMAGE_MISSING")
    assert (turned["width"], turned["height"]) == (50, 70)
    assert "error" not in deep


@pytest.mark.slow
@pytest.mark.parametrize(("key", "code"), [("images/red.png", 0), ("images/broken.png", 1)])
def test_one_image_is_answered(bucket: Path, key: str, code: int) -> None:
    found, answers, ended = predict(bucket, {"IMAGE": key})
    assert (found, len(answers)) == (code, 1), ended.stderr


def test_serving_answers_line_by_line(bucket: Path) -> None:
    lines = ['{"image": "images/blue.png", "confidence": 0.5}', "nonsense", '{"image": "images/red.png"}']
    last = json.loads((bucket / "checkpoints/job-12/last.json").read_text())["key"]
    code, answers, ended = predict(bucket, {"PREDICT_MODE": "serve", "CHECKPOINT": last}, "\n".join(lines))
    assert code == 0, ended.stderr
    blue, nonsense, red = answers
    assert [one["class_name"] for one in blue["predictions"]] == ["blue"] and "load" in blue["milliseconds"]
    assert nonsense["error"]["code"] == "REQUEST_INVALID"
    assert red["predictions"][0]["class_name"] == "red" and "load" not in red["milliseconds"]


def test_checkpoint_invalid_if_it_is_of_somebody_else(bucket: Path, ask: Callable[..., Predictor]) -> None:
    (bucket / "foreign.pt").write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    with pytest.raises(TrainerFailure) as caught:
        ask(IMAGE="images/red.png", CHECKPOINT="foreign.pt")
    assert caught.value.code == "CHECKPOINT_INVALID"
    assert not Path("evil").exists()


def test_refused_at_once_if_variables_are_wrong(bucket: Path) -> None:
    wrong = {"TASK_TYPE": "object_detection", "CHECKPOINT": "a.bin", "CONFIDENCE": "2", "PREDICT_MODE": "fast"}
    code, answers, ended = predict(bucket, wrong)
    assert (code, answers) == (2, [])
    assert all(word in ended.stderr for word in ("object_detection", "a.bin", "CONFIDENCE=2", "'fast'"))
