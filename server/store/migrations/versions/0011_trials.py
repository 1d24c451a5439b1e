"""Trials: dry runs of versions under review."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "trials",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("review", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_index("ix_trials_review", "trials", ["review"])
