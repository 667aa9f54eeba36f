"""The migrations build exactly the tables of `app.models`, on both databases."""

import threading
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database
from app.migrate import alembic_config, migrate, writing
from app.models import Base


@pytest.fixture
def empty(database: Database) -> Iterator[Database]:
    """A database without tables."""
    Base.metadata.drop_all(database.engine)
    with database.write_session() as session:
        session.execute(text("DROP TABLE alembic_version"))
    yield database


def test_autogenerate_finds_no_difference_if_migrated(empty: Database) -> None:
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_autogenerate_finds_the_difference_if_a_column_is_missing(empty: Database) -> None:
    migrate(empty)
    with empty.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DROP COLUMN pending_reason"))
    with empty.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [difference[0] for difference in differences] == ["add_column"]


def test_changes_nothing_if_migrated_twice(empty: Database) -> None:
    migrate(empty)
    migrate(empty)
    assert set(inspect(empty.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_migrates_once_if_two_backends_start_together(empty: Database) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            migrate(empty)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    with empty.read_session() as session:
        assert session.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_leaves_no_table_if_downgraded(empty: Database) -> None:
    migrate(empty)
    with writing(empty) as connection:
        command.downgrade(alembic_config(connection), "base")
    assert inspect(empty.engine).get_table_names() == ["alembic_version"]


def test_numbers_are_not_given_again_if_the_newest_job_is_deleted(empty: Database) -> None:
    migrate(empty)
    insert = text(
        "INSERT INTO jobs (name, framework, task_type, model_name, dataset_id, dataset_version, config, gpus, priority,"
        " max_retries, status, attempt, retries, next_position, created_at, updated_at)"
        " VALUES ('j', 'u', 't', 'm', 'd', 1, '{}', 0, 0, 0, 'pending', 0, 0, 1, '2026-11-23', '2026-11-23')"
        " RETURNING id"
    )
    with empty.write_session() as session:
        _insert_dataset(session, highest_version=1)
        first = session.execute(insert).scalar_one()
        session.execute(text("DELETE FROM jobs"))
        assert session.execute(insert).scalar_one() == first + 1


def test_datasets_and_their_versions_stay_if_what_holds_them_is_built_anew(empty: Database) -> None:
    with writing(empty) as connection:
        command.upgrade(alembic_config(connection), "0002")
    with empty.write_session() as session:
        _insert_dataset(session)
        for number in (1, 2):
            values = f"('d', {number}, 'sha-{number}', 'sha', 9, '[]', '{{}}', '2026-11-23')"
            columns = "dataset_id, version, sha256, archive_sha256, archive_size, classes, counts, created_at"
            session.execute(text(f"INSERT INTO dataset_versions ({columns}) VALUES {values}"))
    migrate(empty)
    with empty.read_session() as session:
        query = "SELECT d.name, d.highest_version, v.version, v.origin FROM datasets d JOIN dataset_versions v"
        rows = session.execute(text(f"{query} ON v.dataset_id = d.id ORDER BY v.version")).all()
    assert [tuple(row) for row in rows] == [("d", 2, 1, "import"), ("d", 2, 2, "import")]
    with empty.write_session() as session, pytest.raises(IntegrityError):
        session.execute(text("DELETE FROM datasets"))
        session.execute(text("INSERT INTO dataset_versions (dataset_id) VALUES ('nobody')"))


def _insert_dataset(session: Session, **more: int) -> None:
    names = "".join(f", {name}" for name in more)
    values = "".join(f", {value}" for value in more.values())
    session.execute(
        text(
            f"INSERT INTO datasets (id, name, task_type, created_at{names})"
            f" VALUES ('d', 'd', 't', '2026-11-23'{values})"
        )
    )
