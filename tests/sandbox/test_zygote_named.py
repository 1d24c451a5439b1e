"""A zygote proper is forked by what was started, beside it: the agent must know of it in time to be able to reap it."""

from __future__ import annotations

import sys
from pathlib import Path

from arena import LIMITS, gate, lua

from sandbox.launch import Sandbox

#: An interpreter whose first process goes on from its fork only when its child has nothing to do for a while.
LATE = """#!/bin/sh
exec {python} -I -c '
import os, runpy, select
import kernel
real = kernel.fork_sibling
def late():
    child, pidfd = real()
    quiet = 0
    while child and quiet < 5:
        select.select([], [], [], 0.02)
        with open(f"/proc/{{child}}/stat") as file:
            quiet = quiet + 1 if file.read().rpartition(") ")[2][0] == "S" else 0
    return child, pidfd
kernel.fork_sibling = late
runpy.run_module("sandbox.seed", run_name="__main__")
'
"""


async def test_the_zygote_is_named_before_it_says_that_it_is_ready(tmp_path: Path, descriptors_kept: None) -> None:
    """However late what forked it goes on: else nobody would know whom to reap. The fixtures of all tests look."""
    python = tmp_path / "python"
    python.write_text(LATE.format(python=sys.executable))
    python.chmod(0o755)
    sandbox = await Sandbox.start(bindings=[], python=str(python))
    try:
        assert sandbox._zygote is not None
        assert sandbox._zygote.is_alive
        assert (await sandbox.run(lua("return 3"), gate(limits=LIMITS), LIMITS)).result == 3
    finally:
        await sandbox.close()
