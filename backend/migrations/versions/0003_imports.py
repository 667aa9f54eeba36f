"""Imports; what is known of a version; deleting softly"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
KEPT = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("deleted_at", TIME, nullable=True))
        table.add_column(sa.Column("highest_version", sa.Integer(), nullable=False, server_default="0"))
        table.drop_constraint(op.f("uq_datasets_name"), type_="unique")
    op.create_index(
        "uq_datasets_name_kept", "datasets", ["name"], unique=True, sqlite_where=KEPT, postgresql_where=KEPT
    )
    highest = "SELECT coalesce(max(version), 0) FROM dataset_versions WHERE dataset_id = datasets.id"
    op.execute(f"UPDATE datasets SET highest_version = ({highest})")
    with op.batch_alter_table("dataset_versions") as table:
        for column in _version_columns():
            table.add_column(column)
    _forget_defaults("datasets", "highest_version")
    _forget_defaults("dataset_versions", "origin")
    op.create_table(
        "imports",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("dataset_name", sa.String(length=200), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("is_new", sa.Boolean(), nullable=True),
        sa.Column("parent_version", sa.Integer(), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("takes", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_imports_queue", "imports", ["status", "id"])
    op.create_index(op.f("ix_imports_dataset_id"), "imports", ["dataset_id"])


def downgrade() -> None:
    """Fails, and changes nothing, where two datasets, one of them deleted, have one name: purge first."""
    op.drop_table("imports")
    with op.batch_alter_table("dataset_versions") as table:
        for column in _version_columns():
            table.drop_column(column.name)
    op.drop_index("uq_datasets_name_kept", table_name="datasets")
    with op.batch_alter_table("datasets") as table:
        table.create_unique_constraint(op.f("uq_datasets_name"), ["name"])
        table.drop_column("highest_version")
        table.drop_column("deleted_at")


def _version_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("parent_version", sa.Integer(), nullable=True),
        sa.Column("origin", sa.String(length=10), nullable=False, server_default="import"),
        sa.Column("format", sa.String(length=40), nullable=True),
        sa.Column("index_sha256", sa.String(length=64), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("statistics", sa.JSON(), nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
    ]


def _forget_defaults(table_name: str, column: str) -> None:
    """They were for the rows that were there."""
    with op.batch_alter_table(table_name) as table:
        table.alter_column(column, server_default=None)
