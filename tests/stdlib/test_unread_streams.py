"""Every stream of the catalogue: a run that ends, or a script that closes it in the middle, leaves nothing of it.

The list is held against the catalogue, so that no new stream escapes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from exemplary import exemplary
from running import gate

from kernel.visits import begun_apart
from protocol.tiers import Tier
from sandbox.gate import Gate
from sandbox.held import Held
from stdlib.catalogue import load
from stdlib.host import Host
from stdlib.processes.start import Processes

LOOP = "while :; do echo line; done"


@dataclass(frozen=True)
class Asked:
    """How a stream is begun: the call that gives the handle it belongs to, if any, and its own arguments."""

    arguments: dict[str, Any]
    handle: tuple[str, dict[str, Any]] | None = None
    gives_at_once: bool = True  # something comes without anything else happening


def streams(place: Path) -> dict[str, Asked]:
    """Every one, on something that has more to give than one batch where that can be."""
    return {
        "fs.disk_usage": Asked({"path": str(place), "depth": 9}),
        "fs.glob": Asked({"patterns": ["**"], "root": str(place)}),
        "fs.grep": Asked({"paths": [str(place / "lines")], "regex": "1"}),
        "fs.lines": Asked({"path": str(place / "lines")}),
        "fs.read_stream": Asked({"path": str(place / "lines"), "chunk": 1000}),
        "fs.walk": Asked({"root": str(place)}),
        "fs.watch": Asked({"path": str(place), "recursive": True}, gives_at_once=False),
        "process.lines": Asked({}, ("proc.spawn", {"argv": ["/bin/sh", "-c", LOOP]})),
        "sys.audit_events": Asked({"follow": True}),
        "time.after": Asked({"seconds": 3600}, gives_at_once=False),
        "time.every": Asked({"seconds": 3600}, gives_at_once=False),
        "tty.output": Asked({}, ("tty.open", {"argv": ["/bin/sh", "-c", LOOP]})),
    }


def test_no_stream_escapes() -> None:
    assert {spec.name for spec in load() if spec.gives == "stream"} == set(streams(Path("/")))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "place"
    for number in range(40):
        (root / f"{number}/deep/er").mkdir(parents=True)
        for name in range(40):
            (root / f"{number}/deep/{name}").touch()
    (root / "lines").write_text("line 1\n" * 100_000)
    return root


def held_by_us() -> dict[str, int]:
    """Descriptors by what they are, apart from those that come and go with threads of the loop."""
    found: dict[str, int] = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}").split(":[")[0]
        except FileNotFoundError:
            continue
        found[target] = found.get(target, 0) + 1
    return found


async def begun(door: Gate, name: str, asked: Asked) -> Held:
    arguments = dict(asked.arguments)
    if asked.handle is not None:
        call, more = asked.handle
        owner = await door.call(call, [], more)
        assert owner.ok, owner.error
        spec = load().find(name)
        assert spec is not None
        arguments[spec.parameters[0].name] = {"$handle": owner.value.number}
    reply = await door.call(name, [], arguments)
    assert reply.ok, reply.error
    assert isinstance(reply.value, Held)
    return reply.value


async def closed_by_the_script(door: Gate, stream: Held) -> None:
    await door.release(stream.number)
    assert door.holder.find(stream.number) is None


async def left_to_the_end(_door: Gate, _stream: Held) -> None:
    """The script says nothing."""


ENDS: dict[str, Callable[[Gate, Held], Any]] = {"closed": closed_by_the_script, "left": left_to_the_end}


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("name", sorted(streams(Path("/"))))
async def test_nothing_is_left_of_a_stream_that_is_not_read_to_its_end(
    place: Path, tmp_path: Path, name: str, end: str
) -> None:
    made = exemplary(tmp_path / "host") if name == "sys.audit_events" else None
    asked = streams(place)[name]
    async with Processes() as processes:
        host = replace(made.host if made is not None else Host(), processes=processes)
        if asked.handle is not None:  # what starts programs is there once, and stays
            warm = gate(Tier.ADMIN, host=host)
            await begun(warm, name, asked)
            await warm.close()
        await begun_apart(int)  # what tells a loop of its threads stays with the loop
        before = held_by_us()
        door = gate(Tier.ADMIN, host=host)
        stream = await begun(door, name, asked)
        if asked.gives_at_once:
            bodies: list[bytes] = []
            await door.pull(stream.number, bodies.append)
            assert len(bodies) == 1
        await ENDS[end](door, stream)
        await door.close()
        assert not Counter(held_by_us()) - Counter(before)
        assert processes.running == 0
