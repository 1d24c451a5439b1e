"""What programs of a terminal may ask, who may ask it, and how much of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from premises import until

from agent import wishes
from agent.wishes import PAUSE_S, STRANGER_S, Wishes, asked_path, is_below, name_of


class Asked:
    """The agent's side of a session whose root is this process."""

    def __init__(self, root: int) -> None:
        self.session = f"s_{os.urandom(6).hex()}"
        self.told: list[dict[str, Any]] = []
        self.is_heard = True
        self.wishes = Wishes(self.session)
        self.root = root

    async def serve(self) -> None:
        await self.wishes.serve(self.root, self.told.append, lambda: self.is_heard)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(name_of(self.session))

    async def ask(self, path: str = "/etc/motd") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(json.dumps({"do": "edit", "path": path}).encode() + b"\n")
        return reader, writer


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    made = Asked(os.getpid())
    await made.serve()
    yield made
    made.wishes.close()


async def line(reader: asyncio.StreamReader) -> dict[str, Any]:
    return dict(json.loads(await reader.readline()))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Closed without a word, be it that what was said was not read."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_question_and_its_answer(asked: Asked) -> None:
    reader, writer = await asked.ask()
    assert await line(reader) == {"asked": "/etc/motd"}
    assert asked.told == [{"what": "client", "action": "edit", "path": "/etc/motd", "number": 1}]
    asked.wishes.answer(2, "done")  # no such question
    asked.wishes.answer(1, "done")
    asked.wishes.answer(1, "declined")  # it was answered
    assert await line(reader) == {"outcome": "done"}
    writer.close()


async def test_who_goes_away_withdraws_it(asked: Asked) -> None:
    reader, writer = await asked.ask()
    await line(reader)
    writer.close()
    await until(lambda: len(asked.told) == 2)
    assert asked.told[1] == {"what": "client", "action": "withdrawn", "path": "/etc/motd", "number": 1}
    asked.wishes.answer(1, "done")  # too late, and no error


async def test_one_at_a_time_and_not_without_end(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAUSE_S == 1.0
    monkeypatch.setattr(wishes, "PAUSE_S", 600.0)  # so that no machine is slower
    first, writer = await asked.ask()
    await line(first)
    second, other = await asked.ask("/etc/passwd")
    assert "another file is asked about" in (await line(second))["error"]
    asked.wishes.answer(1, "declined")
    await line(first)
    third, last = await asked.ask("/etc/passwd")
    assert "a moment ago" in (await line(third))["error"]
    assert len(asked.told) == 1
    for each in (writer, other, last):
        each.close()


async def test_where_nobody_watches_nobody_is_asked(asked: Asked) -> None:
    asked.is_heard = False
    reader, writer = await asked.ask()
    assert await line(reader) == {"error": "nobody has this terminal before them"}
    assert asked.told == []
    writer.close()


async def test_a_process_of_nobody_here_is_sent_away_unheard() -> None:
    """Also one of the same user, who could open the same files: that is no reason to be asked."""
    with subprocess.Popen(["sleep", "1000"]) as root:
        asked = Asked(root.pid)
        await asked.serve()
        try:
            reader, writer = await asked.ask()
            assert await is_closed(reader)
            assert asked.told == []
            writer.close()
        finally:
            asked.wishes.close()
            root.kill()


async def test_strangers_without_end_cost_a_few_looks_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Any user of the host may connect: two of them kept the agent from all else, and filled its log."""
    with subprocess.Popen(["sleep", "1000"]) as root:
        asked = Asked(root.pid)
        await asked.serve()
        began_s = time.monotonic()
        try:
            for _ in range(4):
                reader, writer = await asked.connect()
                assert await is_closed(reader)
                writer.close()
        finally:
            asked.wishes.close()
            root.kill()
    assert time.monotonic() - began_s >= 3 * STRANGER_S
    assert caplog.text.count("none of its own") == 1


async def test_the_sessions_own_are_heard_after_strangers(asked: Asked) -> None:
    asked.wishes._rest()
    reader, writer = await asked.ask()
    assert await line(reader) == {"asked": "/etc/motd"}
    writer.close()


async def test_orphans_and_grandchildren_are_of_the_session(asked: Asked) -> None:
    text = f"""
import json, socket
with socket.socket(socket.AF_UNIX) as one:
    one.connect({name_of(asked.session)!r})
    one.sendall(json.dumps({{"do": "edit", "path": "/etc/motd"}}).encode() + b"\\n")
    one.recv(1000)
"""
    words = f"{sys.executable} -IS -c '{text.replace(chr(39), chr(34))}'; true"
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", words)
    await until(lambda: len(asked.told) == 2)
    assert await process.wait() == 0


def test_parents_lead_to_the_root_or_they_do_not() -> None:
    own, parent = os.getpid(), os.getppid()
    assert is_below(own, own)
    assert is_below(own, parent)
    assert not is_below(parent, own)
    assert not is_below(1, own)
    assert not is_below(0, own)


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\n", b"no json\n", b"[]\n", b"{}\n", b'{"do": "edit"}\n', b'{"do": "run", "path": "/a"}\n',
        b'{"do": "edit", "path": "a"}\n', b'{"do": "edit", "path": 1}\n', b'{"do": "edit", "path": "/a\\u001b]0;x"}\n',
        b'{"do": "edit", "path": "/a\\nb"}\n', b'{"do": "edit", "path": "/\\udce9"}\n',
        b'{"do": "edit", "path": "/\\u202etxt.sh"}\n',
        b'{"do": "edit", "path": "/' + b"a" * 5000 + b'"}\n',
    ],
)  # fmt: skip
async def test_what_is_no_question_is_said_and_asked_of_nobody(asked: Asked, said: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        asked_path(said)
    reader, writer = await asked.connect()
    writer.write(said or b"\n")
    assert "error" in await line(reader)
    assert asked.told == []
    writer.close()


async def test_a_line_without_an_end_is_cut_off(asked: Asked) -> None:
    reader, writer = await asked.connect()
    writer.write(b"x" * (32 << 10))
    assert "error" in await line(reader)
    writer.close()


async def test_more_connections_than_a_few_are_closed(asked: Asked) -> None:
    silent = [await asked.connect() for _ in range(4)]
    await until(lambda: len(asked.wishes._open) == 4)
    reader, writer = await asked.ask()
    assert await is_closed(reader)
    assert asked.told == []
    for _, each in [*silent, (reader, writer)]:
        each.close()


async def test_a_name_that_somebody_has_is_an_error() -> None:
    session = f"s_{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(name_of(session))
        with pytest.raises(OSError, match="in use"):
            Wishes(session)
