"""Records of the audit log, without what people typed: those that are there, and those that come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from exemplary import exemplary
from made import Made, make
from running import perform, run

from kernel.visits import begun_apart
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import audit_log
from stdlib.catalogue import load
from stdlib.sys_audit import MAX_LINE_BYTES, Trail

TOKEN, PASSWORD = (text.encode().hex().upper() for text in ("--token=hunter2", "mysql\0--password=hunter2"))
AUDIT = "".join(f"{line}\n" for line in (
    'type=SYSCALL msg=audit(1700000001.100:1): arch=c000003e syscall=59 a0=55d0 exe="/usr/bin/x" key="root-cmds"',
    f'type=EXECVE msg=audit(1700000001.100:1): argc=4 a0="mysql" a1="--password" a2="hunter2" a3={TOKEN}',
    f"type=PROCTITLE msg=audit(1700000001.100:1): proctitle={PASSWORD}",
    "type=TTY msg=audit(1700000002.000:2): tty pid=9 uid=0 data=68756E746572320D",
    f"type=USER_CMD msg=audit(1700000003.000:3): pid=9 uid=1001 msg='cwd=\"/\" cmd={b'id '.hex()}{TOKEN} res=success'",
    "type=USER_LOGIN msg=audit(1700000004.250:4): pid=9 uid=0 msg='acct=\"mia\" hostname=192.0.2.7 res=success'",
    "garbage", "type=AVC msg=audit(17000000049999999999:5): x=y",
))  # fmt: skip


LOG = "var/log/audit/audit.log"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return exemplary(tmp_path)


async def test_records(made: Made) -> None:
    made.put(LOG, AUDIT)
    events = await perform("sys.audit_events", host=made.host)
    assert [(row["type"], row["serial"]) for row in events] == [
        ("SYSCALL", 1), ("EXECVE", 1), ("PROCTITLE", 1), ("TTY", 2), ("USER_CMD", 3), ("USER_LOGIN", 4),
    ]  # fmt: skip
    call, login = events[0], events[-1]
    assert (call["fields"]["a0"], call["fields"]["key"], call["time"]) == ("55d0", "root-cmds", 1700000001.1)
    assert [login["fields"][name] for name in ("acct", "hostname", "res")] == ["mia", "192.0.2.7", "success"]
    assert events[4]["fields"]["cmd"].startswith("id --token=")


async def test_what_was_typed_and_secrets_are_not_told(made: Made) -> None:
    made.put(LOG, AUDIT)
    told = str(await perform("sys.audit_events", host=made.host))
    for word in ("hunter2", "68756E74657232", "68756e74657232"):
        assert word not in told


async def test_they_are_narrowed(made: Made) -> None:
    made.put(LOG, AUDIT.rstrip("\n"))
    for options, serials in (
        ({"type": "USER_LOGIN"}, [4]), ({"key": "root-cmds"}, [1]), ({"since": 1700000003.0}, [3, 4]),
        ({"limit": 1}, [4]), ({"limit": 0}, []), ({"type": "AVC"}, []),
    ):  # fmt: skip
        events = await perform("sys.audit_events", host=made.host, **options)
        assert [row["serial"] for row in events] == serials, options


SCRIPTS = {
    "lua": "local n, s = 0, sys.audit_events({limit = param('n')}) for e in s do n = n + e.serial end"
    " return {n, s:summary().more}",
    "python": "s = sys.audit_events(limit=param('n'))\nresult = [sum(e['serial'] for e in s), s.summary()['more']]",
}


@pytest.mark.parametrize("language", sorted(SCRIPTS))
async def test_a_script_reads_them(sandbox: Sandbox, made: Made, language: str) -> None:
    made.put(LOG, AUDIT)
    for limit, result in ((2, [7, True]), (200, [12, False])):
        outcome = await run(sandbox, language, SCRIPTS[language], Tier.INSPECT, {"n": limit}, host=made.host)
        assert (outcome.status, outcome.result) == ("ok", result), outcome.reason


async def test_many_large_records_come_in_pieces(sandbox: Sandbox, made: Made) -> None:
    """All of them together are more than a frame holds."""
    fields = " ".join(f"f{number}={'x' * 1000}" for number in range(50))
    made.put(LOG, "".join(f"type=X msg=audit(1.0:{number}): {fields}\n" for number in range(1, 101)))
    outcome = await run(sandbox, "lua", SCRIPTS["lua"], Tier.INSPECT, {"n": 1000}, host=made.host)
    assert (outcome.status, outcome.result) == ("ok", [5050, False]), outcome.reason


async def test_no_log(tmp_path: Path) -> None:
    made = make(tmp_path)
    for follow in (False, True):
        with pytest.raises(UnavailableError, match=r"audit.log cannot be read"):
            await perform("sys.audit_events", host=made.host, follow=follow)
    made.folder("var/log/audit")
    os.mkfifo(made.place / LOG)
    with pytest.raises(UnavailableError, match="is not a regular file"):
        await perform("sys.audit_events", host=made.host)
    (made.place / LOG).unlink()
    (made.place / LOG).symlink_to("/etc/passwd")
    with pytest.raises(UnavailableError):
        await perform("sys.audit_events", host=made.host)


# Following ------------------------------------------------------------------------------------------------------------


def line(serial: int, kind: str = "USER_LOGIN") -> str:
    return f"type={kind} msg=audit(1700000004.250:{serial}): pid=9 res=success\n"


class Follower:
    """Somebody who reads what comes."""

    def __init__(self, made: Made, **named: Any) -> None:
        spec = load().find("sys.audit_events")
        assert spec is not None
        assert spec.implementation is not None
        bound = spec.bind([], {"follow": True, **named})
        self.trail: Trail = spec.implementation(made.host, **bound)

    async def next(self, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            found += [row["serial"] for row in await anext(self.trail)]
        return found


@pytest.fixture
async def follower(made: Made) -> AsyncIterator[Follower]:
    made.put(LOG, line(1) + line(2))
    follower = Follower(made, type="USER_LOGIN", limit=1)
    yield follower
    await follower.trail.aclose()


def append(made: Made, text: str) -> None:
    with (made.place / LOG).open("a") as file:
        file.write(text)


async def test_what_comes_is_given(made: Made, follower: Follower) -> None:
    """First the newest that is there; then what comes, also where a record comes in two parts."""
    assert await follower.next(1) == [2]
    append(made, line(3, "AVC") + line(4) + line(5)[:20])
    assert await follower.next(1) == [4]
    append(made, line(5)[20:] + line(6))
    assert await follower.next(2) == [5, 6]


async def test_a_log_that_is_turned_over_is_followed(made: Made, follower: Follower) -> None:
    """What is left of the old one comes first."""
    assert await follower.next(1) == [2]
    append(made, line(3))
    (made.place / LOG).rename(made.place / "var/log/audit/audit.log.1")
    made.put(LOG, line(4))
    assert await follower.next(2) == [3, 4]
    append(made, line(5))
    assert await follower.next(1) == [5]


async def test_a_log_that_is_cut_is_read_from_its_beginning(made: Made, follower: Follower) -> None:
    assert await follower.next(1) == [2]
    (made.place / LOG).write_text(line(7))
    assert await follower.next(1) == [7]


async def test_more_than_is_kept_waits_in_the_file(made: Made, follower: Follower) -> None:
    """And is given without anything else happening."""
    assert await follower.next(1) == [2]
    append(made, "".join(line(number) for number in range(3, 20_003)))
    assert await follower.next(20_000) == list(range(3, 20_003))


async def test_a_line_without_an_end_is_not_kept(made: Made, follower: Follower) -> None:
    assert await follower.next(1) == [2]
    append(made, "x" * (3 * MAX_LINE_BYTES))
    append(made, "\n" + line(3))
    assert await follower.next(1) == [3]


async def test_nothing_is_held_once_it_is_closed(made: Made) -> None:
    made.put(LOG, line(1))
    await begun_apart(int)  # what tells a loop of its threads stays with the loop
    before = set(os.listdir("/proc/self/fd"))
    follower = Follower(made, limit=0)
    waiting = asyncio.ensure_future(follower.next(1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await follower.trail.aclose()
    await follower.trail.aclose()
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_a_script_follows_until_it_has_what_it_waits_for(sandbox: Sandbox, made: Made) -> None:
    made.put(LOG, line(1))
    source = "for e in sys.audit_events({follow = true}) do if e.serial == 9 then return e.type end end"
    running = asyncio.ensure_future(run(sandbox, "lua", source, Tier.INSPECT, host=made.host))
    append(made, line(9, "AVC"))
    outcome = await running
    assert (outcome.status, outcome.result) == ("ok", "AVC"), outcome.reason


def test_an_odd_record_is_bounded() -> None:
    row = audit_log.event("type=X msg=audit(1.0:1): " + " ".join(f"f{i}=" + "x" * 2000 for i in range(100)))
    assert row is not None
    assert len(row["fields"]) == audit_log.MAX_FIELDS
    assert max(map(len, row["fields"].values())) == audit_log.MAX_VALUE_CHARACTERS
