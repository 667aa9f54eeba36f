"""A training that is continued: the same numbers as without the interruption, and never silently from the start."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tinysets import store_dataset
from trainings import Event, Training, environment_for, train_here

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

CHOSEN = json.dumps({"ema_decay": 0.9, "mixup": 0.2, "patience": 0})
SHAPE = {"EPOCHS": "4", "SEED": "5", "SAVE_PERIOD": "1", "HYPERPARAMETERS": CHOSEN}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Four epochs in one go, its states kept: as if it had been killed after each."""
    folder = tmp_path_factory.mktemp("whole")
    store_dataset(folder / "bucket")
    with pytest.MonkeyPatch.context() as patch:
        import checkpoint

        save = checkpoint.save_state

        def keep(path: Path, state: Event) -> None:
            save(path, state)
            shutil.copyfile(path, folder / "bucket" / f"after-{state['epoch']}.pt")

        patch.setattr(checkpoint, "save_state", keep)
        training = train_here(folder, environment_for(folder, **SHAPE))
    assert training.exit_code == 0, training.failure
    return training


def resume(folder: Path, key: str, **changes: str) -> Training:
    return train_here(folder, environment_for(folder, **{"ATTEMPT": "2", "RESUME": key, **SHAPE, **changes}))


@pytest.fixture
def again(whole: Training, tmp_path: Path) -> Path:
    shutil.copytree(whole.bucket, tmp_path / "bucket", ignore=shutil.ignore_patterns("job-12"))
    return tmp_path


def failure_in(folder: Path, key: str, **changes: str) -> Event:
    return resume(folder, key, **changes).failure


def test_continued_training_gives_the_same_numbers(whole: Training, again: Path) -> None:
    continued = resume(again, "after-2.pt")
    assert continued.exit_code == 0
    assert continued.losses == whole.losses[2:]
    states = [torch.load(one.bucket / one.pointer("last")["key"], weights_only=True) for one in (whole, continued)]
    for part in ("model", "ema"):
        assert all(torch.equal(value, states[1][part][name]) for name, value in states[0][part].items())
    assert states[0]["random"] == states[1]["random"]


def test_only_results_are_made_if_all_epochs_are_completed(whole: Training, again: Path) -> None:
    continued = resume(again, "after-4.pt")
    assert continued.exit_code == 0 and continued.losses == []
    assert continued.pointer("best")["metrics"]["top1"] == whole.pointer("last")["metrics"]["top1"]


def test_stored_best_is_kept_if_it_is_better(whole: Training, again: Path) -> None:
    shutil.copytree(whole.bucket / "checkpoints", again / "bucket/checkpoints", dirs_exist_ok=True)
    pointer = again / "bucket/checkpoints/job-12/best.json"
    stored = json.loads(pointer.read_text())
    pointer.write_text(json.dumps({**stored, "metrics": {**stored["metrics"], "top1": 2.0}}))
    continued = resume(again, "after-2.pt")
    assert continued.exit_code == 0 and continued.pointer("best")["key"] == stored["key"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"EPOCHS": "9"}, "epochs was 4 and is 9"),
        ({"LEARNING_RATE": "0.5"}, "learning_rate was 0.003 and is 0.5"),
        ({"MODEL_NAME": "test_resnet"}, "model_name was 'test_convnext' and is 'test_resnet'"),
        ({"HYPERPARAMETERS": '{"optimizer": "sgd"}'}, "optimizer was 'adamw' and is 'sgd'"),
    ],
)
def test_resume_invalid_if_parameters_are_others(again: Path, changes: dict[str, str], words: str) -> None:
    failure = failure_in(again, "after-2.pt", **changes)
    assert failure["code"] == "RESUME_INVALID" and words in failure["message"]


def test_resume_invalid_if_classes_are_others(again: Path) -> None:
    store_dataset(again / "bucket", prefix="dark ")
    failure = failure_in(again, "after-2.pt")
    assert failure["code"] == "RESUME_INVALID" and "dark blue" in failure["message"]


def test_resume_invalid_if_it_is_weights_alone(whole: Training, again: Path) -> None:
    shutil.copyfile(whole.bucket / whole.pointer("best")["key"], again / "bucket/best.safetensors")
    failure = failure_in(again, "best.safetensors")
    assert failure["code"] == "RESUME_INVALID" and "weights alone" in failure["message"]


def test_resume_invalid_if_a_part_is_missing_or_does_not_fit(whole: Training, again: Path) -> None:
    state = torch.load(again / "bucket/after-2.pt", weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "optimizer"}, again / "bucket/less.pt")
    torch.save({**state, "optimizer": {"state": {}, "param_groups": []}}, again / "bucket/other.pt")
    (again / "bucket/broken.pt").write_bytes(b"no state")
    expected = {"less.pt": "no optimizer", "other.pt": "does not fit", "broken.pt": "cannot be loaded"}
    for attempt, (key, words) in enumerate(expected.items(), 2):
        failure = failure_in(again, key, ATTEMPT=str(attempt))
        assert failure["code"] == "RESUME_INVALID" and words in failure["message"]


def test_checkpoint_missing_if_it_is_not_there(again: Path) -> None:
    assert failure_in(again, "checkpoints/no.pt")["code"] == "CHECKPOINT_MISSING"
