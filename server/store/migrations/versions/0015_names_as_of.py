"""A mark that is another one after every change of scripts or names, so that what was made from them can be remembered.

The database makes it, in the transaction of the change, so that no way of changing them can be forgotten. It is random:
two databases never have the same.
"""

from alembic import op

revision = "0015"
down_revision = "0014"

MARK = (
    "INSERT INTO meta (key, value)"
    " SELECT 'names_as_of', lower(hex(randomblob(16))) WHERE EXISTS (SELECT 1 FROM scripts)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def upgrade() -> None:
    """Make the mark and what renews it."""
    op.execute(MARK)
    for table in ("scripts", "names"):
        for event in ("INSERT", "UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_marked_{event.lower()} AFTER {event} ON {table} BEGIN {MARK}; END")
