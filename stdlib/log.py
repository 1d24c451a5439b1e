"""``log.*``: lines for whoever reads about the run. Each is a call, so each is on record; nothing else is done with it.

Who shows a record makes control characters visible, so that a line stays one line.
"""

from __future__ import annotations

from protocol.tiers import Tier
from stdlib.declaring import call


@call("log.debug", tier=Tier.COMPUTE, lua='log.debug("looked")')
async def debug(text: str) -> None:
    """Log for whoever works on the script."""


@call("log.info", tier=Tier.COMPUTE, lua='log.info("looked at 12 files")')
async def info(text: str) -> None:
    """Log what was done."""


@call("log.warn", tier=Tier.COMPUTE, lua='log.warn("the disk is nearly full")')
async def warn(text: str) -> None:
    """Log what somebody should look at."""


@call("log.error", tier=Tier.COMPUTE, lua='log.error("could not look")')
async def error(text: str) -> None:
    """Log what went wrong."""
