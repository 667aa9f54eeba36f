"""The tables. Rows change only in `services/`; a job's status only in `services.jobs.transition`.

Times are UTC. Sizes are bytes.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite stores it without its zone and gives it back with it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value!r} has no zone; pass an aware UTC time")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy's own declaration)
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Installation(Base):
    """One row: who this installation is, and the hash of its access token."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(16))
    access_token_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class Dataset(Base):
    """A soft-deleted one keeps its rows and objects until it is purged; its name is free for another."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index(
            "uq_datasets_name_kept",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    task_type: Mapped[str] = mapped_column(String(40))
    highest_version: Mapped[int] = mapped_column(default=0)  # ever given; a purged one's number is not given again
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    all_versions: Mapped[list["DatasetVersion"]] = relationship(
        back_populates="dataset", order_by="DatasetVersion.version", cascade="all, delete-orphan"
    )

    @property
    def versions(self) -> list["DatasetVersion"]:
        """Those that are not deleted, oldest first."""
        return [version for version in self.all_versions if version.deleted_at is None]

    @property
    def deleted_versions(self) -> list[int]:
        """The numbers of those that can be restored."""
        return [version.version for version in self.all_versions if version.deleted_at is not None]

    @property
    def latest(self) -> "DatasetVersion | None":
        return next(reversed(self.versions), None)


class DatasetVersion(Base):
    """Immutable. `sha256` is over the sorted (path, sha256) list, `archive_sha256` over data.zip.

    Those registered before there were imports have no `index_sha256`, and no index.sqlite in storage.
    """

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "version"), UniqueConstraint("dataset_id", "sha256"))

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    version: Mapped[int]
    parent_version: Mapped[int | None]
    origin: Mapped[str] = mapped_column(String(10), default="import")  # words.Origin
    format: Mapped[str | None] = mapped_column(String(40))
    sha256: Mapped[str] = mapped_column(String(64))
    archive_sha256: Mapped[str] = mapped_column(String(64))
    archive_size: Mapped[int] = mapped_column(BigInteger)
    index_sha256: Mapped[str | None] = mapped_column(String(64))
    classes: Mapped[list[Any]]
    counts: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    statistics: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    dataset: Mapped[Dataset] = relationship(back_populates="all_versions")


class Import(Base):
    """An upload, or a change to a version, on its way to being a version. `services.datasets.imports` changes it.

    While one runs, `dataset_id` and `version` are what it will be; before that `dataset_id` is None for a new name.
    """

    __tablename__ = "imports"
    __table_args__ = (
        Index("ix_imports_queue", "status", "id"),
        {"sqlite_autoincrement": True},  # its number names a folder; never give it again
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    dataset_name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[str | None] = mapped_column(String(40), index=True)
    version: Mapped[int | None]
    is_new: Mapped[bool | None]  # False: this content was a version already
    parent_version: Mapped[int | None]
    request: Mapped[dict[str, Any]]  # app.datasets.work.Request
    source: Mapped[dict[str, Any]]  # {"kind": "upload" | "storage" | "edit", …}
    status: Mapped[str] = mapped_column(String(20))
    takes: Mapped[int] = mapped_column(
        default=0
    )  # how often it was begun; each that was cut short is followed by another
    received: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes, on the disk
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    progress: Mapped[dict[str, Any] | None]
    report: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Job(Base):
    """What a person asked for. `config` is the validated request, `progress` the newest report."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_queue", "status", "priority", "id"),
        {"sqlite_autoincrement": True},  # a deleted job's number names folders and objects; never give it again
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    framework: Mapped[str] = mapped_column(String(40), index=True)
    task_type: Mapped[str] = mapped_column(String(40), index=True)
    model_name: Mapped[str] = mapped_column(String(200))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    dataset_version: Mapped[int]
    config: Mapped[dict[str, Any]]
    gpus: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    max_retries: Mapped[int] = mapped_column(default=2)

    status: Mapped[str] = mapped_column(String(20), index=True)
    pending_reason: Mapped[str | None] = mapped_column(String(500))
    stop_intent: Mapped[str | None] = mapped_column(String(20))
    stop_requested_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    failure: Mapped[dict[str, Any] | None]

    attempt: Mapped[int] = mapped_column(default=0)  # the newest attempt's number; 0 before the first
    retries: Mapped[int] = mapped_column(default=0)  # automatic retries since a person last asked
    next_position: Mapped[int] = mapped_column(BigInteger, default=1)
    progress: Mapped[dict[str, Any] | None]
    best: Mapped[dict[str, Any] | None]  # {"metric", "value", "epoch"} of the newest best checkpoint
    mlflow_run_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    attempts: Mapped[list["Attempt"]] = relationship(
        back_populates="job", order_by="Attempt.number", cascade="all, delete-orphan"
    )


class Attempt(Base):
    """One run of a trainer for a job. Never erased while the job exists."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    slots: Mapped[list[Any]]  # ["cpu:0"] or ["gpu:0", "gpu:1"]
    resume: Mapped[dict[str, Any] | None]  # {"key", "sha256", "epoch"} of the checkpoint it continues from
    handle: Mapped[dict[str, Any] | None]  # the launcher's own words for what it started
    instance: Mapped[str | None] = mapped_column(String(64))
    acknowledged: Mapped[int] = mapped_column(BigInteger, default=0)
    reported: Mapped[dict[str, Any] | None]  # the trainer's last word: {"status", "failure"}
    created_at: Mapped[datetime]
    launched_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    progress_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    exit_signal: Mapped[int | None]
    outcome: Mapped[str | None] = mapped_column(String(20))  # completed, failed, stopped, lost
    failure: Mapped[dict[str, Any] | None]
    log_tail: Mapped[list[Any] | None]
    log_start: Mapped[int | None] = mapped_column(BigInteger)  # in storage: the first byte's logical offset,
    log_size: Mapped[int | None] = mapped_column(BigInteger)  # and how many bytes; null until it is there
    log_removed_at: Mapped[datetime | None]  # collected since, by age or size
    job: Mapped[Job] = relationship(back_populates="attempts")


class Event(Base):
    """A job's history in one order: what trainers reported and what the platform did.

    `position` orders it across attempts and replicas; `sequence` is the trainer's own number and null
    for the platform's entries, whose type is `status`, `launch`, `stop` or `outcome`.
    """

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "sequence"),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(String(10))
    type: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    time: Mapped[datetime]
    received_at: Mapped[datetime]
    payload: Mapped[dict[str, Any]]


class Metric(Base):
    """One number of one epoch (and step); readers take the highest attempt of each (name, epoch)."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_series", "job_id", "name", "epoch"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    epoch: Mapped[int]
    step: Mapped[int | None] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(120))
    value: Mapped[float | None]
    time: Mapped[datetime]


class Validation(Base):
    __tablename__ = "validations"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "epoch"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    epoch: Mapped[int]
    primary_name: Mapped[str] = mapped_column(String(120))
    primary_value: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    per_class: Mapped[list[Any]]
    artifact: Mapped[str | None] = mapped_column(String(500))
    time: Mapped[datetime]


class Checkpoint(Base):
    """An object of weights. The newest row of each kind is the current one, as the pointer in storage."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("ix_checkpoints_job", "job_id", "kind", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(10))
    key: Mapped[str] = mapped_column(String(500))
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    time: Mapped[datetime]


class Artifact(Base):
    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("job_id", "key"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(500))
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int | None]
    time: Mapped[datetime]
