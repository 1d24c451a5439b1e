"""What is typed here, read on the loop that terminals run on."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READS = """\
import asyncio, os, sys
from cli import keyboard, loop

async def main():
    typed = asyncio.get_running_loop().create_future()
    keys = keyboard.Keys(lambda data: typed.done() or typed.set_result(data))
    for _ in range(2):
        keys.start()
        print(os.get_blocking(0), os.get_blocking(1), flush=True)
        keys.stop()
    keys.start()
    print("ready", flush=True)
    print((await typed).decode().strip(), flush=True)
    keys.stop()

loop.run(main())
print(os.get_blocking(0), os.get_blocking(2))
"""


def test_a_terminal_stays_as_it_was_for_who_comes_after() -> None:
    """That it blocks is no setting of a process but of the terminal, so also of the shell that started us."""
    master, slave = pty.openpty()
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", READS], stdin=slave, stdout=subprocess.PIPE, stderr=slave, cwd=ROOT, text=True
        )
        with child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(3)]
            os.write(master, b"typed\n")
            lines += child.stdout.readlines()
        assert lines == ["True True\n", "True True\n", "ready\n", "typed\n", "True True\n"]
        assert os.get_blocking(slave)
    finally:
        os.close(master)
        os.close(slave)
