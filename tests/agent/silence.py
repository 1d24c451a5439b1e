"""A file system whose server never answers: whoever looks into it waits until it is let go."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_DETACHED: Final = 2  # MNT_DETACH, linux/fs.h
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def silent(directory: Path) -> Iterator[None]:
    """Mount one at ``directory``; at the end everybody who waits is told that it is gone."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root mounts, where the kernel has FUSE")
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        if _libc.mount(b"silent", os.fsencode(directory), b"fuse", 0, options) != 0:
            pytest.skip(f"this machine mounts no FUSE: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            os.close(server)
            server = -1
            _libc.umount2(os.fsencode(directory), _DETACHED)
    finally:
        if server >= 0:
            os.close(server)
