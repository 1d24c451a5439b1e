"""``tty.sessions``, ``tty.notice``, ``tty.client``: what they refuse, and to whom."""

from __future__ import annotations

import pytest
from running import gate, perform

from policies.model import Facts
from protocol.errors import ArgumentError, NotFoundError
from protocol.tiers import Tier
from stdlib.host import Host
from stdlib.tty_people import client, notice, sessions


async def test_where_nobody_can_be_nobody_is() -> None:
    assert await sessions(Host()) == []
    with pytest.raises(NotFoundError):
        await notice(Host(), "s_1", "hello")
    with pytest.raises(NotFoundError):
        await client(Host(), "s_1", "view", "/etc")


@pytest.mark.parametrize(
    ("call", "args", "parameter"),
    [("tty.notice", ["s_1", "  "], "text"), ("tty.client", ["s_1", "view", "etc"], "path")],
)
async def test_what_is_wrong_is_refused(call: str, args: list[str], parameter: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        await perform(call, *args)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(("tier", "may"), [(Tier.OBSERVE, ["tty.sessions"]), (Tier.OPERATE, ["tty.sessions"])])
async def test_below_admin_a_script_sees_who_is_here_and_says_nothing(tier: Tier, may: list[str]) -> None:
    door = gate(tier)
    calls = ["tty.sessions", "tty.notice", "tty.client"]
    assert [call for call in calls if door.decisions.verdict(call, Facts()).allowed] == may
