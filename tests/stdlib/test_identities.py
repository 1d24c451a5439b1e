"""Who a name or a number stands for, and that a program starts as who was decided on and as nobody else."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import threading
from collections.abc import Callable
from typing import Any

import pytest
from running import gate

from policies.load import load_policy
from policies.users import User
from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import identities, proc_run
from stdlib.identities import identify
from stdlib.parameters import HANDLE_KEY

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
NOBODY = pwd.getpwnam("nobody")
ONLY_NOBODY = load_policy('tier: admin\nallow: [{call: "*", users: [nobody]}]\n', "site.yaml")
STARTS: list[tuple[str, dict[str, Any]]] = [
    ("proc.exec", {"argv": ["/usr/bin/id", "-un"]}), ("proc.spawn", {"argv": ["/usr/bin/id", "-un"]}),
    ("tty.open", {"argv": ["/usr/bin/id", "-un"]}), ("tty.login", {"argv": ["/usr/bin/id", "-un"]}), ("tty.login", {}),
]  # fmt: skip


@pytest.fixture
def passwd(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[[str], None]:
    """Have the host's databases say something else."""

    def have(text: str) -> None:
        path = tmp_path / "passwd"
        path.write_text(text)
        fields = [line.split(":") for line in text.splitlines()]
        entries = [pwd.struct_passwd((f[0], f[1], int(f[2]), int(f[3]), *f[4:])) for f in fields]
        by_name = {each.pw_name: each for each in reversed(entries)}
        by_uid = {each.pw_uid: each for each in reversed(entries)}
        monkeypatch.setattr(identities, "_ACCOUNTS", str(path))
        monkeypatch.setattr(identities.pwd, "getpwnam", by_name.__getitem__)
        monkeypatch.setattr(identities.pwd, "getpwuid", by_uid.__getitem__)

    return have


HOST = """\
toor:x:0:0::/root:/bin/sh
root:x:0:0::/root:/bin/sh
deploy:x:1000:65534::/home/deploy:/bin/sh
shadow:x:1000:65534::/home/deploy:/bin/sh
1001:x:1002:65534::/:/bin/sh
mia:x:1001:65534::/home/mia:/bin/bash
"""


@pytest.mark.parametrize(
    ("asked", "user"),
    [
        ("root", User("root", ("toor",))), ("toor", User("root", ("toor",))), ("0", User("root", ("toor",))),
        ("000", User("root", ("toor",))), ("deploy", User("deploy", ("shadow",))),
        ("shadow", User("deploy", ("shadow",))), ("1000", User("deploy", ("shadow",))),
        ("1001", User("mia")),  # a number is a number, though somebody is called that
    ],
)  # fmt: skip
def test_a_user_is_who_the_host_says(passwd: Callable[[str], None], asked: str, user: User) -> None:
    passwd(HOST)
    assert identify(asked, "").user == user


def test_number_0_is_root_where_it_is_called_otherwise(passwd: Callable[[str], None]) -> None:
    passwd("boss:x:0:0::/root:/bin/sh\n")
    found = identify("boss", "")
    assert (found.user, found.login, found.identity.uid) == (User("root", ("boss",)), "boss", 0)


def test_accounts_that_cannot_be_read_name_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "_ACCOUNTS", "/nowhere/passwd")
    with pytest.raises(UnavailableError):
        identify("nobody", "")


def test_a_group_that_is_not_theirs_is_told() -> None:
    assert identify("nobody", "").user.group == ""
    assert identify("nobody", grp.getgrgid(NOBODY.pw_gid).gr_name).user.group == ""
    assert identify("nobody", "0").user == User("nobody", (), "root")
    assert identify("", "root" if os.getgid() else "daemon").user.group


BAD = [
    "ro\0ot", "root\n", "\nroot", "nobody\n", "nobody ", " nobody", "nobody:", "../root", "*", "-1", "+0", "\u0660",
    "\u00b2", "nobody\x1b[2J", "\udcff", "~",
]  # fmt: skip
NOT_THERE = [
    "no-such-user", "4294967295", "4294967296", "2147483648", "99999999999999999999", "Root", "ROOT", "0x0", "1e3",
]  # fmt: skip


@pytest.mark.parametrize("name", [*BAD, *NOT_THERE])
@pytest.mark.parametrize("parameter", ["user", "group"])
@pytest.mark.parametrize("call", ["proc.exec", "proc.spawn", "tty.open", "tty.login"])
async def test_nothing_starts_as_somebody_who_is_not_there(call: str, parameter: str, name: str) -> None:
    if call == "tty.login" and parameter == "group":
        parameter = "user"
    door = gate(Tier.ADMIN)
    reply = await door.call(call, [], {"argv": ["/usr/bin/id"], parameter: name})
    assert isinstance(reply.error, ArgumentError | NotFoundError), reply
    assert name in NOT_THERE or isinstance(reply.error, ArgumentError)
    assert "\n" not in str(reply.error)
    assert "\x1b" not in str(reply.error)
    await door.close()


@needs_root
@pytest.mark.parametrize(("call", "arguments"), STARTS)
async def test_a_rule_for_one_user_gives_nobody_else(call: str, arguments: dict[str, Any]) -> None:
    for more in ({}, {"user": "root"}, {"user": "0"}, {"user": "daemon"}, {"user": "nobody", "group": "root"}):
        if call == "tty.login" and "group" in more:
            continue
        door = gate(Tier.ADMIN, policy=ONLY_NOBODY)
        reply = await door.call(call, [], arguments | more)
        assert isinstance(reply.error, DeniedError), (call, more)
        assert reply.error.rule == "site.yaml:2 allow *: users"
        assert "as nobody only, not as " in str(reply.error)
        await door.close()


@needs_root
@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
async def test_the_user_of_a_rule_starts_programs_and_uses_what_they_gave(user: str) -> None:
    door = gate(Tier.ADMIN, policy=ONLY_NOBODY)
    done = await door.call("proc.exec", [], {"argv": ["/usr/bin/id", "-un"], "user": user})
    assert done.error is None
    assert done.value["stdout"] == "nobody\n"
    spawned = await door.call("proc.spawn", [], {"argv": ["/usr/bin/id", "-un"], "user": user})
    assert spawned.error is None
    process = {HANDLE_KEY: next(iter(door.holder._held))}
    ended = await door.call("process.wait", [], {"process": process, "timeout": 30})
    assert ended.error is None, "methods are of whoever the program is"
    await door.close()


@needs_root
async def test_who_was_decided_on_is_who_it_becomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that says something else a moment later changes nothing."""
    real, asked = pwd.getpwnam, []

    def changing(name: str) -> Any:
        asked.append(name)
        return real("nobody" if len(asked) == 1 else "root")

    monkeypatch.setattr(identities.pwd, "getpwnam", changing)
    door = gate(Tier.ADMIN, policy=ONLY_NOBODY)
    done = await door.call("proc.exec", [], {"argv": ["/usr/bin/id", "-un"], "user": "deploy"})
    assert (done.error, len(asked)) == (None, 1)
    assert done.value["stdout"] == "nobody\n"
    await door.close()


async def test_a_slow_database_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def slow(user: str, group: str) -> Any:
        asked.set()
        assert may_answer.wait(60)
        raise NotFoundError("there is no user")

    monkeypatch.setattr(proc_run, "identify", slow)
    door = gate(Tier.ADMIN)
    waiting = asyncio.create_task(door.call("proc.exec", [], {"argv": ["/usr/bin/id"], "user": "far-away"}))
    assert await asyncio.to_thread(asked.wait, 30)
    assert (await door.call("time.now", [], {})).error is None
    assert not waiting.done()
    may_answer.set()
    assert isinstance((await waiting).error, NotFoundError)
    await door.close()
