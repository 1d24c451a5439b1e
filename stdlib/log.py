"""``log.*``: lines for whoever reads about the run. Control characters are made visible, so a line stays one line."""

from __future__ import annotations

import re

from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import MAX_LOG_CHARACTERS, RunContext

# C0, DEL, C1 and the characters that turn the direction of text: they could make a reader see what is not there.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return ``text`` with control and bidirectional characters written out."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _log(run: RunContext, level: str, text: str) -> None:
    run.logs.append({"level": level, "text": printable(text[:MAX_LOG_CHARACTERS])})


@call("log.debug", tier=Tier.COMPUTE, lua='log.debug("looked")')
async def debug(run: RunContext, text: str) -> None:
    """Log for whoever works on the script."""
    _log(run, "debug", text)


@call("log.info", tier=Tier.COMPUTE, lua='log.info("looked at 12 files")')
async def info(run: RunContext, text: str) -> None:
    """Log what was done."""
    _log(run, "info", text)


@call("log.warn", tier=Tier.COMPUTE, lua='log.warn("the disk is nearly full")')
async def warn(run: RunContext, text: str) -> None:
    """Log what somebody should look at."""
    _log(run, "warn", text)


@call("log.error", tier=Tier.COMPUTE, lua='log.error("could not look")')
async def error(run: RunContext, text: str) -> None:
    """Log what went wrong."""
    _log(run, "error", text)
