"""A job that was killed, stopped and interrupted, against jobs of the same parameters that nothing disturbed.

No detector finds anything after the seconds that a test has: of it the loss is compared, of a classifier the metric.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from catalogue import load_catalogue
from tinysets import store_dataset
from trainings import Event, Training, ask_to_stop, environment_for, interrupt, kill, load_content, train, train_here

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # those of other people's packages

SEED, SEEDS = 7, (1, 2, 3, 4)
HYPERPARAMETERS = {"optimizer": "AdamW", "warmup_epochs": 1, "cos_lr": True, "erasing": 0, "scale": 0}
STOPS = (kill, ask_to_stop, interrupt)


@dataclass(frozen=True)
class Task:
    name: str
    epochs: int
    splits: dict[str, int]
    metric: str
    resolution: float  # how much of the metric one image more or less can make
    nbs: int  # with batches of 2: a step of the optimizer every batch, or every second one


TASKS = (
    Task("object_detection", 8, {"train": 8, "val": 4}, "val/box_loss", 0.0, nbs=2),
    Task("image_classification", 12, {"train": 16, "val": 8}, "top1", 1 / 8, nbs=4),
)


@dataclass(frozen=True)
class Job:
    """What is known of a job once it is completed; of each epoch, what the newest attempt said."""

    attempts: list[Training]
    updates: int

    def by_epoch(self, name: str) -> dict[int, float]:
        values = (event for attempt in self.attempts for event in attempt.of_type("metrics"))
        found = {event["epoch"]: event["values"][name] for event in values if name in event["values"]}
        return found or {epoch: metrics[name] for epoch, metrics in self.validations.items()}

    @property
    def validations(self) -> dict[int, Event]:
        events = (event for attempt in self.attempts for event in attempt.of_type("validation"))
        return {event["epoch"]: event["metrics"] for event in events if "artifact" not in event}

    @property
    def best(self) -> Event:
        return self.attempts[-1].pointer("best")


def environment(folder: Path, task: Task, attempt: int, seed: int, **changes: str) -> dict[str, str]:
    return environment_for(
        folder,
        task.name,
        ATTEMPT=str(attempt),
        EPOCHS=str(task.epochs),
        BATCH_SIZE="2",
        LEARNING_RATE="0.002",
        SAVE_PERIOD="1",
        SEED=str(seed),
        HYPERPARAMETERS=json.dumps(HYPERPARAMETERS | {"nbs": task.nbs}),
        **changes,
    )


def job_of(attempts: list[Training]) -> Job:
    last = attempts[-1]
    assert last.exit_code == 0, last.output
    return Job(attempts, int(load_content(last.bucket / last.pointer("last")["key"])["updates"]))


def newest_last(attempt: Training) -> Event:
    """What the platform would continue from: the newest `last` in the outbox, which it reads to its end."""
    lines = (attempt.work_dir / "outbox.jsonl").read_text().splitlines()
    events = [json.loads(line.partition(" ")[2]) for line in lines]
    return next(event for event in reversed(events) if event["type"] == "checkpoint" and event["kind"] == "last")


def stored(events: list[Event]) -> bool:
    return any(event["type"] == "checkpoint" and event["kind"] == "last" for event in events)


@pytest.fixture(scope="module", params=TASKS, ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> Task:
    chosen: Task = request.param
    return chosen


@pytest.fixture(scope="module")
def undisturbed(task: Task, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Job]:
    """By seed."""
    jobs = {}
    for seed in (SEED, *SEEDS):
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        store_dataset(folder / "bucket", task.name, splits=task.splits)
        jobs[seed] = job_of([train_here(folder, environment(folder, task, 1, seed))])
    return jobs


@pytest.fixture(scope="module")
def disturbed(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Each attempt ends in another way once its first `last` is stored; the last one completes."""
    folder = tmp_path_factory.mktemp("disturbed")
    store_dataset(folder / "bucket", task.name, splits=task.splits)
    attempts: list[Training] = []
    resume: Mapping[str, Any] = {}
    for number, stop in enumerate((*STOPS, None), 1):
        variables = environment(folder, task, number, SEED, **resume)
        attempts.append(train(folder, variables, stored if stop else None, stop))
        last = newest_last(attempts[-1])
        resume = {"RESUME": last["key"], "RESUME_SHA256": last["sha256"]}
    return job_of(attempts)


def test_each_attempt_ended_as_it_was_made_to(disturbed: Job) -> None:
    assert [attempt.exit_code for attempt in disturbed.attempts] == [-9, 3, 3, 0]


def test_every_epoch_is_trained_once_but_those_that_were_cut_short(disturbed: Job, task: Task) -> None:
    assert sorted(disturbed.validations) == list(range(1, task.epochs + 1))
    for before, after in zip(disturbed.attempts, disturbed.attempts[1:], strict=False):
        [first, *_] = [event["epoch"] for event in after.of_type("validation")]
        assert first == newest_last(before)["epoch"] + 1


def test_as_many_steps_of_the_optimizer_but_one_for_each_resume(
    disturbed: Job, undisturbed: dict[int, Job], task: Task
) -> None:
    assert undisturbed[SEED].updates >= task.epochs
    assert abs(disturbed.updates - undisturbed[SEED].updates) <= len(STOPS)


def test_learning_rate_follows_the_same_schedule(disturbed: Job, undisturbed: dict[int, Job], task: Task) -> None:
    expected = undisturbed[SEED].by_epoch("lr")
    assert len(set(expected.values())) == task.epochs
    assert disturbed.by_epoch("lr") == pytest.approx(expected)


def test_best_is_the_best_of_all_attempts(disturbed: Job, task: Task) -> None:
    """Of an epoch that was cut short and repeated, the better of both may be stored."""
    primary = load_catalogue()["tasks"][task.name]["primary_metric"]
    values = [metrics[primary] for metrics in disturbed.validations.values()]
    assert disturbed.best["metrics"][primary] >= max(values)


def test_it_learned_as_much_as_the_others(disturbed: Job, undisturbed: dict[int, Job], task: Task) -> None:
    """Within the range of five seeds, and as much again on each side: a sixth may lie a little outside."""
    ends = [job.by_epoch(task.metric)[task.epochs] for job in undisturbed.values()]
    margin = max(max(ends) - min(ends), task.resolution)
    assert min(ends) - margin <= disturbed.by_epoch(task.metric)[task.epochs] <= max(ends) + margin


def test_same_seed_is_the_same_until_it_is_disturbed(disturbed: Job, undisturbed: dict[int, Job]) -> None:
    assert disturbed.attempts[0].losses[0] == pytest.approx(undisturbed[SEED].attempts[0].losses[0])
