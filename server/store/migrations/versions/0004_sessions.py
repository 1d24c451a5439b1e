"""Sessions of people: terminals, commands, files, forwards."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "sessions",
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("grant", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("opened_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("about", sa.JSON()),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("sessions_of_agent", "sessions", ["agent", "position"])
    op.create_index("sessions_by_status", "sessions", ["status", "position"])
