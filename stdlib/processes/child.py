"""From the fork to the program: what a child does to itself, in this order, each step checked.

Its own session; its three descriptors and no other; the controlling terminal; limits; another user, if asked; death
with its minder; no rights to gain, unless asked; its directory; then the program, by its absolute path. If a step
fails, the minder hears which and why, and no program runs.

The steps are made before the fork: each page of Python that a child does not touch is one less to be copied. Signals
are as a program expects them already: the spawner blocks none, and what it catches goes back to default by the exec.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import struct
import termios
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

import kernel
from stdlib.processes.limits import with_processes, within
from stdlib.processes.messages import Run

FAILURE: Final = struct.Struct("=iB")  # errno and the number of the step
EXIT_NOT_STARTED: Final = 127
TELL: Final = 3  # where the pipe to the minder is; closed by the exec. A minder keeps this number taken
_ALL_ABOVE: Final = 0xFFFFFFFF


class Step(NamedTuple):
    """One step: what it is about, and how it is made."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def plan(run: Run, standard: list[int], tell: int, tasks: int) -> list[Step]:
    """Return the steps to the program of ``run``.

    Args:
        run: What is asked.
        standard: Descriptors that become 0, 1 and 2.
        tell: The pipe to the minder.
        tasks: How many the whole system has now.

    Raises:
        OSError: A descriptor is where another one has to go.
    """
    if min(*standard, tell) <= TELL:
        raise OSError(errno.EBADF, "a descriptor is in the way")
    steps = [Step("session", os.setsid, ())]
    steps += [Step("descriptors", os.dup2, (source, target, True)) for target, source in enumerate(standard)]
    steps.append(Step("descriptors", os.dup2, (tell, TELL, False)))
    steps.append(Step("descriptors", _close_others, ()))
    if run.has_terminal:
        steps.append(Step("terminal", fcntl.ioctl, (0, termios.TIOCSCTTY, 0)))
    steps.append(Step("limits", os.umask, (run.umask,)))
    for kind, value in with_processes(run.limits, run.processes, tasks).items():
        most = within(value, resource.getrlimit(kind)[1])
        steps.append(Step("limits", resource.setrlimit, (kind, (most, most))))
    if run.ids is not None:
        uid, gid, *groups = run.ids
        steps.append(Step("user", os.setgroups, (groups,)))
        steps.append(Step("user", os.setresgid, (gid, gid, gid)))
        steps.append(Step("user", os.setresuid, (uid, uid, uid)))
    bonds = [kernel.ready("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)]  # a change of user takes it away
    if not run.may_gain:
        bonds.append(kernel.ready("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1))
    steps.append(Step("privileges", kernel.make, (bonds,)))
    steps.append(Step("privileges", _check_parent, (os.getpid(),)))
    steps.append(Step("directory", os.chdir, (run.directory,)))  # as the user who may have changed
    environment = dict(pair.split(b"=", 1) for pair in run.environment)
    steps.append(Step("program", os.execve, (run.executable, run.argv, environment)))
    return steps


def become(steps: list[Step], tell: int) -> NoReturn:
    """Become the program."""
    number = 0
    try:
        for _, function, arguments in steps:
            function(*arguments)
            number += 1
    except BaseException as error:  # noqa: BLE001 - whatever it was, the minder must not take it for a program that runs
        reached = TELL if number > _LAST_COPY else tell
        os.write(reached, FAILURE.pack(getattr(error, "errno", None) or 0, number))
    finally:
        os._exit(EXIT_NOT_STARTED)  # whatever happened: a child never goes on as a minder


_LAST_COPY: Final = 4  # the step that puts the pipe in its place


def _close_others() -> None:
    try:
        kernel.syscall("close_range", TELL + 1, _ALL_ABOVE)
    except OSError:  # before Linux 5.9
        os.closerange(TELL + 1, os.sysconf("SC_OPEN_MAX"))


def _check_parent(minder: int) -> None:
    if os.getppid() != minder:  # it ended before the signal was asked for
        os._exit(EXIT_NOT_STARTED)
