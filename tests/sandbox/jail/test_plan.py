"""The order in which walls are raised, without raising any."""

from __future__ import annotations

import itertools

import pytest

from protocol.errors import ArgumentError
from sandbox.jail.plan import WITHOUT_STEPS, Action, Stage, plan, steps_of
from sandbox.jail.walls import LANDLOCK, PRIVILEGES, RLIMITS, SECCOMP, USER_NS, WALLS

EVERY_HOST = list(itertools.product([False, True], [False, True]))


def actions(off: tuple[str, ...] = (), *, is_root: bool = True, has_user_ns: bool = True) -> list[Action]:
    return [step.action for step in plan(off, is_root=is_root, has_user_ns=has_user_ns)]


def test_the_whole_order_for_root() -> None:
    """The list, in full."""
    assert actions() == [
        Action.ENTER_GROUP,
        Action.LEAVE_ROOT,
        Action.ENTER_USER,
        Action.ENTER_NET,
        Action.ENTER_IPC,
        Action.ENTER_MOUNT,
        Action.ENTER_PID,
        Action.EMPTY_ROOT,
        Action.DROP_CAPABILITIES,
        Action.GAIN_NOTHING,
        Action.CLOSE_MEMORY,
        Action.LIMIT,
        Action.REFUSE_CODE,
        Action.RESTRICT,
        Action.LIMIT_DESCRIPTORS,
        Action.SHUT,
    ]


def test_an_ordinary_user_leaves_no_root() -> None:
    """All else is the same."""
    assert actions(is_root=False) == [action for action in actions() if action is not Action.LEAVE_ROOT]


def test_root_without_user_namespaces_leaves_root_last() -> None:
    """It needs root to enter the other ones and to replace the root directory."""
    order = actions(has_user_ns=False)
    assert Action.ENTER_USER not in order
    assert order.index(Action.EMPTY_ROOT) < order.index(Action.LEAVE_ROOT) < order.index(Action.GAIN_NOTHING)


@pytest.mark.parametrize(("is_root", "has_user_ns"), EVERY_HOST)
def test_rules_that_hold_on_every_host(is_root: bool, has_user_ns: bool) -> None:
    """seccomp forbids every other step, and the kernel wants no_new_privs before it."""
    order = actions(is_root=is_root, has_user_ns=has_user_ns)
    assert order[-1] is Action.SHUT
    assert order.index(Action.GAIN_NOTHING) < order.index(Action.RESTRICT)
    assert order.index(Action.RESTRICT) < order.index(Action.LIMIT_DESCRIPTORS)
    assert order.index(Action.EMPTY_ROOT) < order.index(Action.DROP_CAPABILITIES)
    assert len(order) == len(set(order))


@pytest.mark.parametrize("wall", sorted(WALLS))
@pytest.mark.parametrize(("is_root", "has_user_ns"), EVERY_HOST)
def test_a_wall_that_is_off_has_no_step(wall: str, is_root: bool, has_user_ns: bool) -> None:
    """And the others keep theirs."""
    all_steps = plan((), is_root=is_root, has_user_ns=has_user_ns)
    left = plan((wall,), is_root=is_root, has_user_ns=has_user_ns)
    if wall == USER_NS:
        assert left == plan((), is_root=is_root, has_user_ns=False)
    else:
        assert left == tuple(step for step in all_steps if step.wall != wall)


def test_every_wall_has_a_step() -> None:
    """No wall is reported that nobody raises."""
    assert {step.wall for step in plan((), is_root=True, has_user_ns=True)} == set(WALLS) - WITHOUT_STEPS


def test_stages_come_in_order() -> None:
    """The outer process, the zygote, then each worker twice."""
    steps = plan((), is_root=True, has_user_ns=True)
    assert steps == tuple(step for stage in Stage for step in steps_of(steps, stage))
    assert {step.wall for step in steps_of(steps, Stage.LOCK)} == {"mdwe", LANDLOCK, RLIMITS, SECCOMP}


def test_an_unknown_wall_cannot_be_switched_off() -> None:
    """A typing error must not look like a test that passes."""
    with pytest.raises(ArgumentError, match="moat"):
        plan(("moat", PRIVILEGES), is_root=True, has_user_ns=True)
