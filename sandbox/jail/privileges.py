"""Wall ``privileges``: an ordinary user without capabilities, who can gain none, whose memory is closed to neighbours.

Order matters: changing the user id clears the parent-death signal and makes the process undumpable, so the signal is
set last, and the caller checks afterwards that its parent is still there.
"""

from __future__ import annotations

import errno
import os
import signal

import kernel


def leave_root(uid: int, gid: int) -> None:
    """Become ``uid`` and ``gid`` for good, with no other group.

    Raises:
        OSError: The kernel refuses, or an id did not change as asked.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise OSError(errno.EPERM, "the user did not change")


def drop_capabilities() -> None:
    """Give up all capabilities: bounding, ambient, permitted, effective and inheritable."""
    kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL, what="clear ambient capabilities")
    _empty_bounding_set()
    kernel.capset_none()


def _empty_bounding_set() -> None:
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability, what="drop capability")
        except OSError as error:
            if error.errno == errno.EINVAL and capability > 0:  # the kernel knows no more of them
                return
            if error.errno == errno.EPERM:  # an ordinary user has none to drop and, with no_new_privs, can gain none
                return
            raise


def gain_nothing() -> list[kernel.Call]:
    """Return the call that sets no_new_privs: no program that is started can have more rights than this process."""
    return [kernel.ready("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, what="no_new_privs")]


def close_memory() -> list[kernel.Call]:
    """Return the call that refuses ptrace, core dumps and ``/proc/<pid>/mem`` to processes of the same user."""
    return [kernel.ready("prctl", kernel.PR_SET_DUMPABLE, 0, what="dumpable off")]


def open_own_proc() -> None:
    """Allow this process to write its own files in /proc again, which a change of user id takes away."""
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1, what="dumpable on")


def die_with_parent() -> list[kernel.Call]:
    """Return the call that asks the kernel for SIGKILL when the thread that started this process ends."""
    return [kernel.ready("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL, what="parent-death signal")]
