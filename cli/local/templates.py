"""What ``outrider script new`` writes: a check that runs, passes its own test, and shows the shape of both."""

from __future__ import annotations

import re
from collections.abc import Mapping

from protocol.errors import ArgumentError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)+")

MANIFEST = """\
name: {name}
version: 0.1.0
language: {language}
main: {main}
tier: observe
description: Says how long this host has been up.
needs:
  - call: sys.uptime
metrics:
  - {{name: uptime, type: double, unit: seconds}}
tests:
  - name: reports what the host says
    calls: {{sys.uptime: 3600.5}}
    expect: {{status: ok, metrics: {{uptime: 3600.5}}}}
"""

LUA = """\
-- Every effect on the host is a call; docs/calls.md lists them. The result is what this chunk returns.
local uptime = sys.uptime()
check.metric("uptime", "double", uptime, "seconds")
return uptime
"""

PYTHON = """\
# Every effect on the host is a call; docs/calls.md lists them. The result is what main() returns.
def main():
    uptime = sys.uptime()
    check.metric("uptime", "double", uptime, "seconds")
    return uptime
"""

SOURCES: Mapping[str, tuple[str, str]] = {
    "lua": ("main.lua", LUA),
    "luajit": ("main.lua", LUA),
    "python": ("main.py", PYTHON),
}


def check_name(name: str) -> str:
    """Return ``name`` if it can be a script's.

    Raises:
        ArgumentError: It cannot.
    """
    if len(name) > 128 or not _NAME.fullmatch(name):
        raise ArgumentError(
            f"{name!r} is not a script's name: two or more parts of a-z, 0-9, _, - joined by / (example: checks/queue)",
            parameter="name",
        )
    return name


def files(name: str, language: str) -> dict[str, str]:
    """Return the files of a new script."""
    main, source = SOURCES[language]
    manifest = MANIFEST.format(name=check_name(name), language=language, main=main)
    return {"manifest.yaml": manifest, main: source}
