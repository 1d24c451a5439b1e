"""An hour of a busy terminal: begun anywhere in under a second, and played by the player that everybody has."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from seated import new_session, recordings, seated
from shell import Shell

from fleet import expect, in_time
from server.sessions.recording import Recording

HOUR_US = 3_600_000_000
EVENTS = 72_000  # twenty a second
ASCIINEMA = shutil.which("asciinema")
DEADLINE_S = 60.0


def line(number: int) -> bytes:
    return b"\x1b[3%dm%08d\x1b[0m %s\r\n" % (number % 8, number, os.urandom(120).hex().encode())


async def an_hour(where: Path) -> int:
    """Record an hour over what is there; return its bytes of output."""
    made = Recording(where, {"session": where.name, "size": [80, 24]})
    first = made.offset
    for number in range(EVENTS):
        made.output(made.us + HOUR_US // EVENTS, made.offset, line(number))
    made.event(made.us, "exit", {"code": 0})
    await made.close()
    return made.offset - first


@pytest.fixture(scope="module")
def hour(desk: Shell) -> str:
    """A session that has been, whose recording is made an hour long."""
    session = new_session(desk.fleet)

    async def opened() -> None:
        async with seated(desk.fleet, session, argv=["/bin/true"]) as me:
            await me.hears("exit", code=0)

    asyncio.run(opened())
    desk.fleet.wait_for(
        "the end", lambda: expect(desk.fleet.api.get(f"/api/v1/sessions/{session}"), 200)["status"] == "ended"
    )
    where = recordings(desk.fleet) / session
    for each in where.iterdir():
        each.unlink()
    assert asyncio.run(an_hour(where)) > 15_000_000
    return session


@pytest.mark.parametrize("minute", [0, 7, 30, 59])
def test_it_begins_anywhere_in_under_a_second(desk: Shell, hour: str, minute: int) -> None:
    path = f"/api/v1/recordings/{hour}/events"

    def begins_after_s() -> float:
        began = time.perf_counter()
        page = expect(desk.fleet.api.get(path, params={"from_s": minute * 60}), 200)
        took_s = time.perf_counter() - began
        times = [item["time_s"] for item in page["items"]]
        assert times[0] <= minute * 60 + 1
        assert times[-1] >= minute * 60
        return took_s

    in_time(begins_after_s, 1.0)


def test_the_command_shows_that_moment(desk: Shell, hour: str) -> None:
    def shown_after_s() -> float:
        began = time.perf_counter()
        out = desk("session", "play", hour, "--from", "3590s", "--format", "text").out
        took_s = time.perf_counter() - began
        numbers = [int(found) for found in re.findall(r"\b(\d{8})\b", out)]
        assert numbers[0] in range(EVENTS - 220, EVENTS - 190)
        assert numbers[-1] == EVENTS - 1
        return took_s

    in_time(shown_after_s, 5.0)  # this one goes on to the end


def test_a_text_is_found_in_it(desk: Shell, hour: str) -> None:
    (found,) = desk("session", "search", f"{EVENTS - 7:08d}", "--json").data
    assert (found["session"], round(found["time_s"])) == (hour, 3600)


@pytest.mark.skipif(ASCIINEMA is None, reason="asciinema is not installed")
class TestAsciinema:
    """The real player reads what is exported."""

    def test_it_reads_every_byte(self, desk: Shell, hour: str, tmp_path: Path) -> None:
        path = tmp_path / "hour.cast"
        assert desk("session", "export", hour, "-o", str(path)).status == 0
        shown = played([str(ASCIINEMA), "cat", str(path)])
        numbers = [int(found) for found in re.findall(r"m(\d{8})\x1b", shown)]
        assert numbers == list(range(EVENTS))

    def test_it_plays_one_with_a_resize_a_marker_and_colours(self, desk: Shell, tmp_path: Path) -> None:
        session = new_session(desk.fleet)

        async def opened() -> None:
            script = "printf '\\033[31mr\\303\\244d\\033[0m\\n'; read x; stty size; read y"
            async with seated(desk.fleet, session, argv=["/bin/sh", "-c", script]) as me:
                await me.sees("d\x1b")
                await me.say(type="mark", text="here")
                await me.resize(60, 12)
                await me.type("\r")
                await me.sees("12 60")
                await me.type("\r")
                await me.hears("exit", code=0)

        asyncio.run(opened())
        path = tmp_path / "x.cast"
        assert desk("session", "export", session, "-o", str(path)).status == 0
        shown = played([str(ASCIINEMA), "play", "--speed", "100", "--idle-time-limit", "0.1", str(path)])
        assert "\x1b[31mr\u00e4d\x1b[0m" in shown
        assert "12 60" in shown


def played(words: list[str]) -> str:
    """Return what a player shows in a terminal of its own, whose ``/dev/tty`` it opens too; it must end well."""
    master, slave = pty.openpty()
    player = subprocess.Popen(["setsid", "--ctty", "--wait", *words], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    data, ends = bytearray(), time.monotonic() + DEADLINE_S
    try:
        while True:
            ready, _, _ = select.select([master], [], [], ends - time.monotonic())
            assert ready, f"it does not end: {data[-1000:]!r}"
            data += os.read(master, 65536)
    except OSError:  # its side is closed
        pass
    finally:
        os.close(master)
        status = player.wait(DEADLINE_S)
    assert status == 0, data[-1000:]
    return data.decode()
