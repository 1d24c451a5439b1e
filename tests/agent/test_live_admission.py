"""Whether a person's session may be opened: the ceiling, the operator's order, and what the grant adds and takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from premises import AGENT
from world import NOW, World

from agent.live_admission import Opening, Wish, admit
from policies.ceiling import Ceiling, SessionRules, load_ceiling
from policies.decide import decide_effective
from policies.model import Facts, Verdict
from policies.targets import NetTarget
from policies.users import User
from protocol.errors import ArgumentError, TrustError
from protocol.signing import sign
from protocol.tiers import Tier
from protocol.timestamps import stamp

WISH = Wish("s_1", "files", "inspect", "oli", "T-1", {})
OPEN = load_ceiling("highest_tier: operate\naccept_server_word: [session]\n", "c.yaml")
STRICT = replace(OPEN, accept_server_word=frozenset())


def order(world: World, *signers: str, kind: str = "session_order", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": kind, "kind": "files", "agents": [AGENT], "tier": "inspect", "grant": {}, "reason": "T-1",
        "issued": stamp(NOW), "expires": stamp(NOW + timedelta(minutes=10)), "nonce": "n1",
    } | changes  # fmt: skip
    return sign(kind, body, *[world.key(name) for name in signers or ("oli",)]).to_plain()


def admitted(world: World, ceiling: Ceiling = OPEN, **changes: Any) -> Opening:
    roster = world.roster(expires=stamp(NOW + timedelta(days=300)))
    return admit(replace(WISH, **changes), roster, ceiling, agent_id=AGENT, now=NOW, user=User("root"))


def refusal(world: World, ceiling: Ceiling = STRICT, **changes: Any) -> str:
    with pytest.raises(TrustError) as caught:
        admitted(world, ceiling, **changes)
    return caught.value.reason


def may(opening: Opening, call: str, path: str | None = None) -> bool:
    return decide_effective(opening.effective, call, Facts(path=path)).allowed


def test_an_operators_order_opens_a_session(world: World) -> None:
    opening = admitted(world, STRICT, order=order(world))
    assert opening.nonce is not None
    assert (opening.nonce.text, opening.tier.label) == ("n1", "inspect")


def test_the_servers_word_is_enough_only_where_the_owner_says_so(world: World) -> None:
    assert admitted(world).nonce is None
    assert refusal(world) == "operator_signature_required"
    for word in ("run", "schedule"):
        assert refusal(world, replace(OPEN, accept_server_word=frozenset({word}))) == "operator_signature_required"


def test_an_order_is_checked_also_where_none_is_needed(world: World) -> None:
    assert refusal(world, OPEN, order=order(world, agents=["agt_other"])) == "mix_and_match"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "terminal"}, "mix_and_match"),
        ({"tier": "observe"}, "mix_and_match"),
        ({"grant": {"deny": [{"call": "fs.read"}]}}, "mix_and_match"),
        ({"reason": "T-2"}, "mix_and_match"),
    ],
)
def test_an_order_opens_what_it_says_and_nothing_else(world: World, changes: dict[str, Any], reason: str) -> None:
    """A server that holds an order for looking at files must not get a terminal for it."""
    assert refusal(world, order=order(world), **changes) == reason


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda world: order(world, "mia"), "unknown_key"),
        (lambda world: order(world, "ann"), "operator_signature_required"),
        (lambda world: order(world, issued=stamp(NOW + timedelta(hours=1))), "expired"),
        (lambda world: order(world, expires=stamp(NOW)), "expired"),
        (lambda world: order(world, agents=[]), "mix_and_match"),
        (lambda world: order(world, extra=1), "malformed"),
        (lambda world: order(world, agents="agt"), "malformed"),
        (lambda world: "order", "malformed"),
        (lambda world: order(world) | {"signatures": []}, "unsigned"),
        (lambda world: order(world, kind="order"), "wrong_type"),
    ],
)
def test_an_order_that_proves_nothing(world: World, made: Any, reason: str) -> None:
    assert refusal(world, order=made(world)) == reason


def test_an_operators_tier_bounds_the_session(world: World) -> None:
    ceiling = replace(STRICT, highest_tier=type(OPEN.highest_tier).ADMIN)
    wrong = order(world, tier="admin")
    assert refusal(world, ceiling, order=wrong, tier="admin") == "operator_signature_required"


def test_a_host_without_a_roster_believes_no_order(world: World) -> None:
    with pytest.raises(TrustError) as caught:
        admit(replace(WISH, order=order(world)), None, STRICT, agent_id=AGENT, now=NOW)
    assert caught.value.reason == "unsigned"


def test_the_ceiling_bounds_tier_and_time(world: World) -> None:
    assert refusal(world, OPEN, tier="admin") == "above_ceiling"
    with pytest.raises(ArgumentError):
        admitted(world, tier="root")
    ceiling = replace(OPEN, sessions=SessionRules(longest_s=600.0, idle_s=60.0))
    opening = admitted(world, ceiling, longest_s=3600.0, idle_s=10.0)
    assert (opening.limits.wall_s, opening.idle_s) == (600.0, 10.0)


def test_a_grant_narrows_and_never_widens(world: World) -> None:
    narrow = admitted(world, grant={"allow": [{"call": "fs.read", "paths": ["/etc/**"]}, {"call": "proc.exec"}]})
    assert may(narrow, "fs.read", "/etc/hosts")
    assert not may(narrow, "fs.read", "/var/log/syslog")
    assert not may(narrow, "proc.exec"), "the tier has no rule for it"
    assert may(admitted(world), "fs.read", "/var/log/syslog")


def test_a_grant_that_cannot_be_understood_grants_nothing(world: World) -> None:
    assert refusal(world, OPEN, grant={"alow": []}) == "malformed"


def test_the_ceilings_rules_hold_in_sessions_too(world: World) -> None:
    ceiling = load_ceiling(
        "highest_tier: inspect\naccept_server_word: [session]\ndeny: [{call: fs.read, paths: [/etc/**]}]\n"
        "limits: {wall: 1s, calls: 3}\nsessions: {longest: 2h}\n",
        "c.yaml",
    )
    opening = admitted(world, ceiling)
    assert not may(opening, "fs.read", "/etc/hosts")
    assert opening.limits.wall_s == 7200.0, "the limits of scripts are not those of people"


def test_sessions_of_a_kind_do_what_the_kind_is_for(world: World) -> None:
    """Somebody who may look at files of tier admin has not been given a shell."""
    ceiling = replace(OPEN, highest_tier=type(OPEN.highest_tier).ADMIN)
    for kind, call, is_allowed in (
        ("files", "fs.remove", True), ("files", "proc.exec", False), ("files", "tty.open", False),
        ("files", "net.connect", False), ("forward", "net.listen", True), ("forward", "fs.read", False),
        ("terminal", "tty.open", True), ("command", "proc.exec", True),
    ):  # fmt: skip
        assert may(admitted(world, ceiling, kind=kind, tier="admin"), call, "/srv/x") is is_allowed, (kind, call)


def test_an_access_grant_narrows_and_one_that_cannot_be_read_opens_nothing(world: World) -> None:
    access = {"allow": [{"calls": ["fs.*", "file.*", "writer.*"], "paths": ["/var/log/**"]}]}
    narrow = admitted(world, access=access)
    assert may(narrow, "fs.read", "/var/log/syslog")
    assert not may(narrow, "fs.read", "/etc/hosts")
    assert refusal(world, OPEN, access={"alow": []}) == "malformed"


ROOT, DEPLOY, WWW = User("root"), User("deploy"), User("www-data")
SHELL = Facts(command="sh", program="/bin/sh", arguments=())


def as_whom(opening: Opening, user: User | None, call: str = "tty.login") -> Verdict:
    return decide_effective(opening.effective, call, SHELL._replace(user=user))


def terminal(world: World, ceiling: Ceiling = OPEN, kind: str = "terminal", **changes: Any) -> Opening:
    ceiling = replace(ceiling, highest_tier=Tier.ADMIN)
    return admitted(world, ceiling, kind=kind, tier="admin", **changes)


def admin_ceiling(text: str) -> Ceiling:
    return load_ceiling(f"highest_tier: admin\naccept_server_word: [session]\n{text}", "ceiling.yaml")


def test_programs_start_as_the_users_of_the_access_grant(world: World) -> None:
    opening = terminal(world, users=("deploy",))
    assert as_whom(opening, DEPLOY).allowed
    for user in (None, ROOT, WWW, User("deploy", group="docker")):
        verdict = as_whom(opening, user)
        assert (verdict.allowed, verdict.rule) == (False, "the access grant: users allow *: users"), user
        assert f"as deploy only, not as {user or 'root'}" in verdict.reason
    assert as_whom(terminal(world), None).allowed, "who names nobody restricts nobody"


@pytest.mark.parametrize(
    "call", ["fs.write", "fs.read", "proc.signal", "sys.service_control", "net.http", "proc.start"]
)
def test_what_the_agent_itself_would_do_is_not_done_as_the_users_of_the_grant(world: World, call: str) -> None:
    """A terminal as deploy must not be a way to have root write files."""
    opening = terminal(world, users=("deploy",))
    assert not decide_effective(opening.effective, call, Facts(path="/etc/sudoers.d/x")).allowed
    assert decide_effective(terminal(world, users=("root",)).effective, "fs.write", Facts(path="/srv/x")).allowed


@pytest.mark.parametrize(
    "users",
    [("deploy", "ro\0ot"), ("deploy\nroot",), ("0",), ("1000",), ("",), ("*",), (0,), (None,), ("d" * 65,), ("-root",),
     ("\u0660",), tuple(f"u{number}" for number in range(65))],
)  # fmt: skip
def test_an_access_grant_of_users_that_nobody_can_be_opens_nothing(world: World, users: tuple[Any, ...]) -> None:
    with pytest.raises(ArgumentError, match="users"):
        terminal(world, users=users)


def test_an_access_grant_of_nobody_lets_nothing_be_done(world: World) -> None:
    opening = terminal(world, users=())
    for user in (None, ROOT, DEPLOY):
        assert not as_whom(opening, user).allowed


def test_the_ceiling_says_as_whom_people_are_here(world: World) -> None:
    ceiling = admin_ceiling("sessions:\n  users: [deploy, www-data]\n")
    for kind in ("terminal", "command"):
        opening = terminal(world, ceiling, kind)
        assert as_whom(opening, DEPLOY).allowed
        assert as_whom(opening, WWW).allowed
        for user in (None, ROOT, User("deploy2"), User("deploy", group="root")):
            verdict = as_whom(opening, user)
            assert (verdict.allowed, verdict.rule) == (False, "ceiling.yaml:4 allow *: users")
            assert "as deploy or www-data only" in verdict.reason
    assert not may(terminal(world, ceiling, "files"), "fs.read", "/srv/x"), "the agent reads it as root"
    assert may(terminal(world, admin_ceiling("sessions: {users: [root]}"), "files"), "fs.read", "/srv/x")
    forward = terminal(world, ceiling, "forward")
    target = Facts(target=NetTarget.of("web.example.org", 443))
    assert decide_effective(forward.effective, "net.forward", target).allowed, "nothing is done as anybody there"


def test_a_server_that_lies_about_the_grant_gets_no_further_than_the_signed_order(world: World) -> None:
    """It leaves out the users that it granted, or names others than the operator signed, or changes the order."""
    strict = replace(STRICT, highest_tier=Tier.INSPECT)
    grant = {"allow": [{"call": "*", "users": ["deploy"]}]}
    signed = order(world, kind="session_order", grant=grant)
    asked: dict[str, Any] = {"grant": grant, "order": signed}
    assert not may(admitted(world, strict, **asked), "fs.read", "/etc/hosts"), "which root would read"
    opening = admitted(world, strict, users=("root",), **asked)
    assert not may(opening, "fs.read", "/etc/hosts"), "both must name them"
    for other in ({}, {"allow": [{"call": "*", "users": ["root"]}]}, {"allow": [{"call": "*"}]}):
        assert refusal(world, strict, grant=other, order=signed) == "mix_and_match"
    for odd in ([], ["root", 0], ["0"], ["ro\0ot"], "root", {"root": 1}):
        worse = {"allow": [{"call": "*", "users": odd}]}
        signed_worse = order(world, kind="session_order", grant=worse)
        assert refusal(world, strict, grant=worse, order=signed_worse) == "malformed"


def test_a_rule_of_the_ceiling_may_name_users(world: World) -> None:
    ceiling = admin_ceiling("deny:\n  - {call: tty.login, users: [root]}\n")
    opening = terminal(world, ceiling)
    assert as_whom(opening, DEPLOY).allowed
    for user in (None, ROOT):
        verdict = as_whom(opening, user)
        assert verdict.rule == "ceiling.yaml:4 deny tty.login"
        assert verdict.reason.endswith("as root")
    assert may(opening, "fs.read", "/srv/x")
