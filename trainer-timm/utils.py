"""What every trainer shares, by copy: configuration, reporting and storage.

Depends on `requests`, `obstore` and the standard library alone, so that a trainer's folder works by itself. The
contract that it keeps is docs/trainer-contract.md. It is as long as three modules because trainers copy one file.
"""

import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import random
import re
import secrets
import shutil
import stat
import subprocess
import threading
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import obstore
import requests
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store
from requests.structures import CaseInsensitiveDict

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

T = TypeVar("T")
log = logging.getLogger("trainer")

TASK_TYPES = (
    "object_detection",
    "instance_segmentation",
    "pose_estimation",
    "oriented_object_detection",
    "image_classification",
)
STORAGE_VARIABLES = {
    "local": ("STORAGE_PATH",),
    "minio": ("MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"),
    "r2": ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"),
}
REQUIRED = ("JOB_ID", "TASK_TYPE", "MODEL_NAME", "DATASET_ID", "EPOCHS", "BATCH_SIZE", "LEARNING_RATE")
KEY = r"(?!/)(?!.*(^|/)\.\.?(/|$))[^\\\x00-\x1f\x7f]{1,500}"
SHA256 = r"[0-9a-f]{64}"
MAX_EVENTS, MAX_BATCH_BYTES, MAX_CLASS_ROWS = 500, 1_000_000, 2000
RANGE_BYTES, RANGES_AT_ONCE = 32 * 2**20, 4  # of a download
PART_BYTES = 8 * 2**20  # every part of an upload but the last has this size: R2 insists


@dataclass(frozen=True)
class Pace:
    """How long things wait, in seconds; tests make them short."""

    heartbeat: float = 10.0
    system: float = 15.0
    progress: float = 1.0
    gather: float = 0.2
    first_retry: float = 0.5
    longest_retry: float = 15.0
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    download_patience: float = 120.0
    upload_patience: float = 900.0

    def backoff(self, failures: int) -> float:
        """Before retry number `failures`: doubling up to a cap, jittered so that trainers do not come back together."""
        return min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)


PACE = Pace()
PERMANENT = (PermissionError, PermissionDeniedError, UnauthenticatedError, InvalidPathError, FileNotFoundError)


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


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that nothing more fits: no space, quota, or a limit on file sizes."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in full or any(os.strerror(number) in str(error) for number in full)


# ---------------------------------------------------------------------------------------------------- configuration


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
    """The values of `names`, "" and a problem for each that is missing or empty."""
    values = {name: _optional(name) or "" for name in names}
    problems += [f"{name} is missing" for name, value in values.items() if not value]
    return values


def get_env_int(name: str, problems: list[str], default: int | None = None, minimum: int | None = None) -> int | None:
    """A whole number, or `default` where the variable is not set."""
    text = _optional(name)
    if text is None:
        return default
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    if number is None or (minimum is not None and number < minimum):
        problems.append(f"{name}={text!r} is not a whole number" + ("" if minimum is None else f" ≥ {minimum}"))
        return default
    return number


def get_env_float(
    name: str, problems: list[str], default: float | None = None, above: float | None = None
) -> float | None:
    """A finite number, or `default` where the variable is not set."""
    text = _optional(name)
    if text is None:
        return default
    number = math.nan
    with suppress(ValueError):
        number = float(text)
    if not math.isfinite(number) or (above is not None and number <= above):
        problems.append(f"{name}={text!r} is not a number" + ("" if above is None else f" > {above:g}"))
        return default
    return number


def load_config() -> TrainConfig:
    """The attempt that the environment describes. Raises ConfigError with every problem at once."""
    problems: list[str] = []
    required = check_required_env(REQUIRED, problems)
    _check_storage_env(problems)
    attempt = get_env_int("ATTEMPT", problems, 1, minimum=1) or 1
    config = TrainConfig(
        job_id=get_env_int("JOB_ID", problems, minimum=1) or 0,
        task_type=_one_of("TASK_TYPE", TASK_TYPES, problems),
        model_name=required["MODEL_NAME"],
        dataset_id=_matching("DATASET_ID", r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "a name", problems) or "",
        dataset_version=get_env_int("DATASET_VERSION", problems, minimum=1),
        dataset_sha256=_matching("DATASET_SHA256", SHA256, "64 lowercase hex digits", problems),
        epochs=get_env_int("EPOCHS", problems, minimum=1) or 0,
        batch_size=get_env_int("BATCH_SIZE", problems, minimum=1) or 0,
        learning_rate=get_env_float("LEARNING_RATE", problems, above=0) or 0.0,
        image_size=get_env_int("IMAGE_SIZE", problems, minimum=1),
        device=_optional("DEVICE"),
        workers=get_env_int("WORKERS", problems, minimum=0),
        seed=get_env_int("SEED", problems, minimum=0),
        weights=_matching("WEIGHTS", KEY, "scratch, pretrained or a storage key", problems) or "pretrained",
        hyperparameters=_json_object("HYPERPARAMETERS", problems),
        attempt=attempt,
        resume=_matching("RESUME", KEY, "auto or a storage key", problems),
        resume_sha256=_matching("RESUME_SHA256", SHA256, "64 lowercase hex digits", problems),
        save_period=get_env_int("SAVE_PERIOD", problems, minimum=1),
        grace_period=get_env_int("GRACE_PERIOD", problems, 30, minimum=1) or 30,
        callback_url=_callback_url(problems),
        token=_optional("INTERNAL_AUTH_TOKEN"),
        work_dir=_folder("WORK_DIR", f"runs/job-{required['JOB_ID']}/attempt-{attempt}", problems),
        cache_dir=_folder("CACHE_DIR", "~/.cache/vision-platform", problems),
        cache_limit_bytes=get_env_int("CACHE_LIMIT_BYTES", problems, 50 * 2**30, minimum=0) or 0,
        mlflow_tracking_uri=_optional("MLFLOW_TRACKING_URI"),
        mlflow_experiment_name=_optional("MLFLOW_EXPERIMENT_NAME"),
        mlflow_run_id=_optional("MLFLOW_RUN_ID"),
    )
    if problems:
        raise ConfigError(problems)
    return config


def _optional(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _one_of(name: str, allowed: Iterable[str], problems: list[str]) -> str:
    return _matching(name, "|".join(allowed), f"one of {', '.join(allowed)}", problems) or ""


def _matching(name: str, pattern: str, meaning: str, problems: list[str]) -> str | None:
    value = _optional(name)
    if value is not None and not re.fullmatch(pattern, value):
        problems.append(f"{name}={value!r} is not {meaning}")
    return value


def _json_object(name: str, problems: list[str]) -> dict[str, Any]:
    text = _optional(name) or "{}"
    value: Any = None
    with suppress(ValueError, RecursionError):
        value = json.loads(text, parse_constant=_refuse_constant)
    if isinstance(value, dict):
        return value
    problems.append(f"{name}={text!r} is not a JSON object")
    return {}


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _url_problem(name: str) -> str | None:
    """Why the variable is no plain http(s) address. One with a password in it is not repeated."""
    value = _optional(name) or ""
    if "@" in value:
        return f"{name} must not hold a user or password"
    with suppress(ValueError):
        parts = urlsplit(value)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return None
    return f"{name}={value!r} is not an http:// or https:// address"


def _callback_url(problems: list[str]) -> str | None:
    url = _optional("CALLBACK_URL")
    if url is None:
        return None
    if problem := _url_problem("CALLBACK_URL"):
        problems.append(problem)
    if not re.fullmatch(r"[!-~]+", _optional("INTERNAL_AUTH_TOKEN") or ""):
        problems.append("INTERNAL_AUTH_TOKEN is missing or malformed; CALLBACK_URL needs the token of this attempt")
    return url.rstrip("/")


def _folder(name: str, default: str, problems: list[str]) -> Path:
    folder = Path(_optional(name) or default).expanduser().absolute()
    if problems:
        return folder  # nothing is created for a configuration that is refused
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problems.append(f"{name}={str(folder)!r} cannot be created: {error.strerror}")
    return folder


def _check_storage_env(problems: list[str]) -> None:
    check_required_env(("STORAGE_TYPE", "STORAGE_BUCKET"), problems)
    storage_type = _one_of("STORAGE_TYPE", STORAGE_VARIABLES, problems)
    names = STORAGE_VARIABLES.get(storage_type, ())
    values = check_required_env(names, problems)
    problems += [p for name in names if name.endswith("ENDPOINT") and values[name] and (p := _url_problem(name))]
    _matching("STORAGE_BUCKET", r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", "a bucket's name", problems)
    if (path := values.get("STORAGE_PATH")) and not Path(path).expanduser().is_dir():
        problems.append(f"STORAGE_PATH={path!r} is not a folder")


# -------------------------------------------------------------------------------------------------------- reporting


class Record(NamedTuple):
    """One event in the outbox; `end` is where its line ends in the file."""

    sequence: int
    json: bytes
    end: int


class Outbox:
    """An append-only file, a line a record: CRC-32 of the JSON as 8 hex digits, a space, the JSON.

    What was written survives the death of the process: the backend reads the rest of the file. On a full disk records
    stay in memory instead, so that the failure itself can still be reported.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = 0  # everything before it is acknowledged
        self._unwritten: list[Record] = []
        self._failure: OSError | None = None
        if failure := self._write(b"") or self._end_torn_record():
            raise _failure_of(failure, f"write {path}") from failure
        self._last_sequence = max((record.sequence for record in self._records(0)), default=0)

    def append(self, event: Mapping[str, Any]) -> OSError | None:
        """Number and keep one event. Returns why it could be kept in memory only, None when it is on the disk."""
        with self._lock:
            self._last_sequence += 1
            text = _json_bytes({"sequence": self._last_sequence, **event})
            if not self._unwritten:
                self._failure = self._write(b"%08x %s\n" % (zlib.crc32(text), text))
            if self._failure:
                self._unwritten.append(Record(self._last_sequence, text, 0))
            return self._failure

    def pending(self, most: int = MAX_EVENTS) -> list[Record]:
        """The next records to send, in order: at most `most` and one batch's bytes, but at least one."""
        batch: list[Record] = []
        size = 200  # what is around them
        with self._lock:
            for record in chain(self._records(self._offset), self._unwritten):
                size += len(record.json) + 1
                if batch and (len(batch) == most or size > MAX_BATCH_BYTES):
                    break
                batch.append(record)
        return batch

    def acknowledge(self, batch: Sequence[Record], sequence: int) -> bool:
        """Move the cursor behind those of `batch` up to `sequence`; whether it moved."""
        done = [record for record in batch if record.sequence <= sequence]
        with self._lock:
            self._offset = max([self._offset, *(record.end for record in done)])
            self._unwritten = [record for record in self._unwritten if record not in done]
        return bool(done)

    def _records(self, offset: int) -> Iterator[Record]:
        with open(self.path, "rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                checksum, _, text = line.rstrip(b"\n").partition(b" ")
                if checksum == b"%08x" % zlib.crc32(text):
                    yield Record(json.loads(text)["sequence"], text, offset)

    def _end_torn_record(self) -> OSError | None:
        """A process that died within a record left no newline; that record alone is lost."""
        with open(self.path, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            return self._write(b"\n") if file.read() not in (b"", b"\n") else None

    def _write(self, line: bytes) -> OSError | None:
        """Append a line or nothing; why not, when it could not be appended."""
        try:
            with open(self.path, "ab", buffering=0) as file:
                end = file.tell()
                if file.write(line) == len(line):
                    return None
                file.truncate(end)
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return error


class Reporter:
    """Sends events to the platform from a background thread, as long as the attempt lives; training never waits.

    Only 409 and `should_stop` stop a trainer. In a forked process (a data loader's worker) it does nothing.
    """

    def __init__(self, config: TrainConfig, pace: Pace = PACE, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._pace, self._clock = config, pace, clock
        self._process = os.getpid()
        self._outbox = Outbox(config.work_dir / "outbox.jsonl")
        self._session = _http_session(config.token or "")
        self._envelope = _json_bytes({"attempt": config.attempt, "instance": secrets.token_hex(16)})[:-1]
        self._stop = self._superseded = False
        self._most = MAX_EVENTS
        self._failures = 0
        self._trouble = ""
        self._sent_at = -math.inf
        self._progressed: dict[str, tuple[Any, float]] = {}
        self._wake, self._closing, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._sender = threading.Thread(target=self._send_until_closed, name="reports", daemon=True)

    def start(self) -> None:
        """Start sending, the heartbeat and the system reports."""
        if self._config.callback_url:
            self._sender.start()
        if Path("/proc/stat").exists():
            threading.Thread(target=self._report_system, name="system", daemon=True).start()

    def emit(self, type: str, **fields: Any) -> None:
        """Append one event. Fields that are None are left out; numbers that are not finite travel as null.

        Raises TrainerFailure (DISK_FULL) when the outbox cannot be written. The event itself is then sent from memory,
        and a `status` raises nothing, so that the failure can be reported.
        """
        if os.getpid() != self._process or self._superseded:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"time": now, "type": type, **{k: _plain(v) for k, v in fields.items() if v is not None}}
        failure = self._outbox.append(event)
        if not self._config.callback_url:
            log.log(logging.DEBUG if type == "system" else logging.INFO, "%s", _readable(event))
        self._wake.set()
        if failure and type != "status":
            raise _failure_of(failure, f"write {self._outbox.path}") from failure

    def progress(self, phase: str, *, force: bool = False, **fields: Any) -> None:
        """At most one a second within a phase and epoch, unless forced."""
        now, epoch = self._clock(), fields.get("epoch")
        last_epoch, last_time = self._progressed.get(phase, (None, -math.inf))
        if force or epoch != last_epoch or now - last_time >= self._pace.progress:
            self._progressed[phase] = epoch, now
            self.emit("progress", phase=phase, **fields)

    def warning(self, code: str, message: str) -> None:
        """Something that was survived."""
        log.warning("%s: %s", code, message)
        self.emit("warning", code=code, message=message[:4000])

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report that a phase begins and, when it ended well, its seconds."""
        started = self._clock()
        self.progress(name, force=True)
        yield
        self.progress(name, force=True, seconds=round(self._clock() - started, 3))

    def request_stop(self) -> None:
        """Ask the trainer to stop. Takes no lock: safe in a signal handler."""
        self._stop = True

    @property
    def should_stop(self) -> bool:
        """Leave the loop at the batch boundary: asked by a signal, by the platform, or superseded."""
        return self._stop or self._superseded

    @property
    def superseded(self) -> bool:
        return self._superseded

    def raise_if_superseded(self) -> None:
        """Raises Superseded."""
        if self._superseded:
            raise Superseded("a newer attempt or another process owns this job")

    def patience(self, seconds: float) -> float:
        """How long something may be tried: not past the grace period once asked to stop."""
        return min(seconds, self._config.grace_period / 2) if self._stop else seconds

    def close(self, timeout: float | None = None) -> None:
        """Send what is left for at most `timeout` seconds (default: half the grace period), then stop sending."""
        if os.getpid() != self._process:
            return
        self._closing.set()
        self._wake.set()
        if self._sender.ident is not None:
            self._sender.join(self._config.grace_period / 2 if timeout is None else timeout)
            self._abandoned.set()
            if left := len(self._outbox.pending()):
                log.warning("%d or more reports could not be sent; they are kept in the outbox", left)

    def _send_until_closed(self) -> None:
        with self._session:
            while not (self._superseded or self._abandoned.is_set()):
                self._wake.clear()
                closing = self._closing.is_set()
                batch = self._outbox.pending(self._most)
                heartbeat_in = self._sent_at + self._pace.heartbeat - self._clock()
                if batch or (heartbeat_in <= 0 and not closing):
                    self._failures = 0 if self._deliver(batch) else self._failures + 1
                    self._pause(closing)
                elif closing:
                    return
                else:
                    self._wake.wait(heartbeat_in)

    def _pause(self, closing: bool) -> None:
        seconds = self._pace.backoff(self._failures) if self._failures else self._pace.gather
        if closing:
            self._abandoned.wait(min(seconds, 1.0) if self._failures else 0)
        else:
            self._closing.wait(seconds)

    def _deliver(self, batch: Sequence[Record]) -> bool:
        """One request; whether the platform took at least one record, or the heartbeat."""
        body = self._envelope + b',"events":[' + b",".join(record.json for record in batch) + b"]}"
        timeout = self._pace.connect_timeout, self._pace.read_timeout
        self._sent_at = self._clock()
        try:
            url = f"{self._config.callback_url}/events"
            response = self._session.post(url, data=body, timeout=timeout, allow_redirects=False)
            if response.status_code == 200:
                return self._obey(response.json(), batch)
        except Exception as error:  # whatever the network or the answer is, training goes on and the batch stays
            return self._fail(f"{error.__class__.__name__}: {error}"[:300])
        if response.status_code == 409:
            self._superseded = True
            log.error("the platform says that someone newer owns this job: %s", response.text[:300])
            return False
        if response.status_code == 413 and batch:
            return self._shrink(batch)
        return self._fail(f"HTTP {response.status_code}")

    def _obey(self, answer: Any, batch: Sequence[Record]) -> bool:
        acknowledged, rejected, should_stop = answer["acknowledged"], answer["rejected"], answer["should_stop"]
        refusals = [(item["sequence"], item["reason"]) for item in rejected]
        if should_stop not in (True, False) or (batch and not self._outbox.acknowledge(batch, acknowledged)):
            return self._fail(f"an answer that acknowledges nothing: {answer}"[:300])
        for sequence, reason in refusals:
            log.warning("the platform refused report %s: %s", sequence, reason)
        if should_stop and not self._stop:
            log.info("the platform asks this trainer to stop")
            self._stop = True
        if self._trouble:
            log.info("reports reach the platform again")
        self._trouble, self._most = "", MAX_EVENTS
        return True

    def _shrink(self, batch: Sequence[Record]) -> bool:
        """The batch is too large for the platform: halve it; a single record that is too large is given up."""
        self._most = max(1, len(batch) // 2)
        if len(batch) == 1:
            log.warning("report %d is too large for the platform and was dropped", batch[0].sequence)
            self._outbox.acknowledge(batch, batch[0].sequence)
        return True

    def _fail(self, trouble: str) -> bool:
        if trouble != self._trouble:
            log.warning("reports do not reach the platform (%s); they are kept and sent again", trouble)
        self._trouble = trouble
        return False

    def _report_system(self) -> None:
        before = _cpu_times()
        while not self._superseded and not self._closing.wait(self._pace.system):
            after = _cpu_times()
            with suppress(TrainerFailure, OSError):  # a full disk is the training thread's to raise
                self.emit("system", **_system_report(before, after, self._config.work_dir))
            before = after


def notify_status(reporter: Reporter, status: str, failure: TrainerFailure | None = None) -> None:
    """`running`, `completed`, `failed` (with its failure) or `stopped`."""
    reporter.emit("status", status=status, failure=_failure_fields(failure) if failure else None)


def send_training_metrics(reporter: Reporter, epoch: int, values: Mapping[str, float], step: int | None = None) -> None:
    """Named numbers of one epoch, or of one step in it."""
    reporter.emit("metrics", epoch=epoch, step=step, values=values)


def send_validation_result(
    reporter: Reporter,
    epoch: int,
    primary: tuple[str, float],
    metrics: Mapping[str, float],
    per_class: Sequence[Mapping[str, Any]] = (),
    artifact: str | None = None,
) -> None:
    """`primary` is (name, value); a row of `per_class` has class_id, class_name and numbers."""
    name, value = primary
    rows = list(per_class[:MAX_CLASS_ROWS])  # the contract's limit: more would have the whole result refused
    primary_fields = {"name": name, "value": value}
    reporter.emit("validation", epoch=epoch, primary=primary_fields, metrics=metrics, per_class=rows, artifact=artifact)


def _http_session(token: str) -> requests.Session:
    """Without environment proxies or .netrc (which would replace our token)."""
    session = requests.Session()
    session.trust_env = False
    session.headers = CaseInsensitiveDict({"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    return session


def _json_bytes(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """JSON's own kinds: arrays' and tensors' scalars become numbers, and what is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _readable(event: Mapping[str, Any]) -> str:
    """One line for people: `metrics epoch=3 train/box_loss=1.42`."""
    values = {**event, **event.get("values", {}), **event.get("metrics", {})}
    shown = {k: v for k, v in values.items() if k not in ("type", "time", "values", "metrics", "per_class")}
    words = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
    return " ".join((event["type"], *words))


def _failure_fields(failure: TrainerFailure) -> dict[str, Any]:
    cause = "".join(traceback.format_exception(failure.__cause__)) if failure.__cause__ else None
    return {
        "code": failure.code,
        "message": failure.message[:4000],
        "hint": failure.hint and failure.hint[:4000],
        "traceback": cause and cause[-20000:],
    }


def _failure_of(error: Exception, doing: str) -> TrainerFailure:
    """What an error of the disk or the storage means for the attempt."""
    reason = str(error).partition("\n")[0][:500]  # obstore adds pages of debugging
    code, hint = "STORAGE_ERROR", "Check that the storage is up and that the STORAGE_* variables are right."
    if is_disk_full(error):
        code, hint = "DISK_FULL", "Free some space, or set WORK_DIR or CACHE_DIR to a larger disk."
    return TrainerFailure(code, f"cannot {doing}: {reason}", hint)


def _system_report(before: tuple[int, int], after: tuple[int, int], folder: Path) -> dict[str, Any]:
    busy, total = after[0] - before[0], after[1] - before[1]
    return {
        "cpu_percent": round(100 * busy / total, 1) if total > 0 else math.nan,
        "memory_bytes": _resident_bytes(os.getpid()),
        "memory_total_bytes": _memory_total(),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "gpus": _gpus(),
    }


def _cpu_times() -> tuple[int, int]:
    """(busy, all) ticks of the machine since it started."""
    ticks = [int(text) for text in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _resident_bytes(process: int) -> int:
    """Resident memory of a process and everything that it started."""
    parents, pages = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            parents[int(path.parent.name)], pages[int(path.parent.name)] = int(fields[1]), int(fields[21])
    family, found = {process}, {process}
    while found := {child for child, parent in parents.items() if parent in found}:
        family |= found
    return sum(pages.get(member, 0) for member in family) * os.sysconf("SC_PAGE_SIZE")


def _memory_total() -> int:
    """What this process may use: the machine's memory or the container's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no limit reads "max"
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return machine


def _gpus() -> list[dict[str, Any]]:
    """The GPUs that this attempt was given, as nvidia-smi sees them; none where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = shutil.which("nvidia-smi")
    if command is None or visible in ("", "-1"):
        return []
    query = "--query-gpu=index,name,utilization.gpu,memory.used,memory.total"
    arguments = [command, query, "--format=csv,noheader,nounits", *(["-i", visible] if visible else [])]
    try:
        output = subprocess.run(arguments, capture_output=True, text=True, timeout=10, check=True).stdout
        return [_gpu(line.split(", ")) for line in output.splitlines()]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.debug("nvidia-smi: %s", error)
        return []


def _gpu(fields: Sequence[str]) -> dict[str, Any]:
    index, name, *texts = fields
    percent, used, total = (int(text) if text.isdigit() else None for text in texts)  # not told reads "[N/A]"
    memory = {"memory_bytes": (used or 0) * 2**20, "memory_total_bytes": (total or 0) * 2**20}
    return {"index": int(index), "name": name[:120], "utilization_percent": percent, **memory}


# ---------------------------------------------------------------------------------------------------------- storage


def get_storage_client() -> "ObjectStore":
    """The store at the bucket that the environment names. Raises ConfigError."""
    problems: list[str] = []
    _check_storage_env(problems)
    if problems:
        raise ConfigError(problems)
    bucket = os.environ["STORAGE_BUCKET"].strip()
    storage_type = os.environ["STORAGE_TYPE"].strip()
    values = [os.environ[name].strip() for name in STORAGE_VARIABLES[storage_type]]
    if storage_type == "local":
        return LocalStore(Path(values[0]).expanduser() / bucket, mkdir=True)
    with _without_aws_variables():
        return _s3_store(bucket, "auto" if storage_type == "r2" else "us-east-1", *values)


def _s3_store(bucket: str, region: str, endpoint: str, access_key: str, secret_key: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=access_key,
        secret_access_key=secret_key,
        region=region,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": "5s",
            "read_timeout": "120s",  # from sending a part to its answer, or between two chunks of a download
            "timeout": "1day",  # of a whole download
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},  # the patience is ours
    )


@contextmanager
def _without_aws_variables() -> Iterator[None]:
    """obstore reads them all, and AWS_ENDPOINT_URL_S3 or AWS_SKIP_SIGNATURE would win over what it is given."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def download_dataset(
    store: "ObjectStore", config: TrainConfig, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The dataset's folder in CACHE_DIR, fetched, verified and extracted unless it is there; not to be written to.

    It is kept from eviction until this process ends. `progress(done_bytes, total_bytes)` may raise to give up. Raises
    TrainerFailure DATASET_MISSING, DATASET_DIGEST_MISMATCH, DATASET_INVALID, DISK_FULL or STORAGE_ERROR.
    """
    key, sha256 = _locate_dataset(store, config)
    folder = config.cache_dir / "datasets" / sha256
    folder.parent.mkdir(parents=True, exist_ok=True)
    use = open(folder.with_suffix(".lock"), "a+b")  # noqa: SIM115  (held until this process ends)
    _in_use.append(use)
    fcntl.flock(use, fcntl.LOCK_SH)
    os.utime(use.fileno())
    with open(folder.with_suffix(".fetching"), "ab") as fetching:
        fcntl.flock(fetching, fcntl.LOCK_EX)  # another attempt may be extracting the same dataset right now
        if not folder.is_dir():
            size = _fetch_dataset(store, key, folder, config.cache_limit_bytes, progress)
            use.truncate(0)
            use.write(b"%d" % size)
            use.flush()
    return folder


_in_use: list[IO[bytes]] = []  # locks on datasets: the kernel lets go of them when this process ends, however it ends


def download_weights(store: "ObjectStore", key: str, folder: Path) -> Path:
    """Raises TrainerFailure WEIGHTS_MISSING."""
    return _download(store, key, folder / Path(key).name, "WEIGHTS_MISSING")[0]


def download_checkpoint(store: "ObjectStore", key: str, folder: Path, sha256: str | None = None) -> Path:
    """Raises TrainerFailure CHECKPOINT_MISSING, or RESUME_INVALID when its digest is not `sha256`."""
    path, digest = _download(store, key, folder / Path(key).name, "CHECKPOINT_MISSING")
    if sha256 in (None, digest):
        return path
    path.unlink()
    hint = "Start without RESUME, or from another checkpoint."
    raise TrainerFailure("RESUME_INVALID", f"{key} has sha256 {digest}, not {sha256}", hint)


def download_image(store: "ObjectStore", key: str, folder: Path) -> Path:
    """Raises TrainerFailure IMAGE_MISSING."""
    return _download(store, key, folder / Path(key).name, "IMAGE_MISSING")[0]


def download_resume(store: "ObjectStore", config: TrainConfig) -> Path | None:
    """The checkpoint that RESUME names, in WORK_DIR/resume; None where there is nothing to resume.

    `auto` follows last.json, for terminals: the first run finds none and starts anew.
    """
    if config.resume is None:
        return None
    if config.resume != "auto":
        return download_checkpoint(store, config.resume, config.work_dir / "resume", config.resume_sha256)
    last = read_pointer(store, config, "last")
    if last is None:
        log.info("RESUME=auto: this job has no checkpoint yet; training starts anew")
        return None
    return download_checkpoint(store, last["key"], config.work_dir / "resume", last["sha256"])


def read_pointer(store: "ObjectStore", config: TrainConfig, kind: str) -> dict[str, Any] | None:
    """What best.json or last.json says (contracts/pointer.schema.json); None where there is none."""
    return _read_pointer(store, config, kind, PACE.download_patience)


def upload_checkpoint(
    store: "ObjectStore",
    config: TrainConfig,
    reporter: Reporter,
    kind: str,
    path: Path,
    epoch: int,
    metrics: Mapping[str, float],
) -> str:
    """Commit a checkpoint, `best` or `last`, and report it; returns its key. `path` must not change meanwhile.

    A reader who follows a pointer finds whole weights: the object is uploaded and read back before the pointer moves,
    and what it superseded is deleted after. Outlasts an outage of the storage. Raises Superseded when someone newer
    owns the job, and TrainerFailure DISK_FULL or STORAGE_ERROR.
    """
    folder, sha256 = f"checkpoints/job-{config.job_id}", _file_sha256(path)
    key = f"{folder}/attempt-{config.attempt}/{epoch}-{sha256[:12]}{path.suffix}"
    stored = {"key": key, "sha256": sha256, "size": path.stat().st_size, "epoch": epoch, "metrics": _plain(metrics)}
    pointer = _json_bytes({**stored, "attempt": config.attempt})
    _outlast(f"upload {key}", lambda: _put_verified(store, key, path, sha256), PACE.upload_patience, reporter)
    old = {name: _read_pointer(store, config, name, PACE.upload_patience, reporter) for name in ("best", "last")}
    if any(other and other["attempt"] > config.attempt for other in old.values()):
        raise Superseded(f"a newer attempt than {config.attempt} wrote the pointers in {folder}")
    _outlast(
        f"write {kind}.json", lambda: _put(store, f"{folder}/{kind}.json", pointer), PACE.upload_patience, reporter
    )
    reporter.emit("checkpoint", kind=kind, **stored)
    previous = old.pop(kind)
    if previous and previous["key"] not in (key, *(other["key"] for other in old.values() if other)):
        _delete(store, previous["key"], reporter)
    return key


def upload_artifact(
    store: "ObjectStore",
    config: TrainConfig,
    reporter: Reporter,
    kind: str,
    name: str,
    path: Path,
    epoch: int | None = None,
) -> str:
    """Store artifacts/job-{id}/attempt-{n}/{name} and report it; returns its key. Raises like upload_checkpoint."""
    key = f"artifacts/job-{config.job_id}/attempt-{config.attempt}/{re.sub(r'[^A-Za-z0-9._-]+', '-', name).lstrip('.')}"
    sha256 = _file_sha256(path)
    _outlast(f"upload {key}", lambda: _put_verified(store, key, path, sha256), PACE.upload_patience, reporter)
    size = path.stat().st_size
    reporter.emit("artifact", kind=kind, name=name[:200], key=key, sha256=sha256, size=size, epoch=epoch)
    return key


def publish_best(store: "ObjectStore", config: TrainConfig, reporter: Reporter) -> str | None:
    """Copy the best checkpoint to checkpoints/job-{id}/best.{ext}; returns its key, None when there is no best."""
    best = _read_pointer(store, config, "best", PACE.upload_patience, reporter)
    if best is None:
        return None
    key = f"checkpoints/job-{config.job_id}/best{Path(best['key']).suffix}"
    _outlast(f"copy {best['key']} to {key}", lambda: _copy(store, best["key"], key), PACE.upload_patience, reporter)
    return key


def _outlast(doing: str, operation: Callable[[], T], patience: float, reporter: Reporter | None = None) -> T:
    """Run `operation`, and again after each failure that may pass, until `patience` seconds are over."""
    started, failures = time.monotonic(), 0
    while True:
        if reporter:
            reporter.raise_if_superseded()
            patience = reporter.patience(patience)
        try:
            return operation()
        except (OSError, BaseError) as error:
            failures += 1
            pause = min(PACE.backoff(failures), 5.0)
            too_late = time.monotonic() - started + pause > patience
            failure = _failure_of(error, doing)
            if too_late or failure.code == "DISK_FULL" or _is_permanent(error):
                raise failure from error
            if failures == 1:
                log.warning("%s; trying again for %.0f s", failure.message, patience)
            time.sleep(pause)


def _is_permanent(error: Exception) -> bool:
    """Whether the storage understood and refused: asking again would be answered the same."""
    return isinstance(error, PERMANENT) or bool(re.search(r"status code: 4(?!08|29)\d\d", str(error)))


def _download(
    store: "ObjectStore", key: str, target: Path, missing: str, progress: Callable[[int, int], None] | None = None
) -> tuple[Path, str]:
    """The whole object at `target` or nothing, and its sha256. Raises TrainerFailure `missing`."""
    if not re.fullmatch(KEY, key):
        raise TrainerFailure(missing, f"{key!r} is not a storage key")
    digest = _outlast(f"download {key}", lambda: _fetch(store, key, target, progress), PACE.download_patience)
    if digest is None:
        raise TrainerFailure(missing, f"{key} is not in the storage", "Check the key, STORAGE_BUCKET and the storage.")
    return target, digest


def _fetch(store: "ObjectStore", key: str, target: Path, progress: Callable[[int, int], None] | None) -> str | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "w+b") as file:
            sha256 = _receive(store, key, file, progress)
        if sha256:
            part.replace(target)
        return sha256
    finally:
        part.unlink(missing_ok=True)


def _receive(
    store: "ObjectStore", key: str, file: IO[bytes], progress: Callable[[int, int], None] | None
) -> str | None:
    """Write an object to `file`; its sha256, None where there is no such object."""
    try:
        meta = obstore.head(store, key)
    except FileNotFoundError:
        return None
    if meta["size"] <= RANGE_BYTES or isinstance(store, LocalStore):
        return _stream(store, key, file.write, progress)
    return _Ranges(store, key, meta, file).receive(progress)


class _Ranges:
    """A large object on its way into a file, several ranges at once: one connection rarely fills a network."""

    def __init__(self, store: "ObjectStore", key: str, meta: "ObjectMeta", file: IO[bytes]) -> None:
        self._store, self._key, self._meta, self._file = store, key, meta, file
        self._received = dict.fromkeys(range(0, meta["size"], RANGE_BYTES), 0)
        self._given_up = threading.Event()
        self._told = 0

    def receive(self, progress: Callable[[int, int], None] | None) -> str:
        """The sha256 of the whole, taken while later ranges are under way."""
        digest = hashlib.sha256()
        with ThreadPoolExecutor(RANGES_AT_ONCE, "download") as pool:
            ranges = {start: pool.submit(self._receive_range, start) for start in self._received}
            try:
                for start, future in ranges.items():
                    while not future.done():
                        wait([future], PACE.gather)
                        self._tell(progress)
                    future.result()
                    self._tell(progress)
                    self._hash(digest, start)
            finally:
                self._given_up.set()
                pool.shutdown(cancel_futures=True)
        return digest.hexdigest()

    def _tell(self, progress: Callable[[int, int], None] | None) -> None:
        done = sum(self._received.values())
        if progress and done != self._told:
            progress(done, self._meta["size"])
        self._told = done

    def _receive_range(self, start: int) -> None:
        position, end = start, min(self._meta["size"], start + RANGE_BYTES)
        options: GetOptions = {"range": (start, end), "if_match": self._meta["e_tag"]}
        for chunk in obstore.get(self._store, self._key, options=options).stream(min_chunk_size=2**20):
            if self._given_up.is_set():
                return
            view = memoryview(chunk)
            while view:
                written = os.pwrite(self._file.fileno(), view, position)
                position, view = position + written, view[written:]
            self._received[start] = position - start
        if position != end:
            raise OSError(f"{self._key} ended after {position} of {self._meta['size']} bytes")

    def _hash(self, digest: "hashlib._Hash", start: int) -> None:
        position, end = start, start + self._received[start]
        while position < end:
            data = os.pread(self._file.fileno(), min(2**20, end - position), position)
            digest.update(data)
            position += len(data)


def _stream(
    store: "ObjectStore",
    key: str,
    write: Callable[[bytes], object] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str | None:
    """Read an object through; its sha256, None where there is no such object."""
    try:
        found = obstore.get(store, key)
    except FileNotFoundError:
        return None
    digest, done, total = hashlib.sha256(), 0, found.meta["size"]
    for chunk in found.stream(min_chunk_size=2**20):
        digest.update(chunk)
        done += len(chunk)
        if write:
            write(chunk)
        if progress:
            progress(done, total)
    if done != total:
        raise OSError(f"{key} ended after {done} of {total} bytes")
    return digest.hexdigest()


def _read_json(
    store: "ObjectStore", key: str, code: str, patience: float, reporter: Reporter | None = None
) -> dict[str, Any] | None:
    """A small JSON object; None where there is no such key. Raises TrainerFailure `code` when it is damaged."""

    def read() -> bytes | None:
        try:
            return bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            return None

    data = _outlast(f"read {key}", read, patience, reporter)
    if data is None:
        return None
    with suppress(ValueError, RecursionError):
        if isinstance(value := json.loads(data), dict):
            return value
    raise TrainerFailure(code, f"{key} is damaged: {data!r:.200}", "Write it again, or delete it.")


def _read_pointer(
    store: "ObjectStore", config: TrainConfig, kind: str, patience: float, reporter: Reporter | None = None
) -> dict[str, Any] | None:
    key = f"checkpoints/job-{config.job_id}/{kind}.json"
    pointer = _read_json(store, key, "STORAGE_ERROR", patience, reporter)
    if pointer is None or (isinstance(pointer.get("key"), str) and isinstance(pointer.get("attempt"), int)):
        return pointer
    raise TrainerFailure("STORAGE_ERROR", f"{key} is damaged: {pointer!r:.200}", "Delete it to start anew.")


def _put(store: "ObjectStore", key: str, data: Path | bytes) -> None:
    if isinstance(store, LocalStore):
        _put_local(Path(str(store.prefix)), key, data)
    else:
        obstore.put(store, key, data, chunk_size=PART_BYTES, max_concurrency=4)


def _put_local(root: Path, key: str, data: Path | bytes) -> None:
    """Whole and on the disk, or not there: obstore would rename without flushing."""
    target = root / key
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f"{target.name}#{threading.get_native_id()}")  # a name that obstore never lists
    try:
        if isinstance(data, bytes):
            staged.write_bytes(data)
        else:
            shutil.copyfile(data, staged)
        _flush(staged)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    for folder in target.parents[: len(Path(key).parents)]:
        _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_verified(store: "ObjectStore", key: str, path: Path, sha256: str) -> None:
    """Upload unless it is there (best and last may be the same bytes), and read back what was stored."""
    if _stream(store, key) != sha256:
        _put(store, key, path)
        if _stream(store, key) != sha256:
            raise OSError(f"{key} as stored is not what was uploaded")


def _copy(store: "ObjectStore", source: str, key: str) -> None:
    if isinstance(store, LocalStore):
        _put_local(Path(str(store.prefix)), key, Path(str(store.prefix)) / source)  # obstore would make a hard link
    else:
        obstore.copy(store, source, key)


def _delete(store: "ObjectStore", key: str, reporter: Reporter) -> None:
    try:
        obstore.delete(store, key)
    except FileNotFoundError:
        return
    except (OSError, BaseError) as error:  # the checkpoint is committed: what stays behind is only garbage
        reporter.warning("CHECKPOINT_NOT_DELETED", _failure_of(error, f"delete {key}").message)


def _file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locate_dataset(store: "ObjectStore", config: TrainConfig) -> tuple[str, str]:
    """The archive's key and the digest that it must have."""
    version, sha256 = config.dataset_version, config.dataset_sha256
    folder = f"datasets/{config.dataset_id}"
    latest = _read_latest(store, folder) if version is None or sha256 is None else {}
    version = version or latest.get("version")
    key = f"{folder}/{version}/data.zip" if version else f"{folder}/latest"
    if sha256 is None and latest.get("version") == version:
        sha256 = latest.get("archive_sha256")
    if version and sha256 is None:
        sha256 = _outlast(f"read {key}", lambda: _stream(store, key), PACE.download_patience)
    if version is None or sha256 is None:
        raise TrainerFailure("DATASET_MISSING", f"{key} is not in the storage", "Add the dataset, or choose another.")
    return key, sha256


def _read_latest(store: "ObjectStore", folder: str) -> dict[str, Any]:
    key = f"{folder}/latest"
    latest = _read_json(store, key, "DATASET_INVALID", PACE.download_patience)
    if latest is None:
        return {}
    version, sha256 = str(latest.get("version")), str(latest.get("archive_sha256"))
    if re.fullmatch("[1-9][0-9]*", version) and re.fullmatch(SHA256, sha256):
        return {"version": int(version), "archive_sha256": sha256}
    raise TrainerFailure("DATASET_INVALID", f"{key} is damaged: {latest!r:.200}", "Add the dataset again.")


def _fetch_dataset(
    store: "ObjectStore", key: str, folder: Path, limit: int, progress: Callable[[int, int], None] | None
) -> int:
    """Download, verify and extract an archive into `folder`, which appears whole or not at all. Returns its bytes."""
    incoming = folder.with_suffix(".incoming")
    shutil.rmtree(incoming, ignore_errors=True)  # of a process that was killed
    try:
        archive, sha256 = _download(store, key, incoming / "data.zip", "DATASET_MISSING", progress)
        if sha256 != folder.name:
            hint = "The stored archive was changed or damaged; add the dataset again."
            raise TrainerFailure("DATASET_DIGEST_MISMATCH", f"{key} has sha256 {sha256}, not {folder.name}", hint)
        _make_room(folder.parent, limit - archive.stat().st_size)
        size = _extract(archive, incoming / "data")
        os.sync()  # else a power cut could leave empty files in a cache that is trusted
        (incoming / "data").rename(folder)
        return size
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> int:
    """Returns the extracted bytes. Nothing in an archive can be written elsewhere than in `folder`."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as bundle:
            for member in bundle.infolist():
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or not re.fullmatch(KEY, member.filename.rstrip("/")):
                    raise TrainerFailure("DATASET_INVALID", f"the archive holds {member.filename!r}, which is unsafe")
            size = sum(member.file_size for member in bundle.infolist())
            if size > shutil.disk_usage(folder).free:
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: the dataset has {size} bytes")
            bundle.extractall(folder)
            return size
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        if is_disk_full(error):
            raise _failure_of(error, f"extract the dataset into {folder}") from error
        raise TrainerFailure("DATASET_INVALID", f"the archive cannot be extracted: {error}") from error


def _make_room(cache: Path, limit: int) -> None:
    """Remove datasets, the one that was not used for longest first, until the rest has `limit` bytes; none in use."""
    locks = sorted(cache.glob("*.lock"), key=lambda path: path.stat().st_mtime)
    sizes = {path: int(path.read_bytes() or b"0") for path in locks}
    excess = sum(sizes.values()) - limit
    for path in locks:
        folder, incoming, evicted = (path.with_suffix(suffix) for suffix in ("", ".incoming", ".evicted"))
        with open(path, "r+b") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in (incoming, evicted):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            if excess > 0 and folder.is_dir():
                folder.rename(evicted)  # gone at once, however long removing takes
                shutil.rmtree(evicted)
                lock.truncate(0)
                excess -= sizes[path]
