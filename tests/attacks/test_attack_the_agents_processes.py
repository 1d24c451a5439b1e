"""A script that may signal processes, against what the agent consists of: zygote, workers, spawner, minders."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from siege import Siege, approved, script, until

ANYBODY = "highest_tier: admin\naccept_server_word: [run, session]\n"
SLEEP = ["/bin/sleep", "300.5"]
ZYGOTE, SPAWNER = "sandbox.seed", "stdlib.processes.spawner"


def children() -> dict[int, list[int]]:
    """Return pid -> those whose parent it is, of the whole host."""
    found: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.setdefault(parent, []).append(int(each.name))
    return found


def below(pid: int) -> set[int]:
    """Return what has come of a process."""
    tree, found, level = children(), set[int](), [pid]
    while level:
        level = [child for each in level for child in tree.get(each, []) if child not in found]
        found |= set(level)
    return found


async def called(siege: Siege, call: str, **arguments: Any) -> Any:
    return await siege.say("session.call", {"session": "s1", "call": call, "arguments": arguments})


def line(pid: int) -> str:
    """Return how a process was started; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def started(words: str) -> list[int]:
    """Return what of our own was started by a line that holds these words; what is a fork has the line of its maker."""
    return [pid for pid in below(os.getpid()) if words in line(pid)]


async def test_no_tier_reaches_what_the_agent_consists_of(siege: Siege) -> None:
    """From operate on it was the end of whatever another script, or a person at a terminal, was doing here."""
    siege.allow(ANYBODY)
    opened = {
        "session": "s1", "kind": "command", "tier": "admin", "principal": "root", "reason": "trust me", "grant": {},
        "idle_s": None, "longest_s": None, "order": None, "access": None, "users": None,
    }  # fmt: skip
    assert isinstance(await siege.say("session.open", opened), dict)
    wish = siege.wish(siege.offer(approved(siege.world, script("time.sleep(25) return 1\n"))))
    assert isinstance(await siege.say("run.start", wish), dict)
    running = asyncio.create_task(called(siege, "proc.exec", argv=SLEEP, timeout=25))
    await until(lambda: started(SLEEP[0]) and any(set(children().get(pid, [])) for pid in started(ZYGOTE)))
    (program,), zygotes, spawners = started(SLEEP[0]), started(ZYGOTE), started(SPAWNER)
    assert len(zygotes) >= 2, "a zygote and a worker"
    assert len(spawners) >= 2, "a spawner and a minder"
    for pid in (os.getpid(), *zygotes, *spawners):
        for sig in ("CONT", "WINCH"):
            assert await called(siege, "proc.signal", pid=pid, sig=sig) == "denied", (pid, line(pid))
        assert await called(siege, "proc.renice", pid=pid, nice=os.getpriority(os.PRIO_PROCESS, pid)) == "denied"
    told = await called(siege, "proc.signal", pid=program, sig="KILL")
    assert told["value"] == {"pid": program, "name": "sleep"}, "a program that somebody started is no part of it"
    assert (await running)["value"]["signal"] == 9
