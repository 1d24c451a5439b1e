"""Carries out the plan and keeps account of which walls stand.

In the zygote a wall that the kernel refuses is missing from then on, and said so; the others are still raised. In a
worker there is no such mercy: each step that the zygote found possible must succeed, or the worker ends before it has
received anything. Which steps are possible in a worker is found once, by a rehearsal in a child.

A worker's steps are system calls that the zygote has made ready (:class:`kernel.Batch`); the worker only makes them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import kernel
from kernel import offspring
from sandbox.jail import cgroup, descriptors, landlock, mdwe, namespaces, privileges, rlimits, root, seccomp
from sandbox.jail.plan import WITHOUT_STEPS, Action, Stage, Step, plan, steps_of
from sandbox.jail.trial import Say, in_child
from sandbox.jail.walls import CGROUP, IPC_NS, LANDLOCK, MOUNT_NS, NET_NS, PID_NS, SECCOMP, USER_NS, WALLS, State, Wall

DEFAULT_ID: Final = 65534  # nobody and nogroup on every Linux
_REHEARSAL_MEMORY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Who workers are if the agent is root."""

    uid: int = DEFAULT_ID
    gid: int = DEFAULT_ID


NOBODY: Final = Identity()


class Locking(NamedTuple):
    """What one worker does to itself, ready to be made. ``OSError`` from either: it must not go on."""

    first: kernel.Batch  # right after the fork
    last: kernel.Batch  # before it receives its program


class Builder:
    """Raises the walls of one zygote and of its workers.

    Args:
        off: Walls that are not raised; for tests.
        identity: Who root becomes.
    """

    def __init__(self, off: Collection[str] = (), identity: Identity = NOBODY) -> None:
        self._off = frozenset(off)
        self._identity = identity
        self._reasons: dict[str, str] = {}  # why a wall is missing
        self._details: dict[str, str] = {}  # what there is to say of one that stands
        self._base_bytes = rlimits.address_space_bytes()
        self._filter = _filter_or_reason(self._reasons)
        is_root = os.geteuid() == 0
        self._trial = None if USER_NS in self._off else _user_ns_trial(identity, is_root)
        self._steps = plan(self._off, is_root=is_root, has_user_ns=self._trial is None)
        if self._trial is not None:
            self._reasons[USER_NS] = self._trial
        self._ruleset: int | None = None  # of landlock; made in the zygote
        self._ruleset_at = descriptors.RULESET  # where the one who is to be restricted has it

    def outer(self) -> bool:
        """Raise what the started process raises; return whether its next child starts a process namespace."""
        self._raise(Stage.OUTER)
        return PID_NS not in self._reasons and PID_NS not in self._off

    def zygote(self) -> None:
        """Raise what the zygote proper raises, then rehearse a worker."""
        self._raise(Stage.ZYGOTE)
        self._make_ruleset()
        self._rehearse()

    def locking(self, limits: rlimits.WorkerLimits, channel: int, null: int) -> Locking:
        """Return what a worker with these limits has to do, in the zygote and before the fork.

        Args:
            limits: Of this worker; ``base_bytes`` is filled in here.
            channel: Its end of the socketpair.
            null: A descriptor of null.

        Raises:
            OSError: A limit is no number, or a descriptor is in the way.
        """
        own = [kernel.ready("setsid"), *descriptors.calls(channel, null, self._ruleset)]
        first = [*own, *privileges.die_with_parent(), *self._calls(Stage.WORKER, limits)]
        return Locking(kernel.batch(first), kernel.batch(self._calls(Stage.LOCK, limits)))

    def walls(self) -> tuple[Wall, ...]:
        """Return how each wall stands now."""
        return tuple(self._wall(name) for name in WALLS)

    def _wall(self, name: str) -> Wall:
        if name in self._off:
            return Wall(name, State.OFF, "switched off")
        if name in self._reasons:
            return Wall(name, State.MISSING, self._reasons[name])
        return Wall(name, State.UP, self._details.get(name, WALLS[name]))

    def _raise(self, stage: Stage) -> None:
        for step in steps_of(self._steps, stage):
            if step.wall in self._reasons:  # an earlier step of it failed; a half wall would only look like one
                continue
            try:
                self._take(step)
            except OSError as error:
                self._miss(step, error)

    def _miss(self, step: Step, error: OSError) -> None:
        self._reasons.setdefault(step.wall, f"cannot {step.action}: {error.strerror or error}")

    def _take(self, step: Step) -> None:
        _ACTIONS[step.action](self)

    def _calls(self, stage: Stage, limits: rlimits.WorkerLimits) -> list[kernel.Call]:
        limits = replace(limits, base_bytes=self._base_bytes)
        return [call for step in steps_of(self._steps, stage) for call in _CALLS[step.action](self, limits)]

    def _make_ruleset(self) -> None:
        if LANDLOCK in self._off or LANDLOCK in self._reasons:
            return
        try:
            self._ruleset = offspring.kept(landlock.forbid_all())
        except OSError as error:
            self._reasons[LANDLOCK] = f"cannot make a ruleset: {error.strerror or error}"

    def _rehearse(self) -> None:
        """Raise all walls of a worker in a child, one by one, and forget the steps that this kernel refuses."""
        steps = steps_of(self._steps, Stage.WORKER) + steps_of(self._steps, Stage.LOCK)
        told = in_child(lambda say: self._rehearse_in_child(steps, say)).told
        for step, answer in zip(steps, [*told, *["the rehearsal died"] * len(steps)], strict=False):
            if answer:
                self._reasons.setdefault(step.wall, f"cannot {step.action}: {answer}")
        self._steps = tuple(step for step in self._steps if step.wall not in self._reasons or step not in steps)
        if LANDLOCK in self._reasons and self._ruleset is not None:
            os.close(self._ruleset)
            self._ruleset = None

    def _rehearse_in_child(self, steps: Collection[Step], say: Say) -> None:
        limits = rlimits.WorkerLimits(_REHEARSAL_MEMORY_BYTES, 60, self._base_bytes)
        if self._ruleset is not None:
            self._ruleset_at = self._ruleset  # in its own place: what a worker has there may be open here
        for step in steps:
            try:
                kernel.make(_CALLS[step.action](self, limits))
            except OSError as error:
                say(error.strerror or str(error))
            else:
                say("")

    def enter_group(self) -> None:
        """Enter a control group, and keep what it holds for the report."""
        had = cgroup.enter(cgroup.Limits.of_this_host())
        self._details[CGROUP] = f"{WALLS[CGROUP]}: {had}"

    def leave_root(self) -> None:
        """Become the identity of workers."""
        privileges.leave_root(self._identity.uid, self._identity.gid)

    def shut(self) -> list[kernel.Call]:
        """Return the call that shuts a worker."""
        return seccomp.calls(self._filter)

    def restrict(self) -> list[kernel.Call]:
        """Return the calls that restrict a worker."""
        if self._ruleset is None:
            raise OSError(errno.ENOSYS, "there is no ruleset")
        return landlock.calls(self._ruleset_at)


#: What the zygote does to itself.
_ACTIONS: Final[dict[Action, Callable[[Builder], None]]] = {
    Action.ENTER_GROUP: Builder.enter_group,
    Action.LEAVE_ROOT: Builder.leave_root,
    Action.ENTER_USER: lambda _: namespaces.enter_user(),
    Action.ENTER_NET: lambda _: namespaces.enter(NET_NS),
    Action.ENTER_IPC: lambda _: namespaces.enter(IPC_NS),
    Action.ENTER_MOUNT: lambda _: namespaces.enter(MOUNT_NS),
    Action.ENTER_PID: lambda _: namespaces.enter(PID_NS),
    Action.EMPTY_ROOT: lambda _: root.empty(),
    Action.DROP_CAPABILITIES: lambda _: privileges.drop_capabilities(),
}
#: What it makes ready for a worker.
_CALLS: Final[dict[Action, Callable[[Builder, rlimits.WorkerLimits], list[kernel.Call]]]] = {
    Action.GAIN_NOTHING: lambda _builder, _limits: privileges.gain_nothing(),
    Action.CLOSE_MEMORY: lambda _builder, _limits: privileges.close_memory(),
    Action.LIMIT: lambda _builder, limits: rlimits.calls(limits),
    Action.LIMIT_DESCRIPTORS: lambda _builder, _limits: rlimits.no_more_descriptors(),
    Action.REFUSE_CODE: lambda _builder, _limits: mdwe.calls(),
    Action.RESTRICT: lambda builder, _limits: builder.restrict(),
    Action.SHUT: lambda builder, _limits: builder.shut(),
}


def _filter_or_reason(reasons: dict[str, str]) -> bytes:
    try:
        return seccomp.assemble(kernel.architecture())
    except OSError as error:  # a processor whose numbers nobody checked: these two walls cannot be
        reasons[SECCOMP] = reasons[LANDLOCK] = error.strerror or str(error)
        return b""


def _user_ns_trial(identity: Identity, is_root: bool) -> str | None:
    """Return why user namespaces cannot be had here; None if they can. Tried in a child, as it cannot be undone.

    Entering alone proves little: some systems allow it and then refuse all that it is for.
    """

    def attempt(_say: Say) -> None:
        if is_root:
            privileges.leave_root(identity.uid, identity.gid)
        namespaces.enter_user()
        namespaces.enter(NET_NS)

    trial = in_child(attempt)
    return trial.error if trial.status == 0 else "the trial died"


#: Compared by a test with the walls that have steps, so that no wall is reported that nobody raises.
RAISED: Final = frozenset(WALLS) - WITHOUT_STEPS
