"""Runs that wait for their hosts to be back."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add a table, and a column to the table of runs."""
    op.add_column("runs", sa.Column("waits_until_us", sa.BigInteger()))
    op.create_table(
        "awaited_runs",
        sa.Column("run", sa.String(), primary_key=True),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("permit", sa.String()),
        sa.Column("tried_us", sa.BigInteger()),
    )
    op.create_index("awaited_runs_of_agent", "awaited_runs", ["agent", "digest"])
