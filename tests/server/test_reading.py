"""Long scripts are read by a process of its own: it finds the same, and what it is given hostile costs nobody else."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused, script

from protocol.bundle import Bundle
from protocol.errors import InternalError
from sandbox.analysis import Pinned
from server import findings, git_program, reading
from server.store import database

LONG = "".join(f"local s{n % 150} = fs.read('/srv/{n}')\n" for n in range(100)) + "-- " + "x" * reading.MAX_HERE_BYTES
NEEDS = (
    "needs: [{call: fs.read, paths: [/srv/**]}, {call: script.run, names: [a/b]}, {call: net.http, targets: [x.org]}]\n"
)
#: Python's own parser takes time that grows with the square of this, and lets no other thread run meanwhile.
QUADRATIC = 'x = f"' + "{a}" * 87_000 + '"\n'  # 256 KiB at most; at 50,000 a quick machine is done within its second


def python(source: str, version: str = "1.0.0") -> Bundle:
    manifest = f"name: checks/long\nversion: {version}\nlanguage: python\nmain: main.py\ntier: observe\n"
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.py": source.encode()})


def long(version: str) -> Bundle:
    return script(f"{LONG}\nreturn '{version}'\n", version=version)


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """As the end of a server does."""
    yield
    reading.end()


@pytest.fixture
def process() -> subprocess.Popen[bytes]:
    """The process that reads, which has read already."""
    reading.read(long("0.0.1"), [], [])
    running = reading._READER._process
    assert running is not None
    return running


@pytest.mark.parametrize(
    "bundle",
    [
        long("1.0.0"),
        script(LONG, more=NEEDS, tier="inspect"),
        python("def f():\n    return fs.list('/etc')\n" + "# " + "x" * reading.MAX_HERE_BYTES),
        script(f"{LONG}\nreturn load(param.x)\n"),
        script(f"{LONG}\nreturn fs.read('\\237\\160\\128')\n"),
        script(f"{LONG}\nreturn\nreturn\n"),
        python(f"# {'x' * reading.MAX_HERE_BYTES}\nx = \n"),
        script(f"{LONG}\nreturn nothing.like.this(fs.read())\n"),
    ],
    ids=["lua", "needs", "python", "dynamic", "no text", "lua syntax", "python syntax", "wrong"],
)
def test_it_finds_what_is_found_here(bundle: Bundle) -> None:
    library = script(
        "return {f = function() return fs.read('/etc/x') end}\n", name="checks/lib", more="kind: library\n"
    )
    pinned = [Pinned("checks/lib", library.digest, "main.lua", library.files)] if "main.lua" in bundle.files else []
    missing = ["checks/other sha256:00 is not published here"]
    assert not reading.is_short(bundle, pinned)
    assert reading.read(bundle, pinned, missing) == findings.find(findings.Source.of(bundle), pinned, missing)


async def test_a_long_script_is_published_and_reviewed_like_a_short_one(server: Headquarters) -> None:
    published = expect(await server.publish(long("1.0.0")), 201)
    shown = await server.get(f"/reviews/{published['review']}")
    assert shown["calls"] == ["fs.read"]
    wrong = script(f"{LONG}\nreturn )\n", version="1.1.0")
    told = refused(await server.publish(wrong), 422, "invalid_argument")
    assert told["where"].startswith("main.lua:102")


def _waiting_bytes(process: subprocess.Popen[bytes]) -> int:
    """Return how much it was given and has not read."""
    assert process.stdin is not None
    return int.from_bytes(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_while_scripts_are_read_everybody_else_is_served(
    server: Headquarters, process: subprocess.Popen[bytes]
) -> None:
    """More of them than there are readers of the database, and none of them comes to an end."""
    os.kill(process.pid, signal.SIGSTOP)
    publishing = [asyncio.create_task(server.publish(long(f"1.{number}.0"))) for number in range(2 * database.READERS)]
    try:
        for _ in range(2 * database.READERS):
            assert await server.pages("/scripts") == []
        assert not any(task.done() for task in publishing)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert {(await task).status_code for task in publishing} == {201}


async def test_a_process_that_is_killed_refuses_that_script_and_no_other(
    server: Headquarters, process: subprocess.Popen[bytes]
) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    publishing = asyncio.create_task(server.publish(long("1.0.0")))
    while not _waiting_bytes(process):
        await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    told = refused(await publishing, 422, "invalid_argument")
    assert "make it shorter" in told["detail"]
    assert await server.pages("/scripts") == []
    expect(await server.publish(long("1.0.0")), 201)


async def test_what_takes_more_time_than_a_script_is_worth_is_refused(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> Any:
        program = "from server import reading_program as it; it.MAX_CPU_S = 0; it.main()"
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=git_program.environment(), cwd="/", start_new_session=True,
        )  # fmt: skip

    monkeypatch.setattr(reading, "_begin", begin)
    told = refused(await server.publish(python(QUADRATIC)), 422, "invalid_argument")
    assert f"status -{signal.SIGXCPU.value}" in told["detail"]


def test_what_fails_for_another_reason_is_told_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PROGRAM", "server.nothing_of_this_name")
    with pytest.raises(InternalError):
        reading.read(long("1.0.0"), [], [])


def test_it_ends_with_whoever_began_it() -> None:
    """Nobody would be left to give it anything: the end of its input is its own."""
    process = reading._begin()
    process.communicate(timeout=60)
    assert process.returncode == 0
