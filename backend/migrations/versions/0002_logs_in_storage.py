"""Where the log of an ended attempt is in storage"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("log_start", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("log_size", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("log_removed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for column in ("log_removed_at", "log_size", "log_start"):
        op.drop_column("attempts", column)
