"""Ctrl-C at any moment, and once more: the status of that, and no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli import exits

DURING_IMPORT = """
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
"""
WHILE_THE_FIRST_IS_DEALT_WITH = """
import cli.main
def run():
    try:
        raise KeyboardInterrupt
    finally:
        raise KeyboardInterrupt
cli.main.run = run
"""
AFTER_THE_END = """
import atexit, os, signal
import cli.main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
cli.main.run = lambda: 3
"""


@pytest.mark.parametrize(
    ("prepared", "status"),
    [(DURING_IMPORT, exits.INTERRUPTED), (WHILE_THE_FIRST_IS_DEALT_WITH, exits.INTERRUPTED), (AFTER_THE_END, 3)],
)
def test_an_interrupt_is_no_fault(prepared: str, status: int) -> None:
    code = f"import sys\n{prepared}\nfrom cli.beginning import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
