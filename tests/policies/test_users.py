"""As whom: golden verdicts of rules that name users, and what can be the name of one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide, decide_below, decide_effective
from policies.load import builtin, load_policy
from policies.model import Facts
from policies.users import ROOT, User, check_account, check_user_name, read_users
from protocol.errors import ArgumentError, DocumentError
from protocol.tiers import Tier

SITE = load_policy(
    """\
tier: admin
allow:
  - {call: tty.login, users: [deploy, www-data]}
  - {call: proc.exec, users: [root, deploy], programs: [/usr/bin/**]}
  - {call: fs.read, users: [agent], paths: [/srv/**]}
  - {call: log.info}
deny:
  - {call: "*", users: [backup]}
ask:
  - {call: tty.login, users: [www-data]}
""",
    "site.yaml",
)
SHELL = Facts(command="sh", program="/bin/sh", arguments=())
ID = Facts(command="id", program="/usr/bin/id", arguments=())
DEPLOY, WWW, AGENT, BACKUP = User("deploy"), User("www-data"), User("agent"), User("backup")
ZERO = User(ROOT, ("toor",))  # what the host calls toor as well

GOLDEN = [
    # call, facts, as whom it starts a program, the agent's own, effect, rule
    ("tty.login", SHELL, DEPLOY, ZERO, "allow", "site.yaml:3 allow tty.login"),
    ("tty.login", SHELL, WWW, ZERO, "ask", "site.yaml:10 ask tty.login"),
    ("tty.login", SHELL, None, ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, ZERO, DEPLOY, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, None, DEPLOY, "allow", "site.yaml:3 allow tty.login"),  # the agent's own user is named
    ("tty.login", SHELL, User("Deploy"), ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, User("deploy "), ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, User("1000"), ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, User("tom", ("deploy",)), ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("tty.login", SHELL, User("deploy", group="docker"), ZERO, "deny", "site.yaml:3 allow tty.login: users"),
    ("proc.exec", ID, ZERO, ZERO, "allow", "site.yaml:4 allow proc.exec"),
    ("proc.exec", ID, None, ZERO, "allow", "site.yaml:4 allow proc.exec"),
    ("proc.exec", ID, User(ROOT, group="docker"), ZERO, "deny", "site.yaml:4 allow proc.exec: users"),
    ("proc.exec", ID, WWW, ZERO, "deny", "site.yaml:4 allow proc.exec: users"),
    ("proc.exec", SHELL, DEPLOY, ZERO, "deny", "site: no rule"),  # another program: nobody may
    ("proc.exec", ID, BACKUP, ZERO, "deny", "site.yaml:8 deny *"),
    ("proc.exec", ID, User("deploy", ("backup",)), ZERO, "deny", "site.yaml:8 deny *"),  # by its other name
    ("proc.exec", ID, User("backup", group="deploy"), ZERO, "deny", "site.yaml:8 deny *"),
    ("fs.read", Facts(path="/srv/a"), None, AGENT, "allow", "site.yaml:5 allow fs.read"),
    ("fs.read", Facts(path="/srv/a"), None, ZERO, "deny", "site.yaml:5 allow fs.read: users"),
    ("fs.read", Facts(path="/etc/a"), None, AGENT, "deny", "site: no rule"),
    ("log.info", Facts(), None, ZERO, "allow", "site.yaml:6 allow log.info"),
    ("log.info", Facts(), None, BACKUP, "deny", "site.yaml:8 deny *"),  # every call is somebody's
    # Not known as whom: no allowance that names users, every denial that does.
    ("tty.login", SHELL, None, None, "deny", "site.yaml:8 deny *"),
    ("log.info", Facts(), None, None, "deny", "site.yaml:8 deny *"),
]


@pytest.mark.parametrize(("call", "facts", "user", "own", "effect", "rule"), GOLDEN)
def test_golden_verdicts(
    call: str, facts: Facts, user: User | None, own: User | None, effect: str, rule: str
) -> None:  # fmt: skip
    effective = Effective((Layer(SITE.name, SITE.rules),), own)
    verdict = decide_effective(effective, call, facts._replace(user=user))
    assert (verdict.effect.value, verdict.rule) == (effect, rule)
    assert bool(verdict.reason) == (effect != "allow")


def test_whoever_is_denied_is_told_whom_the_rule_is_for() -> None:
    effective = Effective((Layer(SITE.name, SITE.rules),), ZERO)
    reason = decide_effective(effective, "tty.login", SHELL).reason
    assert reason == "site allows tty.login sh (/bin/sh) as deploy or www-data only, not as root"
    reason = decide_effective(effective, "tty.login", SHELL._replace(user=User("deploy", group="docker"))).reason
    assert reason.endswith("only, not as deploy in group docker")
    reason = decide_effective(effective, "tty.login", SHELL._replace(user=WWW)).reason
    assert reason == "site wants somebody asked about tty.login sh (/bin/sh) as www-data"
    assert decide_effective(effective, "proc.exec", ID._replace(user=BACKUP)).reason.endswith("as backup")


@pytest.mark.parametrize("user", [None, ZERO, DEPLOY, User("1000"), User("x", group="y")])
@pytest.mark.parametrize("tier", list(Tier))
def test_no_tier_of_ours_asks_as_whom(tier: Tier, user: User | None) -> None:
    """What was allowed stays allowed as anybody, and what was denied stays denied."""
    policy = builtin(tier)
    for call, facts in (("tty.login", SHELL), ("proc.exec", ID), ("fs.read", Facts(path="/etc/hosts"))):
        with_user = decide(policy, call, facts._replace(user=user))
        assert with_user == decide(policy, call, facts)
        assert decide_effective(Effective((Layer(policy.name, policy.rules),), user), call, facts) == with_user


def test_all_below_a_directory_is_somebodys_too() -> None:
    mine, roots = (Effective((Layer(SITE.name, SITE.rules),), own) for own in (AGENT, ZERO))
    assert decide_below(mine, "fs.read", "/srv/a") is True
    assert decide_below(roots, "fs.read", "/srv/a") is False
    assert decide_below(Effective((Layer(SITE.name, SITE.rules),)), "fs.read", "/srv/a") is False


NAMES = st.sampled_from(["root", "toor", "deploy", "backup"])
USERS = st.builds(
    User, NAMES, st.lists(NAMES, max_size=2).map(tuple), st.sampled_from(["", "docker"])
)  # fmt: skip


@given(st.lists(NAMES, min_size=1, max_size=3, unique=True), USERS)
def test_root_is_only_had_where_a_rule_says_root(names: list[str], user: User) -> None:
    policy = load_policy(f"tier: admin\nallow: [{{call: tty.login, users: {json.dumps(names)}}}]\n", "p.yaml")
    verdict = decide(policy, "tty.login", SHELL._replace(user=user))
    assert verdict.allowed == (user.name in names and not user.group)
    if user.name == ROOT and verdict.allowed:
        assert ROOT in names


@given(st.lists(NAMES, min_size=1, max_size=3, unique=True), USERS)
def test_more_denials_allow_no_more(names: list[str], user: User) -> None:
    policy = load_policy(
        f'tier: admin\nallow: [{{call: "*"}}]\ndeny: [{{call: "*", users: {json.dumps(names)}}}]\n', "p.yaml"
    )
    is_named = user.name in names or bool(set(user.others) & set(names))
    assert decide(policy, "tty.login", SHELL._replace(user=user)).allowed == (not is_named)


# what can be a name --------------------------------------------------------------------------------------------------

BAD_NAMES = [
    "", "0", "1000", "00", "ro\0ot", "root\n", "\nroot", "ro ot", "root\t", "ro\u2028ot", "a:b", "a/b", "../root", "*",
    "ro?t", "r[o]ot", "!root", "-root", "+root", "~root", "x" * 65, "\u0660", "\u00b2", "a\x1b[2J", "a\u202eb",
    "\udc80", "a,b", "%wheel",
]  # fmt: skip
GOOD_NAMES = [
    "root",
    "www-data",
    "_apt",
    "deploy.2",
    "HOST$",
    "d\u00f6rte",
    "CORP\\mia",
    "mia@corp.example",
    "x" * 64,
    "1a",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_nobody_is_called_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(ArgumentError, match="users"):
        check_user_name(name, parameter="users")
    for text in (
        f"tier: admin\nallow:\n  - call: x\n    users: [ok, {json.dumps(name)}]\n",
        f"tier: admin\ndeny:\n  - call: x\n    users: [{json.dumps(name)}]\n",
    ):
        with pytest.raises(DocumentError, match=r"p\.yaml:4"):
            load_policy(text, "p.yaml")


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_what_somebody_is_called_somewhere_is_taken(name: str) -> None:
    assert check_user_name(name, parameter="users") == name
    assert check_account(name, parameter="user") == name


@pytest.mark.parametrize("value", ["[]", "root", "{root: 1}", "[0]", "[null]", "[[root]]", "[true]"])
def test_a_list_that_names_nobody_is_no_list_of_everybody(value: str) -> None:
    with pytest.raises(DocumentError, match=r"p\.yaml:4"):
        load_policy(f"tier: admin\nallow:\n  - call: x\n    users: {value}\n", "p.yaml")
    with pytest.raises(DocumentError, match=r"ceiling\.yaml:2"):
        load_ceiling(f"sessions:\n  users: {value}\n", "ceiling.yaml")
    for odd in ([], {}, "root", None, [0], [b"root"]):
        with pytest.raises(ArgumentError):
            read_users(odd, parameter="users")


def test_numbers_stand_for_users_in_calls_and_not_in_rules() -> None:
    assert check_account("1000", parameter="user") == "1000"
    with pytest.raises(ArgumentError, match="rules name users by name"):
        check_user_name("1000", parameter="users")


def test_too_many_are_refused_and_none_counts_twice() -> None:
    assert read_users(["a", "b", "a"], parameter="users") == ("a", "b")
    with pytest.raises(ArgumentError, match="64"):
        read_users([f"u{number}" for number in range(65)], parameter="users")


def test_the_schema_takes_the_same_names() -> None:
    """The schema is for editors; it must not call right what the program refuses, or the other way round."""
    schema: Any = json.loads((Path(__file__).parents[2] / "policies/schema.json").read_text())
    users = schema["$defs"]["users"]
    assert users["minItems"] == 1
    pattern = re.compile(users["items"]["pattern"].replace("$", r"\Z"))  # which is what it means there
    most = users["items"]["maxLength"]
    for name in GOOD_NAMES:
        assert pattern.search(name), name
        assert len(name) <= most
    unseen = {"ro\0ot", "a\x1b[2J", "a\u202eb", "\udc80", "\u0660", "\u00b2"}  # what no pattern of JSON Schema tells
    for name in set(BAD_NAMES) - unseen:
        assert not pattern.search(name) or len(name) > most, name
    assert "users" in schema["properties"]["allow"]["items"]["properties"]
    assert "users" in schema["$defs"]["rules"]["items"]["properties"]
