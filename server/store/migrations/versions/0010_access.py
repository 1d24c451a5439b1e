"""Who may open which sessions: grants, requests for them, and the grants that hold without anybody's doing."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

#: What the roles could do before there were grants; to be removed by whoever wants less.
SHIPPED = {"operator": "default-operator", "support": "default-support", "admin": "default-admin"}
SCOPE = {
    "kinds": ["terminal", "command", "files", "forward"], "tier": "admin", "target": "*", "users": [], "paths": [],
    "targets": [],
}  # fmt: skip


def upgrade() -> None:
    """Add two tables, a column, and the shipped grants."""
    grants = op.create_table(
        "access_grants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("request", sa.String(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "access_requests",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("ttl_s", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("grant", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("sessions", sa.Column("access", sa.String(), nullable=True))
    op.bulk_insert(
        grants,
        [
            {"id": identity, "who": f"role:{role}", "scope": SCOPE, "reason": "shipped with Outrider",
             "principal": "outrider-server", "created_us": 0}
            for role, identity in SHIPPED.items()
        ],
    )  # fmt: skip
