"""``tty.login``: a terminal as a person has it who logs in."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from running import gate

from protocol.errors import ArgumentError, DeniedError, NotFoundError, OutriderError
from protocol.terminal import MAX_COLS, MAX_ROWS
from protocol.tiers import Tier
from stdlib.host import Host
from stdlib.tty_login import login_facts
from stdlib.tty_terminal import Terminal


async def printed(**arguments: Any) -> bytes:
    """All that a program prints in its terminal."""
    door = gate(Tier.ADMIN)
    reply = await door.call("tty.login", [], arguments)
    if reply.error is not None:
        raise reply.error
    terminal: Terminal = next(iter(door.holder._held.values())).thing
    parts: list[bytes] = []

    def take(part: bytes) -> int:
        parts.append(part)
        return 1 << 16

    await terminal.follow(take, 1 << 16)
    await door.close()
    return b"".join(parts)


async def test_a_login_shell_of_a_user_at_home_with_their_terminal_and_language() -> None:
    script = "echo $USER $HOME $PWD $TERM $LANG; stty size; tty -s && echo terminal"
    me = pwd.getpwuid(os.getuid())
    out = await printed(argv=["/bin/sh", "-c", script], term="screen", lang="de_DE.UTF-8", cols=MAX_COLS, rows=MAX_ROWS)
    first = f"{me.pw_name} {me.pw_dir} {os.path.realpath(me.pw_dir)} screen de_DE.UTF-8"
    assert out.decode().splitlines() == [first, "10000 10000", "terminal"]


def test_the_shell_is_decided_on_as_what_it_is() -> None:
    (facts,) = login_facts(Host(), {"user": ""}).facts
    shell = pwd.getpwuid(os.getuid()).pw_shell
    assert (facts.program, facts.command, facts.arguments) == (os.path.realpath(shell), os.path.basename(shell), ())
    chosen = login_facts(Host(), {"user": ""}).arguments["argv"]
    assert chosen.arguments == (f"-{os.path.basename(shell)}",), "which is how a login shell is called"


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
async def test_as_another_user() -> None:
    out = await printed(argv=["/bin/sh", "-c", "id -un; id -G; echo x > /dev/tty"], user="nobody")
    assert out.decode().split() == ["nobody", *map(str, os.getgrouplist("nobody", pwd.getpwnam("nobody").pw_gid)), "x"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"user": "nobody-here"}, NotFoundError),
        ({"user": "99999999999999999999"}, NotFoundError),
        ({"argv": ["sh -c"]}, OutriderError),
        ({"argv": ["./sh"]}, ArgumentError),
        ({"term": "../../etc/passwd"}, ArgumentError),
        ({"term": ""}, ArgumentError),
        ({"lang": "C;id"}, ArgumentError),
        ({"cols": 10_001}, ArgumentError),
        ({"rows": 0}, ArgumentError),
        ({"env": {"A=B": "1"}, "argv": ["/bin/true"]}, ArgumentError),
    ],
)
async def test_what_is_wrong_is_refused(arguments: dict[str, Any], error: type[OutriderError]) -> None:
    with pytest.raises(error):
        await printed(**arguments)


async def test_below_admin_nobody_logs_in() -> None:
    reply = await gate(Tier.OPERATE).call("tty.login", [], {"argv": ["/bin/true"]})
    assert isinstance(reply.error, DeniedError)
