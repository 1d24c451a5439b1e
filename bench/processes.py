"""Commands that are measured as whole processes, from their start to their end."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_MAX_NOTE_BYTES: Final = 4096


def run(
    arguments: Sequence[str | Path],
    *,
    timeout_s: float = 20.0,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, and be back as soon as it has ended. What it says of a failure is the error's note.

    ``subprocess.run`` with a timeout looks again and again whether a process has ended, up to 50 ms apart.

    Raises:
        CalledProcessError: It ended with another status than 0.
        TimeoutExpired: It did not end in time, and was killed.
    """
    with tempfile.TemporaryFile() as said:
        null = subprocess.DEVNULL
        process = subprocess.Popen(arguments, stdin=null, stdout=null, stderr=said, cwd=cwd, env=environment)
        try:
            _wait(process, timeout_s)
        except subprocess.SubprocessError as error:
            said.seek(0)
            error.add_note(said.read(_MAX_NOTE_BYTES).decode("utf-8", "replace"))
            raise


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    ending = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(ending, select.POLLIN)
        if not poller.poll(timeout_s * 1000):
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(process.args, timeout_s)
    finally:
        os.close(ending)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)
