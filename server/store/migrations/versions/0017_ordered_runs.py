"""Which runs this server has ordered, so that an agent's own word about a run opens nothing.

Of those that are there, what is queued was ordered here: an agent tells only of what has begun.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add a column, and an index over what is under way."""
    op.add_column("runs", sa.Column("ordered", sa.Boolean()))
    op.execute("UPDATE runs SET ordered = 1 WHERE status = 'queued'")
    op.execute(
        "CREATE INDEX runs_ordered ON runs (agent, digest)"
        " WHERE ordered = 1 AND status IN ('queued', 'running', 'lost')"
    )
