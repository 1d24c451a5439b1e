"""The attack: whoever can set the clock of the server's host back has what expired come back: tokens, invitations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from headquarters import Headquarters, MovedClock, expect, headquarters, refused
from world import World

from protocol.signing import PrivateKey
from server import clock as server_clock
from server import limits
from server.__main__ import root
from server.believed import STEADY_S
from server.services import time_kept

DAY_US = 86_400_000_000


class Host:
    """The clocks of the server's host; nothing but the test moves them."""

    def __init__(self) -> None:
        self.wall_us = time.time_ns() // 1000
        self.lived_us = 10**9

    async def passes(self, server: Headquarters, seconds: float) -> None:
        """Let time pass, at which the server looks as often as it does."""
        for _ in range(int(seconds // limits.CLOCK_LOOK_S)):
            self.wall_us += int(limits.CLOCK_LOOK_S * 1e6)
            self.lived_us += int(limits.CLOCK_LOOK_S * 1e6)
            await time_kept.look(server.core)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host()
    monkeypatch.setattr(server_clock, "host_us", lambda: made.wall_us)
    monkeypatch.setattr(server_clock, "lived_us", lambda: made.lived_us)
    yield made
    server_clock.believed.begin(None, 0)


async def token(server: Headquarters) -> str:
    made = await server.post("/tokens", {"principal": "eve", "roles": ["viewer"], "ttl_s": 600}, 201)
    return str(made["token"])


async def as_whom(server: Headquarters, token: str) -> Any:
    return await server.api.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})


async def test_a_token_that_ran_out_is_not_good_again(directory: Path, world: World, host: Host) -> None:
    """Nor after a new start of the server and of its host, whose time lived begins anew."""
    async with headquarters(directory, world, MovedClock()) as server:
        await host.passes(server, STEADY_S + 60)
        eve = await token(server)
        expect(await as_whom(server, eve), 200)
        await host.passes(server, 660)
        refused(await as_whom(server, eve), 401, "unauthenticated")
        host.wall_us -= DAY_US
        refused(await as_whom(server, eve), 401, "unauthenticated")
        await host.passes(server, 600)
        refused(await as_whom(server, eve), 401, "unauthenticated")
        (told,) = [record for record in await server.records() if record["call"] == "server.clock"]
        assert told["arguments"] == {"behind_s": 86_400}
    host.lived_us = 0
    async with headquarters(directory, world, MovedClock()) as server:
        refused(await as_whom(server, eve), 401, "unauthenticated")
        expect(await as_whom(server, await token(server)), 200)


async def test_an_invitation_that_ran_out_enrols_nobody(directory: Path, world: World, host: Host) -> None:
    async with headquarters(directory, world, MovedClock()) as server:
        await host.passes(server, STEADY_S + 60)
        invited = await server.invite(ttl_s=600)
        await host.passes(server, 660)
        host.wall_us -= DAY_US
        refused(await server.enrol(invited, PrivateKey.generate(), "web-1"), 403, "untrusted", reason="expired")


async def test_a_clock_that_was_ahead_and_is_set_right_within_the_hour_has_cost_nothing(
    directory: Path, world: World, host: Host
) -> None:
    async with headquarters(directory, world, MovedClock()) as server:
        await host.passes(server, STEADY_S + 60)
        eve = await token(server)
        host.wall_us += 365 * DAY_US
        refused(await as_whom(server, eve), 401, "unauthenticated")
        await host.passes(server, STEADY_S - 60)
        host.wall_us -= 365 * DAY_US + int(STEADY_S * 1e6) - 60_000_000  # the moment at which it was made
        refused(await as_whom(server, eve), 401, "unauthenticated")
        later = await token(server)
        expect(await as_whom(server, later), 200)


async def test_a_clock_that_was_ahead_for_long_is_taken_back_by_a_person(
    directory: Path, world: World, host: Host
) -> None:
    """What was made while it was right is as good as before, then; the server's own record tells of it."""
    async with headquarters(directory, world, MovedClock()) as server:
        await host.passes(server, STEADY_S + 60)
        host.wall_us += 365 * DAY_US
        await host.passes(server, STEADY_S + 120)
        host.wall_us -= 365 * DAY_US
        await host.passes(server, 60)
        eve = await token(server)
        assert server_clock.now_us() - host.wall_us > 364 * DAY_US
        told = CliRunner().invoke(root, ["clock", "--dir", str(directory)])
        assert (told.exit_code, "kept as believed: 20" in told.output) == (0, True), told.output
        told = CliRunner().invoke(root, ["clock", "--dir", str(directory), "--believe-host"])
        assert told.exit_code == 0, told.output
        await host.passes(server, 60)
        assert server_clock.now_us() == host.wall_us
        expect(await as_whom(server, eve), 200)
        calls = [record["arguments"] for record in await server.records() if record["call"] == "server.clock"]
        assert [list(each) for each in calls] == [["behind_s"], ["believe_host", "kept"]]
