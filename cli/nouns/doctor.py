"""``outrider doctor``: what this machine offers the sandbox, and what is missing."""

from __future__ import annotations

import asyncio
import platform
import sys
from typing import Any

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.output import field

WALLS = (field("wall", "name"), field("state", "state"), field("what it does", "detail"))


@click.command("doctor", cls=LocalCommand)
@pass_invocation
def noun(invocation: Invocation) -> None:
    """Raise every wall of the sandbox in a real zygote and say which ones stand."""
    walls = asyncio.run(_walls())
    missing = [wall["name"] for wall in walls if wall["state"] != "up"]
    if invocation.as_json:
        invocation.output.data({
            "kernel": platform.release(), "arch": platform.machine(), "python": sys.version.split()[0],
            "walls": walls, "missing": missing,
        })  # fmt: skip
    else:
        invocation.output.table(walls, WALLS)
        up = len(walls) - len(missing)
        invocation.output.say(f"{up} of {len(walls)} walls up on this kernel ({platform.release()})")
    invocation.exit(1 if missing else 0)


async def _walls() -> list[dict[str, Any]]:
    from sandbox.launch import Sandbox

    sandbox = await Sandbox.start(bindings=[])
    try:
        return [wall.to_plain() for wall in sandbox.walls]
    finally:
        await sandbox.close()
