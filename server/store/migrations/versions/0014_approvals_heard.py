"""Up to which approval each agent has heard of them. Those enrolled before hear of all of them once more."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add a column."""
    op.add_column("agents", sa.Column("approvals_through", sa.BigInteger(), nullable=False, server_default="0"))
