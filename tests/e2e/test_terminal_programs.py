"""Programs that draw the whole screen of a terminal: editors, pagers, and others within it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from seated import new_session, seated

from fleet import Fleet


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


async def test_vim_draws_edits_and_saves(host: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("first line\nsecond line\n")
    session = new_session(host)
    async with seated(host, session, argv=[needs("vim"), "-u", "NONE", "-N", str(path)]) as me:
        await me.shows("first line", "second line", "~")
        await me.type("Gothird line\x1b")
        await me.shows("third line")
        async with seated(host, session, "observer") as late:
            await late.shows("first line", "third line")  # drawn anew for who comes late
        await me.resize(60, 12)
        await me.type(":wq\r")
        await me.hears("exit", code=0)
    assert path.read_text() == "first line\nsecond line\nthird line\n"


async def test_less_pages_and_searches(host: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    session = new_session(host)
    async with seated(host, session, argv=[needs("less"), str(path)]) as me:
        await me.shows("line 0", "line 22")
        await me.type("/line 500\r")
        await me.shows("line 500")
        await me.type("q")
        await me.hears("exit", code=0)


async def test_top_shows_processes_and_ends_by_its_key(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, argv=[needs("top"), "-d", "5"]) as me:
        await me.shows("load average", "PID")
        await me.type("q")
        await me.hears("exit", code=0)


async def test_tmux_splits_and_survives_a_viewer(host: Fleet, tmp_path: Path) -> None:
    session = new_session(host)
    argv = [needs("tmux"), "-S", str(tmp_path / "s"), "-f", "/dev/null", "new", "/bin/sh"]
    async with seated(host, session, argv=argv) as me:
        await me.type("echo left-$((1+1))\r")
        await me.shows("left-2")
        await me.type("\x02%")
        await me.shows("│")
        await me.type("echo right-$((1+1))\r")
        await me.shows("left-2", "right-2")
        lines = me.lines()
    async with seated(host, session) as me:
        await me.shows("left-2", "right-2", "│")
        drawn = me.lines()
        assert [line for line in drawn if "left-2" in line] == [line for line in lines if "left-2" in line]
        await me.type("exit\rexit\r")
