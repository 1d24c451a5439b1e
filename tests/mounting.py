"""Runs a text of Python in a child that has mounts of its own, and a file system of which it is itself the server.

What the text may use: ``mount``, ``unmount`` and ``Fuse``; it prints one JSON value.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_HERE = 77  # the exit status of a child that may not have mounts of its own, or for which the kernel has no FUSE
BOUND_S = 60  # of a server's life; a child has half a minute more

PRELUDE = (
    f"BOUND_S = {BOUND_S}\n"
    + r'''
import json, os, signal, struct, sys
import kernel
from kernel import CLONE_NEWNS, CLONE_NEWUSER, MS_PRIVATE, MS_REC

def mount(place, kind, options=None):
    os.makedirs(place, exist_ok=True)
    kernel.mount(kind.encode(), place.encode(), 0, None if options is None else options.encode())

def unmount(place):
    kernel.detach(place.encode())

ATTRIBUTES = struct.pack("=6Q10I", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0o100644, 1, 0, 0, 0, 4096, 0)

class Fuse:
    """A file system with one file, ``x``, whose name it tells at once, and whose attributes never.

    With ``opens`` it tells those as well, and opens it; it says that all is well when so many descriptors of it are
    closed, and nothing from then on. Its server is a process of its own: the kernel lets go of who waits for an answer
    when the server has ended.
    """

    def __init__(self, place, opens=None):
        self._opens = opens
        try:
            server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:  # no such file, or a kernel without it behind
            print(error, file=sys.stderr)
            sys.exit(77)
        mount(place, "fuse", f"fd={server},rootmode=40000,user_id=0,group_id=0")
        self.asked, asked = os.pipe()  # a byte for each time that somebody asks for what is not answered
        self._pid = os.fork()
        if not self._pid:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.alarm(BOUND_S)  # whoever waits for an answer ends with it, and cannot be killed before
            while True:
                self._serve(server, asked)
        os.close(server)
        os.close(asked)
        os.close(os.open(f"{place}/x", os.O_PATH))  # from now on it is in memory

    def _serve(self, server, asked):
        request = os.read(server, 1 << 18)
        _, code, unique, _ = struct.unpack_from("=IIQQ", request)
        if code == 26:  # FUSE_INIT
            major, minor, ahead, _ = struct.unpack_from("=IIII", request, 40)
            body = struct.pack("=IIIIHHIIHHI28x", 7, min(minor, 31), ahead, 0, 8, 6, 4096, 1, 1, 0, 0)
        elif code == 1:  # FUSE_LOOKUP
            body = struct.pack("=QQQQII", 2, 0, 3600, 0, 0, 0)
            body += ATTRIBUTES
        elif code == 3 and self._opens is not None:  # FUSE_GETATTR
            body = struct.pack("=QII", 3600, 0, 0) + ATTRIBUTES
        elif code == 14 and self._opens is not None:  # FUSE_OPEN
            body = struct.pack("=QII", 1, 0, 0)
        elif code == 25 and self._opens:  # FUSE_FLUSH
            self._opens, body = self._opens - 1, b""
        else:
            if code in (3, 25):
                os.write(asked, b".")
            return
        os.write(server, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)

    def end(self):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

try:
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0))
    if uid:
        kernel.tell("/proc/self/setgroups", "deny")
        kernel.tell("/proc/self/uid_map", f"0 {uid} 1")
        kernel.tell("/proc/self/gid_map", f"0 {gid} 1")
    kernel.mount(None, b"/", MS_REC | MS_PRIVATE)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(77)
'''
)


def told(text: str, *arguments: str) -> Any:
    """Run ``text`` with mounts of its own and return what it prints; skips where the machine does not let it."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + text, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S + 30,
    )
    if done.returncode == NOT_HERE:
        pytest.skip(f"no mounts of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
