"""Somebody before the command in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

from shell import ROOT, Shell

DEADLINE_S = 60.0


class Keyboard:
    """A person before the command in a real terminal."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli", *words], stdin=slave, stdout=slave, stderr=slave, cwd=shell.work,
            env={**shell.environment, "PYTHONPATH": str(ROOT), "TERM": "xterm"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.data = b""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def sees(self, pattern: str) -> re.Match[bytes]:
        ends = time.monotonic() + DEADLINE_S
        while (found := re.search(pattern.encode(), self.data)) is None:
            ready, _, _ = select.select([self._master], [], [], ends - time.monotonic())
            assert ready, f"waited for {pattern}: {self.data!r}"
            self.data += os.read(self._master, 65536)
        self.data = self.data[found.end() :]
        return found

    def ends(self) -> int:
        try:
            while True:
                ready, _, _ = select.select([self._master], [], [], DEADLINE_S)
                assert ready, f"it does not end: {self.data!r}"
                self.data += os.read(self._master, 65536)
        except OSError:  # its side is closed
            pass
        os.close(self._master)
        return self._process.wait(DEADLINE_S)
