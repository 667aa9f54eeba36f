"""predict.py's promises: one JSON object an image, in the contract's shape, and what happens when things are wrong."""

import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import predicting
import pytest
from PIL import Image
from predict import PredictConfig, Predictor, load_predict_config
from predicting import answers_of, environment_for, put_bytes, put_picture, run_predict
from utils import ConfigError, TrainerFailure

SCHEMA = json.loads((predicting.TRAINER.parent / "contracts" / "prediction.schema.json").read_text(encoding="utf-8"))
TASKS_WITH_PLACES = [task for task in predicting.CONFIGS if task != "image_classification"]
SIDEWAYS, WIDTH, HEIGHT = 6, 96, 64
ORIENTATION = 0x0112

MakePredictor = Callable[[str], Predictor]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of every task, a good picture, a broken one and one that lies on its side."""
    bucket = tmp_path_factory.mktemp("storage") / "vision"
    for task_type in predicting.CONFIGS:
        predicting.write_checkpoint(bucket / f"checkpoints/{task_type}.pt", task_type, bucket.parent)
    picture = predicting.noise_picture(WIDTH, HEIGHT)
    put_picture(bucket, "images/good.png", picture)
    exif = Image.Exif()
    exif[ORIENTATION] = SIDEWAYS
    put_picture(bucket, "images/sideways.png", picture.transpose(Image.Transpose.ROTATE_90), exif=exif)
    whole = (bucket / "images/good.png").read_bytes()
    put_bytes(bucket, "images/broken.png", whole[: len(whole) // 2])
    put_bytes(bucket, "images/text.jpg", b"not an image")
    return bucket


@pytest.fixture(scope="module")
def predictors(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePredictor]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_for(bucket, "object_detection").items():
            patch.setenv(name, value)

        @cache
        def make(task_type: str) -> Predictor:
            config = PredictConfig(task_type, f"checkpoints/{task_type}.pt", "", "", "cpu", 0.0, None, False)
            return Predictor(config, tmp_path_factory.mktemp(task_type))

        yield make


def check(answer: dict[str, Any]) -> dict[str, Any]:
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    return answer


@pytest.mark.parametrize("task_type", predicting.CONFIGS)
def test_answer_keeps_the_contract(predictors: MakePredictor, task_type: str) -> None:
    answer = check(predictors(task_type).answer("images/good.png"))
    assert (answer["width"], answer["height"], answer["task_type"]) == (WIDTH, HEIGHT, task_type)
    assert answer["count"] == len(answer["predictions"]) > 0
    confidences = [one["confidence"] for one in answer["predictions"]]
    assert confidences == sorted(confidences, reverse=True)
    assert {one["class_name"] for one in answer["predictions"]} <= set(predicting.CLASS_NAMES)
    assert {"read", "preprocess", "inference", "postprocess"} <= set(answer["milliseconds"])


@pytest.mark.parametrize(
    ("task_type", "fields"),
    {
        "object_detection": {"box"},
        "instance_segmentation": {"box", "polygon"},
        "pose_estimation": {"box", "keypoints"},
        "oriented_object_detection": {"box", "rotated_box"},
        "image_classification": set(),
    }.items(),
)
def test_predictions_say_where_as_their_task_does(predictors: MakePredictor, task_type: str, fields: set[str]) -> None:
    predictions = predictors(task_type).answer("images/good.png")["predictions"]
    seen = set().union(*predictions) - {"class_id", "class_name", "confidence"}
    assert seen == fields


@pytest.mark.parametrize("task_type", TASKS_WITH_PLACES)
def test_places_lie_inside_the_image(predictors: MakePredictor, task_type: str) -> None:
    predictions = predictors(task_type).answer("images/good.png")["predictions"]
    for one in predictions:
        points = [one["box"][:2], one["box"][2:], *one.get("polygon", [])]
        points += [[point["x"], point["y"]] for point in one.get("keypoints", [])]
        assert (np.array(points) >= 0).all() and (np.array(points) <= [WIDTH, HEIGHT]).all()
        assert one["box"][0] <= one["box"][2] and one["box"][1] <= one["box"][3]


def test_rotated_boxes_are_rectangles(predictors: MakePredictor) -> None:
    for one in predictors("oriented_object_detection").answer("images/good.png")["predictions"]:
        corners = np.array(one["rotated_box"])
        assert corners[0] + corners[2] == pytest.approx(corners[1] + corners[3], abs=0.05)


@pytest.mark.parametrize("task_type", predicting.CONFIGS)
def test_same_answer_if_the_image_lies_on_its_side(predictors: MakePredictor, task_type: str) -> None:
    upright = predictors(task_type).answer("images/good.png")
    sideways = predictors(task_type).answer("images/sideways.png")
    assert (sideways["width"], sideways["height"]) == (WIDTH, HEIGHT)
    assert sideways["predictions"] == upright["predictions"]


def test_boxes_scale_with_the_image(bucket: Path, predictors: MakePredictor) -> None:
    picture = predicting.noise_picture(WIDTH, HEIGHT).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST)
    put_picture(bucket, "images/double.png", picture)
    single = predictors("oriented_object_detection").answer("images/good.png")["predictions"][0]
    double = predictors("oriented_object_detection").answer("images/double.png")["predictions"][0]
    assert np.array(double["box"]) == pytest.approx(2 * np.array(single["box"]), abs=8)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_image_is_answered(bucket: Path, predictors: MakePredictor, mode: str) -> None:
    grey = predicting.noise_picture(WIDTH, HEIGHT).convert("L")
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    picture = sixteen if mode == "I;16" else grey.convert(mode)
    put_picture(bucket, "images/kind.tiff", picture)
    put_picture(bucket, "images/grey.png", grey)
    answer = check(predictors("image_classification").answer("images/kind.tiff"))
    same = predictors("image_classification").answer("images/grey.png")
    if mode != "1":
        assert answer["predictions"] == same["predictions"]


def test_fewer_predictions_if_the_confidence_is_higher(predictors: MakePredictor) -> None:
    predictor = predictors("image_classification")
    everything = predictor.answer("images/good.png")["predictions"]
    middle = everything[1]["confidence"]
    answer = predictor.answer_line(json.dumps({"image": "images/good.png", "confidence": middle}))
    assert check(answer)["predictions"] == [one for one in everything if one["confidence"] >= middle] != everything


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("images/broken.png", "IMAGE_INVALID"),
        ("images/text.jpg", "IMAGE_INVALID"),
        ("images/none.jpg", "IMAGE_MISSING"),
        ("../outside.jpg", "IMAGE_MISSING"),
        ("", "IMAGE_MISSING"),
    ],
)
def test_error_object_if_the_image_cannot_be_read(predictors: MakePredictor, key: str, code: str) -> None:
    answer = check(predictors("object_detection").answer(key))
    assert answer["image"] == key and answer["error"]["code"] == code


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '"images/good.png"',
        "{}",
        '{"image": "a", "confidence": 2}',
        '{"image": "a", "confidence": null}',
    ],
)
def test_error_object_if_the_request_is_malformed(predictors: MakePredictor, line: str) -> None:
    answer = check(predictors("object_detection").answer_line(line))
    assert answer["error"]["code"] == "REQUEST_INVALID"


def test_nothing_of_the_images_is_left_behind(predictors: MakePredictor) -> None:
    predictor = predictors("object_detection")
    for key in ("images/good.png", "images/broken.png"):
        predictor.answer(key)
    assert list((predictor.folder / "images").iterdir()) == []


@pytest.mark.parametrize("text", ['["a.jpg", "b c.jpg"]', "a.jpg\n\n  b c.jpg \r\n"])
def test_keys_are_listed_as_json_or_lines(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    put_bytes(bucket, "lists/list", text.encode())
    assert keys_of(bucket, tmp_path, monkeypatch) == ["a.jpg", "b c.jpg"]


@pytest.mark.parametrize("text", ["", "[]", "[1]", "[", '[{"image": "a.jpg"}]'])
def test_failure_if_the_list_holds_no_keys(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    put_bytes(bucket, "lists/list", text.encode())
    with pytest.raises(TrainerFailure, match="lists/list") as caught:
        keys_of(bucket, tmp_path, monkeypatch)
    assert caught.value.code == "IMAGES_INVALID"


def keys_of(bucket: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in environment_for(bucket, "object_detection", IMAGES_FROM="lists/list").items():
        monkeypatch.setenv(name, value)
    return Predictor(load_predict_config(), folder).keys()


def test_every_problem_is_named_if_variables_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "TASK_TYPE": "flying",
        "CHECKPOINT": "model.yaml",
        "IMAGE": "a.jpg",
        "IMAGES_FROM": "list",
        "CONFIDENCE": "1.5",
        "IMAGE_SIZE": "big",
        "STORAGE_TYPE": "floppy",
        "STORAGE_BUCKET": "",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_predict_config()
    said = "\n".join(caught.value.problems)
    expected = ("'flying'", "'model.yaml'", "both of IMAGE and IMAGES_FROM", "CONFIDENCE=1.5", "'big'", "'floppy'")
    assert all(problem in said for problem in (*expected, "STORAGE_BUCKET"))


def test_defaults_if_little_is_set(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_for(bucket, "pose_estimation", IMAGE="a.jpg", DEVICE="").items():
        monkeypatch.setenv(name, value)
    config = load_predict_config()
    assert (config.confidence, config.image_size, config.device, config.serve) == (0.25, None, "", False)


def test_exit_2_and_every_problem_on_stderr_if_nothing_is_set(tmp_path: Path) -> None:
    ended = run_predict({}, tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    needed = ("TASK_TYPE", "CHECKPOINT", "IMAGE", "STORAGE_TYPE", "STORAGE_BUCKET")
    assert all(name in ended.stderr for name in needed)


def test_exit_1_and_the_failure_as_json_if_the_checkpoint_is_missing(bucket: Path, tmp_path: Path) -> None:
    more = {"IMAGE": "images/good.png", "CHECKPOINT": "checkpoints/none.pt"}
    ended = run_predict(environment_for(bucket, "object_detection") | more, tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    failure = json.loads(ended.stderr.splitlines()[-1])["error"]
    assert failure["code"] == "CHECKPOINT_MISSING" and "checkpoints/none.pt" in failure["message"]


@pytest.mark.slow
def test_exit_1_if_the_checkpoint_is_for_another_task(bucket: Path, tmp_path: Path) -> None:
    more = {"IMAGE": "images/good.png", "CHECKPOINT": "checkpoints/pose_estimation.pt"}
    ended = run_predict(environment_for(bucket, "object_detection") | more, tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert json.loads(ended.stderr.splitlines()[-1])["error"]["code"] == "CHECKPOINT_INVALID"


def test_broken_images_among_good_ones_harm_only_themselves(bucket: Path, tmp_path: Path) -> None:
    keys = ["images/broken.png", "images/good.png", "images/none.jpg"]
    put_bytes(bucket, "lists/mixed", json.dumps(keys).encode())
    ended = run_predict(environment_for(bucket, "object_detection", IMAGES_FROM="lists/mixed"), tmp_path)
    answers = [check(answer) for answer in answers_of(ended.stdout)]
    assert ended.returncode == 0, ended.stderr
    assert [answer["image"] for answer in answers] == keys
    assert ["error" in answer for answer in answers] == [True, False, True]
    assert "load" in answers[1]["milliseconds"]


@pytest.mark.slow
def test_exit_1_if_no_image_could_be_answered(bucket: Path, tmp_path: Path) -> None:
    ended = run_predict(environment_for(bucket, "object_detection", IMAGE="images/broken.png"), tmp_path)
    assert ended.returncode == 1
    assert [check(one)["error"]["code"] for one in answers_of(ended.stdout)] == ["IMAGE_INVALID"]


def test_serving_answers_every_line_with_one_load(bucket: Path, tmp_path: Path) -> None:
    good = json.dumps({"image": "images/good.png", "confidence": 0})
    environment = environment_for(bucket, "image_classification", PREDICT_MODE="serve", WORK_DIR=str(tmp_path / "new"))
    ended = run_predict(environment, tmp_path, f"{good}\nnonsense\n\n{good}\n")
    first, error, second = (check(answer) for answer in answers_of(ended.stdout))
    assert ended.returncode == 0, ended.stderr
    assert first["predictions"] == second["predictions"] != []
    assert error["error"]["code"] == "REQUEST_INVALID"
    assert "load" in first["milliseconds"] and "load" not in second["milliseconds"]
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.slow
def test_standard_output_holds_only_answers_if_unicode_names(bucket: Path, tmp_path: Path) -> None:
    data = io.BytesIO()
    predicting.noise_picture(WIDTH, HEIGHT).save(data, "png")
    put_bytes(bucket, "images/공장 1.png", data.getvalue())
    environment = environment_for(bucket, "image_classification", IMAGE="images/공장 1.png", CONFIDENCE="0")
    ended = run_predict(environment | {"LC_ALL": "C"}, tmp_path)
    (answer,) = answers_of(ended.stdout)
    assert answer["image"] == "images/공장 1.png"
    assert "영" in {one["class_name"] for one in answer["predictions"]}
