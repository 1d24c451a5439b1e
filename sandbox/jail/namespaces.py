"""Walls ``user_ns``, ``pid_ns``, ``net_ns`` and ``ipc_ns``: fresh namespaces, entered once by the zygote.

Entering the network namespace is the dear part (700 us), so it is paid once and not for each worker. The maps keep the
ids as they are: a mapped root would look like power to interpreters, and nothing needs it.
"""

from __future__ import annotations

import os
from typing import Final

import kernel
from sandbox.jail import privileges
from sandbox.jail.walls import IPC_NS, MOUNT_NS, NET_NS, PID_NS

FLAGS: Final[dict[str, int]] = {
    NET_NS: kernel.CLONE_NEWNET,
    IPC_NS: kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS,
    MOUNT_NS: kernel.CLONE_NEWNS,
    PID_NS: kernel.CLONE_NEWPID,
}


def enter_user() -> None:
    """Enter a fresh user namespace in which this user is itself and nobody else exists.

    Raises:
        OSError: The kernel or its configuration does not allow it to this user.
    """
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    privileges.open_own_proc()
    kernel.tell("/proc/self/setgroups", "deny")  # user_namespaces(7): before gid_map, unless privileged outside
    kernel.tell("/proc/self/uid_map", f"{uid} {uid} 1")
    kernel.tell("/proc/self/gid_map", f"{gid} {gid} 1")


def enter(wall: str) -> None:
    """Enter the fresh namespace of ``wall``, a key of ``FLAGS``."""
    kernel.unshare(FLAGS[wall])
