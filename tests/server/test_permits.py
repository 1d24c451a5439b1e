"""What a grant allows: everything that is asked must lie within one grant; what it does not name is not allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.errors import ArgumentError
from server.services.permits import RUN, SCHEDULE, Asked, Permit, read

WEB = ("i1", "web-1", {"role": "web"})
MAIL = ("i2", "mail-1", {"role": "mail"})
ASKED = Asked(RUN, "fix/restart", "web-1", [WEB], {"service": "nginx"})


def permit(**changes: Any) -> Permit:
    said = {
        "who": "tom", "scripts": "fix/restart", "target": "role=web", "parameters": {"service": ["nginx", "php"]},
        "actions": ["run"], "expires_us": None,
    } | changes  # fmt: skip
    return read("g1", **said)


def test_what_it_says_is_allowed() -> None:
    assert permit().objection(ASKED) is None
    assert permit().objection(replace(ASKED, parameters={})) is None, "then the script's defaults stand"
    assert permit(scripts="fix/**", target="*", parameters=None).objection(ASKED) is None
    assert permit(parameters={"service": None}).objection(replace(ASKED, parameters={"service": "x"})) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"script": "fix/restart/all"}, "not about run"),
        ({"script": "fix/restarts"}, "not about run"),
        ({"action": SCHEDULE}, "not about schedule"),
        ({"agents": [WEB, MAIL]}, "mail-1 is not one of role=web"),
        ({"agents": [("i3", "web-3", {"role": "Web"})]}, "web-3 is not one of"),
        ({"parameters": {"service": "sshd"}}, "the parameter service must be one of nginx, php"),
        ({"parameters": {"service": ["nginx"]}}, "must be one of"),
        ({"parameters": {"service": "nginx", "force": True}}, "the parameter force cannot be given"),
    ],
)
def test_what_it_does_not_say(changes: dict[str, Any], said: str) -> None:
    objection = permit().objection(replace(ASKED, **changes))
    assert objection is not None
    assert said in objection


def test_values_are_compared_as_they_are_written() -> None:
    one = permit(parameters={"n": ["1"], "b": ["true"]})
    for value, ok in [(1, True), (True, False), ("1", True), (1.0, False), (None, False)]:
        assert (one.objection(replace(ASKED, parameters={"n": value})) is None) is ok
    assert one.objection(replace(ASKED, parameters={"b": True})) is None
    assert one.objection(replace(ASKED, parameters={"b": 1})) is not None


@pytest.mark.parametrize(
    ("target", "allowed"),
    [("role=web", True), ("web-1", True), ("web-*", False), ("role=web,env=prod", False), ("*", False)],
)
def test_a_schedule_cannot_grow(target: str, allowed: bool) -> None:
    """All that it means now lies within; but hosts come and labels change, and a schedule stays."""
    both = permit(actions=["run", "schedule"])
    asked = replace(ASKED, action=SCHEDULE, target=target)
    assert (both.objection(asked) is None) is allowed


def test_who_it_is_for() -> None:
    assert permit().is_for("tom", (), (), 0)
    assert not permit().is_for("Tom", ("tom",), ("tom",), 0)
    assert permit(who="@help").is_for("x", (), ("@help",), 0)
    assert not permit(who="@help").is_for("@help", ("@help",), (), 0), "a principal cannot be called like a group"
    assert permit(who="role:viewer").is_for("x", ("viewer",), (), 0)
    assert not permit(who="role:viewer").is_for("role:viewer", (), ("viewer",), 0)
    ending = permit(expires_us=100)
    assert ending.is_for("tom", (), (), 99)
    assert not ending.is_for("tom", (), (), 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"who": ""}, {"who": "@"}, {"who": "role:"}, {"who": "a\nb"}, {"who": "x" * 101}, {"scripts": "fix/*"},
        {"scripts": ""}, {"target": ""}, {"target": "a b"}, {"actions": []}, {"actions": ["delete"]},
        {"parameters": {"a": []}}, {"parameters": {"a": [1]}}, {"parameters": [1]}, {"parameters": {"a": "x"}},
        {"parameters": {"a": ["x"] * 65}},
    ],
)  # fmt: skip
def test_what_is_no_grant(changes: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        permit(**changes)
