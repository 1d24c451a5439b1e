"""Another user than was granted: a server that asks for root where the owner or an order says somebody else."""

from __future__ import annotations

import os
import pwd
from datetime import timedelta
from typing import Any

import pytest
from siege import AGENT, NOW, Siege, until

from protocol.ledger import Record
from protocol.signing import sign
from protocol.timestamps import stamp

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only an agent that is root becomes somebody else")

OWNER_SAYS = "highest_tier: admin\naccept_server_word: [session]\nsessions:\n  users: [nobody]\n"
ANYBODY = "highest_tier: admin\naccept_server_word: [session]\n"
RULE = "ceiling.yaml:4 allow *: users"
ROOT_BY_ANY_NAME = ["", "root", "0", "00", "000"]
NOBODY = ["root\n", "ro\0ot", "nobody\0root", "nobody\nroot", "\u0660", "-0", "+0", "~", "nobody:0", " root"]
NOT_THERE = ["no-such-user", "4294967296", "4294967295", "ROOT"]
ID = ["/usr/bin/id", "-un"]


async def opened(siege: Siege, session: str, **changes: Any) -> Any:
    body = {
        "session": session, "kind": "command", "tier": "admin", "principal": "root", "reason": "trust me", "grant": {},
        "idle_s": None, "longest_s": None, "order": None, "access": None, "users": None,
    } | changes  # fmt: skip
    return await siege.say("session.open", body)


async def called(siege: Siege, session: str, call: str, **arguments: Any) -> Any:
    return await siege.say("session.call", {"session": session, "call": call, "arguments": arguments})


async def verdicts(siege: Siege, session: str, count: int) -> list[Record]:
    def found() -> list[Record]:
        return [each for each in siege.records() if each.session == session and each.kind == "call"]

    await until(lambda: len(found()) >= count)
    return found()


@pytest.mark.parametrize("users", [None, ["root"], ["nobody", "root"]])
async def test_the_owner_says_as_whom_whatever_the_server_grants(siege: Siege, users: list[str] | None) -> None:
    siege.allow(OWNER_SAYS)
    assert isinstance(await opened(siege, "s1", users=users), dict)
    for user in ROOT_BY_ANY_NAME:
        assert await called(siege, "s1", "proc.exec", argv=ID, user=user) == "denied", user
    assert await called(siege, "s1", "proc.exec", argv=ID, user="nobody", group="0") == "denied"
    assert await called(siege, "s1", "proc.exec", argv=ID, group="root") == "denied"
    records = await verdicts(siege, "s1", len(ROOT_BY_ANY_NAME) + 2)
    assert {each.verdict for each in records} == {"deny"}
    if users is None:
        assert {each.rule for each in records} == {RULE}, "the record names the line of the owner's file"


async def test_who_is_granted_is_had_by_name_and_by_number(siege: Siege) -> None:
    siege.allow(OWNER_SAYS)
    assert isinstance(await opened(siege, "s1", users=["nobody"]), dict)
    for user in ("nobody", str(pwd.getpwnam("nobody").pw_uid)):
        answer = await called(siege, "s1", "proc.exec", argv=ID, user=user)
        assert answer["value"]["stdout"] == "nobody\n"


async def test_who_is_nobody_starts_nothing(siege: Siege) -> None:
    siege.allow(OWNER_SAYS)
    await opened(siege, "s1")
    for user in (*NOBODY, *NOT_THERE):
        code = await called(siege, "s1", "proc.exec", argv=ID, user=user)
        assert code == ("invalid_argument" if user in NOBODY else "not_found"), user


async def test_what_root_would_do_for_them_is_not_done(siege: Siege) -> None:
    """In a session as nobody nothing is read, written, signalled or controlled by the agent, which is root."""
    siege.allow(OWNER_SAYS)
    where = siege.premises.state.identity.parent / "written"
    for number, kind in enumerate(("command", "terminal", "files")):
        await opened(siege, f"s{number}", kind=kind)
        for call, arguments in (
            ("fs.write", {"path": str(where), "data": "x"}), ("fs.read", {"path": "/etc/hostname"}),
            ("proc.signal", {"pid": os.getpid(), "sig": "CONT"}), ("sys.users", {}),
        ):  # fmt: skip
            assert await called(siege, f"s{number}", call, **arguments) == "denied", (kind, call)
    assert not where.exists()


async def test_users_that_are_none_open_nothing(siege: Siege) -> None:
    siege.allow(ANYBODY)
    odd: list[list[Any]] = [
        ["ro\0ot"], ["nobody\nroot"], ["0"], [0], [None], [["root"]], [{}], [""], ["*"], ["x" * 65], ["root"] * 65,
    ]  # fmt: skip
    for users in odd:
        assert await opened(siege, "s1", users=users) == "invalid_argument", users
        assert await called(siege, "s1", "proc.exec", argv=ID) == "not_found"


async def test_a_list_of_no_users_is_not_everybody(siege: Siege) -> None:
    siege.allow(ANYBODY)
    assert isinstance(await opened(siege, "s1", users=[]), dict)
    for user in ("", "root", "nobody"):
        assert await called(siege, "s1", "proc.exec", argv=ID, user=user) == "denied"


async def test_an_order_for_one_user_is_none_for_another(siege: Siege) -> None:
    """The operator signed for nobody; the server has the order, and would like root."""
    siege.allow("highest_tier: admin\naccept_server_word: []\n")
    roles = [{"role": "operator", "tier": "admin"}]
    chief = {"name": "chief", "key": siege.world.key("chief").public.to_text(), "roles": roles}
    people = siege.world.roster_body(2)["keys"]
    assert isinstance(await siege.roster(2, keys=[*people, chief]), dict)
    grant = {"allow": [{"call": "*", "users": ["nobody"]}]}
    body = {
        "type": "session_order", "kind": "command", "agents": [AGENT], "tier": "admin", "grant": grant,
        "reason": "trust me", "issued": stamp(NOW), "expires": stamp(NOW + timedelta(minutes=10)), "nonce": "n1",
    }  # fmt: skip
    order = sign("session_order", body, siege.world.key("chief")).to_plain()
    for other in ({}, {"allow": [{"call": "*"}]}, {"allow": [{"call": "*", "users": ["root"]}]}):
        assert await opened(siege, "s0", grant=other, order=order) == "untrusted"
    assert isinstance(await opened(siege, "s1", grant=grant, order=order, users=["root", "nobody"]), dict)
    for user in ROOT_BY_ANY_NAME:
        assert await called(siege, "s1", "proc.exec", argv=ID, user=user) == "denied"
    assert (await called(siege, "s1", "proc.exec", argv=ID, user="nobody"))["value"]["stdout"] == "nobody\n"
