"""Reports become rows: the history, and the tables that make reading fast."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Insert, Table, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.models import Artifact, Checkpoint, Event, Metric, Validation
from app.schemas.events import ArtifactEvent, CheckpointEvent, MetricsEvent, ValidationEvent
from app.services.bulk import Rows, insert_rows
from app.services.reports import Report
from app.words import CheckpointKind, EventSource

_EVENTS = cast(Table, Event.__table__)
_METRICS = cast(Table, Metric.__table__)
_VALIDATIONS = cast(Table, Validation.__table__)
_CHECKPOINTS = cast(Table, Checkpoint.__table__)
_ARTIFACTS = cast(Table, Artifact.__table__)


def write(session: Session, job_id: int, attempt: int, position: int, reports: list[Report], now: datetime) -> None:
    """Writes the reports at consecutive positions, one statement a table."""
    owner = {"job_id": job_id, "attempt": attempt}
    events: Rows = []
    rows: dict[type, Rows] = {MetricsEvent: [], ValidationEvent: [], CheckpointEvent: [], ArtifactEvent: []}
    for place, report in enumerate(reports, position):
        common = owner | {"time": report.event.time}
        events.append(common | _history_row(report, place, now))
        if type(report.event) in _MAKERS:
            rows[type(report.event)] += [common | row for row in _MAKERS[type(report.event)](report.event)]
    connection = session.connection()
    insert_rows(connection, _EVENTS, events)
    for kind, found in rows.items():
        if found:
            _write_rows(connection, kind, found)


def best(session: Session, job_id: int, attempt: int, resume: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the job's best weights are worth: those that a download or a prediction gets.

    So the newest `best` checkpoint decides. While there is none, the best validation of the weights that this attempt
    trains stands in: its own epochs and those it continued from; what nobody continued does not count.
    """
    table = _VALIDATIONS.c
    newest = select(table.primary_name).where(table.job_id == job_id).order_by(table.id.desc()).limit(1)
    metric = session.scalar(newest)
    if metric is None:
        return None
    return _stored_best(session, job_id, metric) or _validated_best(session, job_id, attempt, resume, metric)


def _stored_best(session: Session, job_id: int, metric: str) -> dict[str, Any] | None:
    """By what was measured when it was stored, or else by the validation of its epoch."""
    own = (_CHECKPOINTS.c.job_id == job_id) & (_CHECKPOINTS.c.kind == CheckpointKind.BEST)
    columns = _CHECKPOINTS.c.attempt, _CHECKPOINTS.c.epoch, _CHECKPOINTS.c.metrics
    row = session.execute(select(*columns).where(own).order_by(_CHECKPOINTS.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    value = row.metrics.get(metric)
    if value is None:
        table = _VALIDATIONS.c
        same = (table.job_id == job_id) & (table.attempt == row.attempt) & (table.epoch == row.epoch)
        value = session.scalar(select(table.primary_value).where(same, table.primary_name == metric))
    return None if value is None else {"metric": metric, "value": value, "epoch": row.epoch}


def _validated_best(
    session: Session, job_id: int, attempt: int, resume: dict[str, Any] | None, metric: str
) -> dict[str, Any] | None:
    """The highest attempt wins for each epoch."""
    table = _VALIDATIONS.c
    inherited = table.epoch <= (resume or {}).get("epoch", -1)
    newest = func.row_number().over(partition_by=table.epoch, order_by=table.attempt.desc()).label("newest")
    own = (table.job_id == job_id) & (table.primary_name == metric) & (table.attempt <= attempt)
    lineage = select(table.epoch, table.primary_value.label("value"), newest)
    epochs = lineage.where(own, or_(table.attempt == attempt, inherited)).subquery().c
    query = select(epochs.value, epochs.epoch).where(epochs.newest == 1, epochs.value.is_not(None))
    row = session.execute(query.order_by(epochs.value.desc(), epochs.epoch).limit(1)).one_or_none()
    return row and {"metric": metric, "value": row.value, "epoch": row.epoch}


def _history_row(report: Report, position: int, now: datetime) -> dict[str, Any]:
    return {
        "position": position,
        "source": EventSource.TRAINER,
        "type": report.event.type,
        "sequence": report.event.sequence,
        "received_at": now,
        "payload": report.payload,
    }


def _metric_rows(event: MetricsEvent) -> Rows:
    return [
        {"epoch": event.epoch, "step": event.step, "name": name, "value": value} for name, value in event.values.items()
    ]


def _validation_rows(event: ValidationEvent) -> Rows:
    row = {"epoch": event.epoch, "primary_name": event.primary.name, "primary_value": event.primary.value}
    per_class = [item.model_dump() for item in event.per_class]
    return [row | {"metrics": event.metrics, "per_class": per_class, "artifact": event.artifact}]


def _checkpoint_rows(event: CheckpointEvent) -> Rows:
    return [event.model_dump(include={"kind", "key", "sha256", "size", "epoch", "metrics"})]


def _artifact_rows(event: ArtifactEvent) -> Rows:
    return [event.model_dump(include={"kind", "name", "key", "sha256", "size", "epoch"})]


_MAKERS: dict[type, Callable[[Any], Rows]] = {
    MetricsEvent: _metric_rows,
    ValidationEvent: _validation_rows,
    CheckpointEvent: _checkpoint_rows,
    ArtifactEvent: _artifact_rows,
}


def _write_rows(connection: Connection, kind: type, rows: Rows) -> None:
    if kind is MetricsEvent:
        insert_rows(connection, _METRICS, rows)
    elif kind is CheckpointEvent:
        insert_rows(connection, _CHECKPOINTS, rows)
    elif kind is ValidationEvent:
        connection.execute(_upsert(_VALIDATIONS, ("job_id", "attempt", "epoch"), connection.dialect.name), rows)
    else:
        connection.execute(_upsert(_ARTIFACTS, ("job_id", "key"), connection.dialect.name), rows)


def _upsert(table: Table, unique: tuple[str, ...], dialect: str) -> Insert:
    """An insert whose row replaces the one that an earlier report of the same or an older attempt left."""
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    replaced = {
        column.name: statement.excluded[column.name]
        for column in table.c
        if not column.primary_key and column.name not in unique
    }
    return statement.on_conflict_do_update(
        index_elements=unique, set_=replaced, where=table.c.attempt <= statement.excluded.attempt
    )
