"""Whether whoever asked for a session waits to hear what the owner of its host says."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column; nobody waits whom an earlier server would have to tell."""
    op.add_column("sessions", sa.Column("asker_waits", sa.Boolean()))
