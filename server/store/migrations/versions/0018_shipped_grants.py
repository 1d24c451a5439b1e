"""The shipped grants say since when they hold, and no longer 1970.

In a new database that is now. In one that was there before, they hold what the roles could do from the beginning: since
the server's first record, and not later than any grant that somebody made.
"""

import sqlalchemy as sa
from alembic import op

from server import clock

revision = "0018"
down_revision = "0017"

GIVE_DATE = sa.text(
    "UPDATE access_grants SET created_us = (SELECT min(at) FROM ("
    " SELECT :now AS at"
    " UNION ALL SELECT time_us FROM records WHERE agent = 'server' AND sequence = 1"
    " UNION ALL SELECT min(created_us) FROM access_grants WHERE created_us > 0))"
    " WHERE principal = 'outrider-server' AND created_us = 0"
)


def upgrade() -> None:
    """Give them their date."""
    op.get_bind().execute(GIVE_DATE, {"now": clock.now_us()})
