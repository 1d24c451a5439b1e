"""Which step of which wall is taken when. Pure: tested without privileges, carried out by ``builder``.

The order is the security of it, and these are its reasons:

- The control group comes first: only root, or who the tree was delegated to, may enter one.
- The user namespace comes before the others: it is what gives an ordinary user the right to enter them. Root leaves
  root before it, so that the namespace belongs to an ordinary user. Where there is none, root leaves last, when all is
  built.
- The process namespace comes last of them: it is for the next child, which is the zygote proper.
- Capabilities are dropped when the root is replaced, which was the last thing to need them.
- In the worker: no_new_privs before landlock and seccomp (the kernel demands it), limits before the language runtime
  exists, the limit on descriptors after landlock (whose ruleset is one more), seccomp last (it forbids every other).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import ArgumentError
from sandbox.jail.walls import (
    CGROUP,
    IPC_NS,
    LANDLOCK,
    LANGUAGE,
    MDWE,
    MOUNT_NS,
    NET_NS,
    PID_NS,
    PRIVILEGES,
    RLIMITS,
    SECCOMP,
    USER_NS,
    WALLS,
)


class Stage(StrEnum):
    """Who takes a step, and when."""

    OUTER = "outer"  # the process that was started, once, all imports done
    ZYGOTE = "zygote"  # the first process of the fresh process namespace, once
    WORKER = "worker"  # each worker, before its language runtime exists
    LOCK = "lock"  # each worker, after that and before it receives the program


class Action(StrEnum):
    """One step. ``builder`` has exactly one function for each."""

    ENTER_GROUP = "enter a control group"
    LEAVE_ROOT = "leave root"
    ENTER_USER = "enter a user namespace"
    ENTER_NET = "enter a network namespace"
    ENTER_IPC = "enter an ipc and host name namespace"
    ENTER_MOUNT = "enter a mount namespace"
    ENTER_PID = "enter a process namespace"
    EMPTY_ROOT = "empty the root"
    DROP_CAPABILITIES = "drop capabilities"
    GAIN_NOTHING = "set no_new_privs"
    CLOSE_MEMORY = "close memory"
    LIMIT = "set limits"
    LIMIT_DESCRIPTORS = "limit descriptors"
    REFUSE_CODE = "refuse writable code"
    RESTRICT = "restrict by landlock"
    SHUT = "shut by seccomp"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of raising one wall."""

    wall: str
    stage: Stage
    action: Action


_GROUP: Final = Step(CGROUP, Stage.OUTER, Action.ENTER_GROUP)
_NAMESPACES: Final = (
    Step(NET_NS, Stage.OUTER, Action.ENTER_NET),
    Step(IPC_NS, Stage.OUTER, Action.ENTER_IPC),
    Step(MOUNT_NS, Stage.OUTER, Action.ENTER_MOUNT),
    Step(PID_NS, Stage.OUTER, Action.ENTER_PID),
    Step(MOUNT_NS, Stage.ZYGOTE, Action.EMPTY_ROOT),
)
_WORKER: Final = (
    Step(PRIVILEGES, Stage.WORKER, Action.GAIN_NOTHING),
    Step(PRIVILEGES, Stage.WORKER, Action.CLOSE_MEMORY),
    Step(RLIMITS, Stage.WORKER, Action.LIMIT),
    Step(MDWE, Stage.LOCK, Action.REFUSE_CODE),
    Step(LANDLOCK, Stage.LOCK, Action.RESTRICT),
    Step(RLIMITS, Stage.LOCK, Action.LIMIT_DESCRIPTORS),
    Step(SECCOMP, Stage.LOCK, Action.SHUT),
)
_LEAVE: Final = Action.LEAVE_ROOT


def plan(off: Collection[str] = (), *, is_root: bool, has_user_ns: bool) -> tuple[Step, ...]:
    """Return the steps in order.

    Args:
        off: Walls that are not raised; for tests.
        is_root: Whether this is root of the host, who has something to leave.
        has_user_ns: Whether this kernel gives user namespaces to the user that the worker will be.

    Raises:
        ArgumentError: ``off`` names no wall.
    """
    unknown = set(off) - set(WALLS)
    if unknown:
        raise ArgumentError(f"no walls: {', '.join(sorted(unknown))} (known: {', '.join(WALLS)})", parameter="off")
    leave = (Step(PRIVILEGES, Stage.OUTER, _LEAVE),) if is_root else ()
    if has_user_ns and USER_NS not in off:
        outer = (_GROUP, *leave, Step(USER_NS, Stage.OUTER, Action.ENTER_USER), *_NAMESPACES)
    else:
        late = (Step(PRIVILEGES, Stage.ZYGOTE, _LEAVE),) if is_root else ()
        outer = (_GROUP, *_NAMESPACES, *late)
    steps = (*outer, Step(PRIVILEGES, Stage.ZYGOTE, Action.DROP_CAPABILITIES), *_WORKER)
    return tuple(step for step in steps if step.wall not in off)


def steps_of(steps: Collection[Step], stage: Stage) -> tuple[Step, ...]:
    """Return the steps of one stage, in order."""
    return tuple(step for step in steps if step.stage is stage)


#: Walls that no step raises: the guards of the language are part of the runtime itself.
WITHOUT_STEPS: Final = frozenset({LANGUAGE})
