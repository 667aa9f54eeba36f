"""What every trainer shares, by copy: configuration, reporting and storage.

Depends on `requests`, `obstore` and the standard library alone. The contract it keeps is docs/trainer-contract.md.
(The interface; bodies follow.)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TASK_TYPES = (
    "object_detection",
    "instance_segmentation",
    "pose_estimation",
    "oriented_object_detection",
    "image_classification",
)


class ConfigError(Exception):
    """Some variables are missing or malformed; `problems` names each with its value. Exit 2."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class TrainerFailure(Exception):
    """This attempt cannot go on, for a reason with a stable code. Reported as `failed`; exit 1.

    `raise TrainerFailure(...) from error` puts the traceback of `error` into the report.
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


class Superseded(Exception):
    """Someone newer owns the job: stop at once, touch storage no more. Exit 4."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything the environment says about one attempt."""

    job_id: int
    task_type: str
    model_name: str
    dataset_id: str
    dataset_version: int | None
    dataset_sha256: str | None
    epochs: int
    batch_size: int
    learning_rate: float
    image_size: int | None
    device: str | None
    workers: int | None
    seed: int | None
    weights: str
    hyperparameters: dict[str, Any]
    attempt: int
    resume: str | None
    resume_sha256: str | None
    save_period: int | None
    grace_period: int
    callback_url: str | None
    token: str | None = field(repr=False)
    work_dir: Path
    cache_dir: Path
    cache_limit_bytes: int
    mlflow_tracking_uri: str | None
    mlflow_experiment_name: str | None
    mlflow_run_id: str | None


def check_required_env(names: Sequence[str], problems: list[str]) -> dict[str, str]:
    """The values of `names`; a problem for each that is missing or empty."""
    raise NotImplementedError


def get_env_int(name: str, problems: list[str], default: int | None = None, minimum: int | None = None) -> int | None:
    raise NotImplementedError


def get_env_float(
    name: str, problems: list[str], default: float | None = None, above: float | None = None
) -> float | None:
    raise NotImplementedError


def load_config() -> TrainConfig:
    """The attempt that the environment describes. Raises ConfigError with every problem at once."""
    raise NotImplementedError


class Reporter:
    """Events go to WORK_DIR/outbox.jsonl first and leave from a background thread; training never waits."""

    def __init__(self, config: TrainConfig) -> None: ...

    def start(self) -> None:
        """Start sending, the heartbeat and the system reports."""

    def emit(self, type: str, **fields: Any) -> None:
        """Append one event. None fields are left out; non-finite numbers travel as null.

        Raises TrainerFailure DISK_FULL when the outbox cannot be written (the event is still sent from memory).
        """

    def progress(self, phase: str, *, force: bool = False, **fields: Any) -> None:
        """At most one a second within a phase and epoch, unless forced."""

    def warning(self, code: str, message: str) -> None: ...

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report that a phase begins and, when it ended well, its seconds."""
        yield

    def request_stop(self) -> None:
        """Safe in a signal handler."""

    @property
    def should_stop(self) -> bool:
        """Leave the loop at the batch boundary: asked by SIGTERM, by the platform, or superseded."""
        raise NotImplementedError

    @property
    def superseded(self) -> bool:
        raise NotImplementedError

    def raise_if_superseded(self) -> None: ...

    def close(self, timeout: float | None = None) -> None:
        """Send what is left for at most `timeout` seconds (default: half the grace period)."""


def notify_status(reporter: Reporter, status: str, failure: TrainerFailure | None = None) -> None:
    """`running`, `completed`, `failed` (with its failure) or `stopped`."""


def send_training_metrics(
    reporter: Reporter, epoch: int, values: Mapping[str, float], step: int | None = None
) -> None: ...


def send_validation_result(
    reporter: Reporter,
    epoch: int,
    primary: tuple[str, float],
    metrics: Mapping[str, float],
    per_class: Sequence[Mapping[str, Any]] = (),
    artifact: str | None = None,
) -> None:
    """`primary` is (name, value); a row of `per_class` has class_id, class_name and numbers."""


def get_storage_client() -> Any:
    """The obstore store at the bucket that os.environ names. Raises ConfigError."""
    raise NotImplementedError


def download_dataset(store: Any, config: TrainConfig, progress: Callable[[int, int], None] | None = None) -> Path:
    """The extracted folder in CACHE_DIR; `progress(done_bytes, total_bytes)`. In use until this process ends."""
    raise NotImplementedError


def download_weights(store: Any, key: str, folder: Path) -> Path:
    """Raises TrainerFailure WEIGHTS_MISSING."""
    raise NotImplementedError


def download_checkpoint(store: Any, key: str, folder: Path, sha256: str | None = None) -> Path:
    """Raises TrainerFailure CHECKPOINT_MISSING, or RESUME_INVALID when the digest differs."""
    raise NotImplementedError


def download_resume(store: Any, config: TrainConfig) -> Path | None:
    """The checkpoint that RESUME names, in WORK_DIR/resume; `auto` follows last.json, None when there is none."""
    raise NotImplementedError


def download_image(store: Any, key: str, folder: Path) -> Path:
    """Raises TrainerFailure IMAGE_MISSING."""
    raise NotImplementedError


def read_pointer(store: Any, config: TrainConfig, kind: str) -> dict[str, Any] | None:
    """What best.json or last.json says (contracts/pointer.schema.json), None when there is none."""
    raise NotImplementedError


def upload_checkpoint(
    store: Any,
    config: TrainConfig,
    reporter: Reporter,
    kind: str,
    path: Path,
    epoch: int,
    metrics: Mapping[str, float],
) -> str:
    """Commit a checkpoint and report it; its key. Raises Superseded when fenced, TrainerFailure STORAGE_ERROR."""
    raise NotImplementedError


def upload_artifact(
    store: Any,
    config: TrainConfig,
    reporter: Reporter,
    kind: str,
    name: str,
    path: Path,
    epoch: int | None = None,
) -> str:
    """Store artifacts/job-{id}/attempt-{n}/{name} and report it; its key."""
    raise NotImplementedError


def publish_best(store: Any, config: TrainConfig, reporter: Reporter) -> str | None:
    """Copy the best checkpoint to checkpoints/job-{id}/best.{ext}; its key, None when there is no best."""
    raise NotImplementedError
