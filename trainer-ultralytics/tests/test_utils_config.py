"""Configuration: every problem at once, by name and value."""

import json
from pathlib import Path

import pytest
import utils
from conftest import TOKEN
from utils import ConfigError, TrainConfig, get_env_float, get_env_int, load_config

VALID = {
    "JOB_ID": "12",
    "TASK_TYPE": "object_detection",
    "MODEL_NAME": "yolo11n",
    "DATASET_ID": "digits",
    "EPOCHS": "3",
    "BATCH_SIZE": "8",
    "LEARNING_RATE": "0.003",
    "STORAGE_TYPE": "local",
    "STORAGE_BUCKET": "vision",
}
KNOWN = {
    *utils.REQUIRED,
    *(name for names in utils.STORAGE_VARIABLES.values() for name in names),
    *[
        "STORAGE_TYPE",
        "STORAGE_BUCKET",
        "DATASET_VERSION",
        "DATASET_SHA256",
        "IMAGE_SIZE",
        "DEVICE",
        "WORKERS",
        "SEED",
        "WEIGHTS",
    ],
    *[
        "HYPERPARAMETERS",
        "ATTEMPT",
        "RESUME",
        "RESUME_SHA256",
        "SAVE_PERIOD",
        "GRACE_PERIOD",
        "CALLBACK_URL",
        "INTERNAL_AUTH_TOKEN",
    ],
    *["MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "WORK_DIR", "CACHE_DIR", "CACHE_LIMIT_BYTES"],
}


@pytest.fixture(autouse=True)
def valid_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in VALID.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STORAGE_PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def load_with(monkeypatch: pytest.MonkeyPatch, **values: str | None) -> TrainConfig:
    for name, value in values.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    return load_config()


def problems_with(monkeypatch: pytest.MonkeyPatch, **values: str | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_with(monkeypatch, **values)
    return caught.value.problems


def test_defaults_suit_a_terminal_if_only_the_required_is_set(tmp_path: Path) -> None:
    config = load_config()
    assert (config.job_id, config.epochs, config.batch_size, config.learning_rate) == (12, 3, 8, 0.003)
    assert (config.attempt, config.grace_period, config.weights, config.hyperparameters) == (1, 30, "pretrained", {})
    assert (config.callback_url, config.resume, config.image_size, config.seed) == (None, None, None, None)
    assert config.work_dir == tmp_path / "runs/job-12/attempt-1"
    assert config.cache_dir == tmp_path / "home/.cache/vision-platform"
    assert config.cache_limit_bytes == 50 * 2**30
    assert config.work_dir.is_dir()


def test_every_value_is_read_if_all_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = load_with(
        monkeypatch,
        DATASET_VERSION="2",
        DATASET_SHA256="a" * 64,
        IMAGE_SIZE="320",
        DEVICE="cuda:0",
        WORKERS="0",
        SEED="0",
        WEIGHTS="weights/ultralytics/yolo11n.pt",
        HYPERPARAMETERS='{"mosaic": 0.5}',
        ATTEMPT="3",
        RESUME="checkpoints/job-12/attempt-2/4-aaaaaaaaaaaa.pt",
        RESUME_SHA256="b" * 64,
        SAVE_PERIOD="5",
        GRACE_PERIOD="60",
        CALLBACK_URL="http://127.0.0.1:8000/internal/training/12/",
        INTERNAL_AUTH_TOKEN=TOKEN,
        WORK_DIR=str(tmp_path / "work"),
        CACHE_DIR=str(tmp_path / "cache"),
        CACHE_LIMIT_BYTES="1000",
        MLFLOW_RUN_ID="abc",
    )
    assert (config.dataset_version, config.dataset_sha256, config.image_size) == (2, "a" * 64, 320)
    assert (config.device, config.workers, config.seed) == ("cuda:0", 0, 0)
    assert (config.weights, config.hyperparameters) == ("weights/ultralytics/yolo11n.pt", {"mosaic": 0.5})
    assert (config.attempt, config.resume_sha256, config.save_period, config.grace_period) == (3, "b" * 64, 5, 60)
    assert (config.callback_url, config.token) == ("http://127.0.0.1:8000/internal/training/12", TOKEN)
    assert (config.work_dir, config.cache_limit_bytes, config.mlflow_run_id) == (tmp_path / "work", 1000, "abc")


def test_all_missing_variables_are_named_at_once_if_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = problems_with(monkeypatch, **dict.fromkeys(VALID))
    assert problems == [f"{name} is missing" for name in VALID]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("JOB_ID", "twelve", "JOB_ID='twelve' is not a whole number ≥ 1"),
        ("EPOCHS", "0", "EPOCHS='0' is not a whole number ≥ 1"),
        ("EPOCHS", "1e3", "EPOCHS='1e3' is not a whole number ≥ 1"),
        ("BATCH_SIZE", "many", "BATCH_SIZE='many' is not a whole number ≥ 1"),
        ("BATCH_SIZE", "2.5", "BATCH_SIZE='2.5' is not a whole number ≥ 1"),
        ("BATCH_SIZE", "9" * 5000, f"BATCH_SIZE={'9' * 5000!r} is not a whole number ≥ 1"),
        ("LEARNING_RATE", "nan", "LEARNING_RATE='nan' is not a number > 0"),
        ("LEARNING_RATE", "-inf", "LEARNING_RATE='-inf' is not a number > 0"),
        ("LEARNING_RATE", "0", "LEARNING_RATE='0' is not a number > 0"),
        ("LEARNING_RATE", "fast", "LEARNING_RATE='fast' is not a number > 0"),
        ("WORKERS", "-1", "WORKERS='-1' is not a whole number ≥ 0"),
        ("GRACE_PERIOD", "soon", "GRACE_PERIOD='soon' is not a whole number ≥ 1"),
        ("TASK_TYPE", "telepathy", f"TASK_TYPE='telepathy' is not one of {', '.join(utils.TASK_TYPES)}"),
        ("STORAGE_TYPE", "floppy", "STORAGE_TYPE='floppy' is not one of local, minio, r2"),
        ("STORAGE_BUCKET", "../secrets", "STORAGE_BUCKET='../secrets' is not a bucket's name"),
        ("STORAGE_PATH", "/does/not/exist", "STORAGE_PATH='/does/not/exist' is not a folder"),
        ("DATASET_ID", "../other", "DATASET_ID='../other' is not a name"),
        ("DATASET_SHA256", "abc", "DATASET_SHA256='abc' is not 64 lowercase hex digits"),
        ("RESUME_SHA256", "A" * 64, f"RESUME_SHA256={'A' * 64!r} is not 64 lowercase hex digits"),
        ("RESUME", "../../last.pt", "RESUME='../../last.pt' is not auto or a storage key"),
        ("WEIGHTS", "/etc/passwd", "WEIGHTS='/etc/passwd' is not scratch, pretrained or a storage key"),
        ("HYPERPARAMETERS", "[1]", "HYPERPARAMETERS='[1]' is not a JSON object"),
        ("HYPERPARAMETERS", "{mosaic: 1}", "HYPERPARAMETERS='{mosaic: 1}' is not a JSON object"),
        ("HYPERPARAMETERS", '{"a": NaN}', "HYPERPARAMETERS='{\"a\": NaN}' is not a JSON object"),
        ("WORK_DIR", "/proc/nowhere", "WORK_DIR='/proc/nowhere' cannot be created: No such file or directory"),
    ],
)
def test_the_problem_names_variable_and_value_if_it_is_malformed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    assert problems_with(monkeypatch, **{name: value}) == [problem]


def test_problems_are_collected_if_several_variables_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = problems_with(monkeypatch, EPOCHS="0", BATCH_SIZE="many", MODEL_NAME=None, STORAGE_PATH=None)
    assert sorted(problems) == [
        "BATCH_SIZE='many' is not a whole number ≥ 1",
        "EPOCHS='0' is not a whole number ≥ 1",
        "MODEL_NAME is missing",
        "STORAGE_PATH is missing",
    ]


def test_nothing_is_created_if_the_configuration_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    problems_with(monkeypatch, EPOCHS="0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("storage_type", "names"), [item for item in utils.STORAGE_VARIABLES.items()])
def test_the_variables_of_the_chosen_storage_are_required_if_none_is_set(
    monkeypatch: pytest.MonkeyPatch, storage_type: str, names: tuple[str, ...]
) -> None:
    problems = problems_with(monkeypatch, STORAGE_TYPE=storage_type, STORAGE_PATH=None)
    assert problems == [f"{name} is missing" for name in names]


def test_the_endpoint_is_refused_without_repeating_it_if_it_holds_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"MINIO_ENDPOINT": "http://me:hunter2@minio:9000", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"}
    problems = problems_with(monkeypatch, STORAGE_TYPE="minio", **values)
    assert problems == ["MINIO_ENDPOINT must not hold a user or password"]


@pytest.mark.parametrize("url", ["backend:8000", "ftp://backend/", "http://", "http://backend:port/"])
def test_the_callback_is_refused_if_it_is_no_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    problems = problems_with(monkeypatch, CALLBACK_URL=url, INTERNAL_AUTH_TOKEN=TOKEN)
    assert problems == [f"CALLBACK_URL={url!r} is not an http:// or https:// address"]


@pytest.mark.parametrize("token", [None, "two words", "line\nbreak"])
def test_the_token_is_asked_for_without_repeating_it_if_it_is_missing_or_malformed(
    monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.setenv("CALLBACK_URL", "http://backend:8000")
    monkeypatch.setenv("INTERNAL_AUTH_TOKEN", token or "")
    assert problems_with(monkeypatch) == [
        "INTERNAL_AUTH_TOKEN is missing or malformed; CALLBACK_URL needs the token of this attempt"
    ]


def test_the_token_is_not_shown_if_the_configuration_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_with(monkeypatch, CALLBACK_URL="http://backend:8000", INTERNAL_AUTH_TOKEN=TOKEN)
    assert TOKEN not in repr(config)


def test_defaults_are_used_if_optional_numbers_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[str] = []
    assert get_env_int("CONFIDENCE_STEPS", problems, 7) == 7
    assert get_env_float("CONFIDENCE", problems, 0.25) == 0.25
    monkeypatch.setenv("CONFIDENCE", json.dumps(0.5))
    assert get_env_float("CONFIDENCE", problems, 0.25) == 0.5
    assert problems == []
