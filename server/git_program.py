"""The git program, where it is installed: without anybody's settings, and bounded where what it reads is hostile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Final

SETTINGS: Final = ("pack.threads=1", "pack.windowMemory=32m", "core.hooksPath=/dev/null", "safe.directory=*")
#: Of a program that reads what somebody sent: a small thing can unpack to a huge one, and a tree can hold itself often.
MAX_CPU_S: Final = 20
MAX_MEMORY_KIB: Final = 1 << 20
MAX_FILE_BLOCKS: Final = 128 << 10  # of 512 bytes, as POSIX has it: 64 MiB
_LIMITED: Final = (
    f'ulimit -t {MAX_CPU_S} && ulimit -v {MAX_MEMORY_KIB} && ulimit -f {MAX_FILE_BLOCKS} && ulimit -c 0 && exec "$@"'
)
_SPARING: Final = (
    "core.packedGitWindowSize=8m", "core.packedGitLimit=64m", "core.deltaBaseCacheLimit=16m",
    "core.bigFileThreshold=1m",
)  # fmt: skip


def find() -> str | None:
    """Return where git is; None if it is not installed."""
    return shutil.which("git")


def words(git: str, *command: str) -> list[str]:
    """Return a command line of git."""
    return [git, *_given(SETTINGS), *command]


def limited(git: str, *command: str) -> list[str]:
    """Return a command line of git that ends when it needs more time, memory or disk than a script is worth.

    The limits stand before git begins; where the shell cannot set them, git does not begin.
    """
    return ["/bin/sh", "-c", _LIMITED, "sh", git, *_given((*SETTINGS, *_SPARING)), *command]


def environment() -> dict[str, str]:
    """Return an environment without anything of ours: only where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
    }  # fmt: skip


def _given(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]
