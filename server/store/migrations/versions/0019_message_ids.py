"""Messages to webhooks are found by the beginning of their id."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the index."""
    op.create_index("deliveries_by_message", "deliveries", ["message"])
