"""Tools of the distribution: found only where they may be trusted, bounded, and gone with all that they started."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from made import Made, make

from protocol.errors import BudgetError, DeadlineError, UnavailableError
from stdlib.processes.start import Processes
from stdlib.tools import find_tool, run_tool


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with Processes() as processes:
        bare = make(tmp_path)
        yield replace(bare, host=replace(bare.host, processes=processes))


async def test_arguments_reach_it_as_they_are(made: Made) -> None:
    made.tool("it", "done\n")
    strange = ["$HOME", "`id`", "; id", "a  b", "*", "", "é"]
    ended = await run_tool(made.host, "it", *strange)
    assert (ended.code, ended.text, ended.truncated) == (0, "done\n", False)
    assert made.uses("it") == [strange]


async def test_it_inherits_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD", "")
    made.tool("it", script="env; pwd; cat; ls /proc/self/fd")
    text = (await run_tool(made.host, "it", environment={"MORE": "1"})).text
    assert "SECRET" not in text
    assert "LD_PRELOAD" not in text
    assert "MORE=1" in text
    assert "TZ=UTC" in text
    assert "\n/\n0\n1\n2\n3\n" in text, "its folder is /, its input is empty, and it holds nothing of the agent's"


@pytest.mark.parametrize("mode", [0o644, 0o775, 0o757])
async def test_a_tool_that_others_could_change_is_none(made: Made, mode: int) -> None:
    """Whoever may write the tool would be root."""
    made.tool("it")
    (made.place / "tools/it").chmod(mode)
    assert find_tool(made.host, "it") is None
    with pytest.raises(UnavailableError, match="this host has no it"):
        await run_tool(made.host, "it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_tool_of_somebody_else_is_none(made: Made) -> None:
    made.tool("it")
    os.chown(made.place / "tools/it", 1001, 1001)
    assert find_tool(made.host, "it") is None


def test_nothing_but_a_file_is_a_tool(made: Made) -> None:
    made.folder("tools/it")
    assert find_tool(made.host, "it") is None
    assert find_tool(made.host, "missing") is None


async def test_failure_says_why(made: Made) -> None:
    made.tool("it", code=3, errors="warning\nno such disk\n")
    with pytest.raises(UnavailableError, match=r"^it failed: no such disk$"):
        await run_tool(made.host, "it")
    assert (await run_tool(made.host, "it", codes=(3,))).code == 3
    made.tool("quiet", code=4)
    with pytest.raises(UnavailableError, match="status 4"):
        await run_tool(made.host, "quiet")


async def test_output_over_the_bound_is_dropped_and_said(made: Made) -> None:
    made.tool("it", script="head -c 300000 /dev/zero")
    ended = await run_tool(made.host, "it", most_bytes=1000)
    assert (len(ended.output), ended.truncated, ended.code) == (1000, True, 0)


async def test_a_host_that_starts_nothing_has_no_tools(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.tool("it")
    with pytest.raises(UnavailableError, match="no programs are started here"):
        await run_tool(made.host, "it")
    assert made.uses("it") == []


async def test_what_it_sends_into_the_background_has_ended(made: Made) -> None:
    """Also in a session of its own, where its group does not reach."""
    leave = 'setsid sh -c "echo \\$\\$ > $PLACE/left; exec sleep 300" &'
    made.tool("it", script=f"{leave} while ! test -s $PLACE/left; do :; done")
    await run_tool(made.host, "it")
    assert gone(int((made.place / "left").read_text()))


async def test_it_has_limits(made: Made) -> None:
    made.tool("it", script="ulimit -c; ulimit -n; ulimit -v; ulimit -t")
    ended = await run_tool(made.host, "it", timeout_s=20.0, most_memory_bytes=1 << 30)
    assert ended.text.split() == ["0", "1024", "1048576", "21"]


async def test_one_that_forks_without_end_is_killed(made: Made) -> None:
    made.tool("it", script="for i in 1 2 3 4 5 6 7 8 9; do sleep 300 & done; wait")
    with pytest.raises(BudgetError, match="processes"):
        await run_tool(made.host, "it", most_processes=5)


def processes_of(group: int) -> list[int]:
    """Which processes are in a group and not merely waiting to be reaped."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(name))
    return found


def gone(group: int) -> bool:
    """Wait until nothing of a group is left; the test's time limit ends a wait in vain."""
    while processes_of(group):
        os.sched_yield()
    return True


async def too_long(made: Made, grace_s: float = 0.0) -> None:
    """Run a tool that says when it has come so far, and goes on; a slow machine is given more time for it."""
    for timeout_s in (0.5, 20.0):
        with pytest.raises(DeadlineError, match=rf"did not end within {timeout_s:g} s"):
            await run_tool(made.host, "it", timeout_s=timeout_s, grace_s=grace_s)
        if (made.place / "pid").exists() and (made.place / "pid").read_text():
            return


async def test_what_takes_too_long_is_killed_with_its_children(made: Made) -> None:
    made.tool("it", script="echo $$ > $PLACE/pid; sleep 300 & sleep 300")
    await too_long(made)
    assert gone(int((made.place / "pid").read_text()))


async def test_a_run_that_ends_takes_it_along(made: Made) -> None:
    made.tool("it", script="echo $$ > $PLACE/pid; sleep 300 & : > $PLACE/up; wait")
    running = asyncio.ensure_future(run_tool(made.host, "it"))
    while not (made.place / "up").exists():
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gone(int((made.place / "pid").read_text()))


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 20])
async def test_a_run_that_ends_while_it_starts_takes_it_along(made: Made, turns: int) -> None:
    """Between the fork and the answer of asyncio there are some turns of the loop."""
    made.tool("it", script="echo $$ > $PLACE/pid; sleep 300 & wait")
    running = asyncio.ensure_future(run_tool(made.host, "it"))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    told = (made.place / "pid").read_text() if (made.place / "pid").exists() else ""
    assert not told or gone(int(told)), "one that was ended before it could tell its number is gone as well"


async def test_one_that_must_not_stop_half_way_is_asked_first(made: Made) -> None:
    """dpkg that is killed leaves packages half done."""
    made.tool(
        "it", script="trap 'echo whole > $PLACE/done; exit 0' TERM; echo $$ > $PLACE/pid; while :; do sleep 0.05; done"
    )
    await too_long(made, grace_s=20.0)
    assert (made.place / "done").read_text() == "whole\n"


async def test_one_that_ignores_being_asked_is_killed(made: Made) -> None:
    made.tool("it", script="trap '' TERM; echo $$ > $PLACE/pid; while :; do sleep 0.05; done")
    await too_long(made, grace_s=0.2)
    assert gone(int((made.place / "pid").read_text()))
