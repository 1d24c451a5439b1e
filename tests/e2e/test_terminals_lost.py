"""Terminals that lose something: a viewer, the server, the agent, the link, the disk for the recording."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from seated import SHELL, ended, new_session, recorded, recorded_output, recordings, seated, token

from fleet import CEILING, Fleet, expect


async def test_a_viewer_that_is_gone_comes_back_and_sees_what_it_missed(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        await me.type("read x; echo missed-$((1+1)); read y\r")
        await me.sees(r"read y\r\n")
        offset = me.offset
        me.socket.transport.abort()  # in the middle of it, without a word
    async with seated(host, session) as other_device:
        await other_device.type("\r")
        await other_device.sees("missed-2")
    async with seated(host, session, offset=offset) as me:
        assert (await me.hears("hello"))["offset"] == offset
        await me.sees(r"^\r?\nmissed-2")


async def test_who_opens_a_terminal_is_shown_all_that_is_printed_before_they_are_on_record(host: Fleet) -> None:
    """It is begun at once, and what they came as is written down meanwhile, which takes as long as the disk does."""
    session = new_session(host)
    (path,) = (host.directory / "server").rglob("*.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30.0)) as disk:
        disk.execute("BEGIN IMMEDIATE")

        def is_recorded() -> bool:
            return (recordings(host) / session).is_dir() and recorded_output(host, session).endswith(b"\n20000\r\n")

        async with seated(host, session, argv=["/bin/sh", "-c", "seq 1 20000; read x"]) as me:
            await asyncio.to_thread(host.wait_for, "what it prints", is_recorded)
            assert not me.told
            disk.execute("ROLLBACK")
            await me.sees(r"\n20000\r\n")
            assert (await me.hears("hello"))["skipped"] == 0
            await me.type("\r")
            await me.hears("exit", code=0)
    assert me.shown.split()[:20_000] == [b"%d" % number for number in range(1, 20_001)]


async def test_what_ignores_every_hint_is_killed_at_the_end(host: Fleet) -> None:
    session = new_session(host)
    script = "trap '' HUP TERM INT QUIT; echo pid-$$; while :; do sleep 1000; done"
    async with seated(host, session, argv=["/bin/sh", "-c", script]) as me:
        pid = int((await me.sees(r"pid-(\d+)\r\n")).group(1))
        assert Path(f"/proc/{pid}").exists()
        expect(host.api.post(f"/api/v1/sessions/{session}/close", json={"reason": "done"}), 200)
        await me.hears("exit")
    host.wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())


async def test_a_server_that_is_killed_finds_the_shell_again_and_its_recording_whole(own_fleet: Fleet) -> None:
    own_fleet.add_agent("host-1", ceiling=CEILING)
    session = new_session(own_fleet)
    async with seated(own_fleet, session, **SHELL) as me:
        await me.sees("[#$] ")
        await me.type("echo before-$((1+1)); read x; echo during-$((1+1)); read y\r")
        await me.sees("before-2")
        offset = me.offset
        own_fleet.server.kill()
        await me.until(lambda: me.is_over or True)
    own_fleet.start_server()
    own_fleet.wait_for("host-1 to connect", lambda: own_fleet.connected("host-1"))
    async with seated(own_fleet, session, offset=offset) as me:
        await me.linked()
        await me.type("\r")
        await me.sees("during-2")
        await me.type("\rexit 3\r")
        await me.hears("exit", code=3)
    output = recorded_output(own_fleet, session)
    assert re.search(rb"before-2.*during-2.*exit", output, re.DOTALL)
    assert output.count(b"before-2") == 1


async def test_a_server_that_is_killed_while_a_terminal_is_paused_finds_it_paused(own_fleet: Fleet) -> None:
    own_fleet.add_agent("host-1", ceiling=CEILING)
    session, moderator = new_session(own_fleet), token(own_fleet, "mo", "moderator")
    async with seated(own_fleet, session, argv=["/bin/sh", "-c", "echo ready; read x; echo on-$x; read y"]) as me:
        await me.sees("ready")
        async with seated(own_fleet, session, "moderator", token=moderator) as mo:
            await mo.say(type="pause")
            await me.hears("people", what="paused")
        own_fleet.server.kill()
    own_fleet.start_server()
    own_fleet.wait_for("host-1 to connect", lambda: own_fleet.connected("host-1"))
    async with seated(own_fleet, session) as me:
        await me.linked()
        assert (await me.hears("hello"))["paused_by"] == "mo"
        await me.type("never\r")
        assert "paused by mo" in (await me.hears("refused"))["message"]
        async with seated(own_fleet, session, "moderator", token=token(own_fleet, "max", "moderator")) as other:
            await other.say(type="resume")
            await me.hears("people", what="resumed", who="max")
        await me.type("now\r")
        await me.sees("on-now")


async def test_an_agent_that_is_restarted_ends_its_shells_and_says_so(own_fleet: Fleet) -> None:
    agent = own_fleet.add_agent("host-1", ceiling=CEILING)
    session = new_session(own_fleet)
    async with seated(own_fleet, session, argv=["/bin/sh", "-c", "echo pid-$$; sleep 1000"]) as me:
        pid = int((await me.sees(r"pid-(\d+)\r\n")).group(1))
        agent.kill()
        await me.hears("link", up=False)
        own_fleet.wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())
        agent.start()
        exit = await me.hears("exit")
        assert "the agent ended" in exit["reason"]
    assert (await ended(own_fleet, session))["status"] == "lost"
    assert recorded(own_fleet, session)[-1].word == "exit"


async def test_while_a_link_is_lost_the_shell_goes_on(own_fleet: Fleet) -> None:
    """The server is stopped, not killed: the agent's link is gone, and nobody tells it."""
    own_fleet.add_agent("host-1", ceiling=CEILING)
    session = new_session(own_fleet)
    marker = own_fleet.directory / "went-on"
    script = f"read x; seq 1 20000; touch {marker}; echo end; read y"
    async with seated(own_fleet, session, argv=["/bin/sh", "-c", script]) as me:
        await me.linked()
        await me.type("\r")
        await me.sees(r"\r\n1\r\n")
        own_fleet.server.kill()
    own_fleet.wait_for("the shell to go on", marker.exists)
    own_fleet.start_server()
    own_fleet.wait_for("it to be recorded", lambda: recorded_output(own_fleet, session).endswith(b"end\r\n"))
    numbers = [int(word) for word in recorded_output(own_fleet, session).split() if word.isdigit()]
    assert numbers == list(range(1, 20_001)), "nothing lost, nothing twice"


@pytest.fixture
def small_disk(own_fleet: Fleet) -> Iterator[Fleet]:
    """A fleet whose recordings lie on a disk of 300 KB."""
    where = recordings(own_fleet)
    where.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(where)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield own_fleet
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


async def test_what_cannot_be_recorded_is_ended(small_disk: Fleet) -> None:
    small_disk.add_agent("host-1", ceiling=CEILING)
    session = new_session(small_disk)
    argv = ["/bin/sh", "-c", "echo pid-$$; read x; seq 1 100000; sleep 1000"]
    async with seated(small_disk, session, argv=argv) as me:
        pid = int((await me.sees(r"pid-(\d+)\r\n")).group(1))
        await me.type("\r")
        exit = await me.hears("exit")
        assert "cannot be written: No space left" in exit["reason"]
    assert "No space left" in (await ended(small_disk, session))["reason"]
    small_disk.wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())
    output = recorded_output(small_disk, session)
    assert 100_000 < len(output) < 300 << 10
    assert output[: len(me.shown)] == me.shown[: len(output)] == me.shown, "nothing was shown that is not kept"
