"""What searching reads lies together: names with their words, and nothing else of them."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add an index."""
    op.create_index("names_to_search", "names", ["name", "search"])
