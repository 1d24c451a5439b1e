"""What stands is reported, and what cannot stand takes nothing else with it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.jail import builder, landlock, mdwe, namespaces, root, seccomp
from sandbox.jail.builder import _ACTIONS, _CALLS, Builder
from sandbox.jail.plan import Action
from sandbox.jail.trial import in_child
from sandbox.jail.walls import WALLS, State


def refuse(*_args: object) -> None:
    raise OSError(errno.ENOSYS, "not in this kernel")


def refuse_net(wall: str, real: Callable[[str], None] = namespaces.enter) -> None:
    if wall == "net_ns":
        refuse()
    real(wall)


def states(off: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Raise a zygote's walls in a child and return how each stands."""

    def work(say: Any) -> None:
        made = Builder(off)
        if made.outer():
            inner = in_child(lambda tell: finish(made, tell))
            say(inner.told[0])
        else:
            finish(made, say)

    def finish(made: Builder, say: Any) -> None:
        made.zygote()
        say(json.dumps({wall.name: [wall.state.value, wall.detail] for wall in made.walls()}))

    trial = in_child(work)
    assert trial.error is None, trial
    told: dict[str, list[str]] = json.loads(trial.told[0])
    return told


@pytest.mark.parametrize(
    ("module", "function", "double", "wall"),
    [
        (landlock, "forbid_all", refuse, "landlock"),
        (seccomp, "calls", refuse, "seccomp"),
        (mdwe, "calls", refuse, "mdwe"),
        (root, "empty", refuse, "mount_ns"),
        (namespaces, "enter_user", refuse, "user_ns"),
    ],
)
def test_one_missing_wall_leaves_the_others_standing(
    module: Any, function: str, double: Any, wall: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Degraded wall by wall, and said so with the kernel's reason."""
    before = {name for name, (state, _) in states().items() if state == State.UP}
    monkeypatch.setattr(module, function, double)
    after = states()
    assert after[wall][0] == State.MISSING
    assert "not in this kernel" in after[wall][1]
    lost = before - {name for name, (state, _) in after.items() if state == State.UP}
    assert lost == {wall}


def test_a_system_that_gives_user_namespaces_without_any_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some allow to enter one and then refuse all that it is for; root then enters the others without it."""
    monkeypatch.setattr(namespaces, "enter", refuse_net)
    after = states()
    assert after["user_ns"][0] == State.MISSING
    assert after["net_ns"][0] == State.MISSING
    assert after["seccomp"][0] == State.UP


def test_a_wall_that_is_off_says_so() -> None:
    """It cannot be taken for one that stands."""
    after = states(("seccomp",))
    assert after["seccomp"] == ["off", "switched off"]


def test_an_unknown_processor_costs_two_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those made of system call numbers; nothing is guessed."""
    monkeypatch.setattr(builder.kernel, "_MACHINE", "riscv64")
    made = Builder()
    found = {wall.name: wall for wall in made.walls()}
    assert found["seccomp"].state is State.MISSING
    assert "riscv64" in found["seccomp"].detail
    assert found["landlock"].state is State.MISSING


def test_every_action_can_be_taken() -> None:
    """The plan and the functions name the same steps."""
    assert set(_ACTIONS) | set(_CALLS) == set(Action)
    assert not set(_ACTIONS) & set(_CALLS)


def test_every_wall_is_reported() -> None:
    """In the order in which people read them."""
    assert [wall.name for wall in Builder().walls()] == list(WALLS)
