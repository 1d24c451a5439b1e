"""``sys.*`` of logs: the journal, and the kernel's lines without addresses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from exemplary import exemplary
from made import Made, make
from running import perform

from protocol.errors import ArgumentError, UnavailableError


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return exemplary(tmp_path)


def entry(number: int, message: Any, **more: Any) -> str:
    told = {"__CURSOR": f"s=a;i={number:x}", "__REALTIME_TIMESTAMP": str(number * 1_000_000), "PRIORITY": "6"}
    return json.dumps({**told, "MESSAGE": message, **more}) + "\n"


async def test_entries(made: Made) -> None:
    made.tool(
        "journalctl",
        entry(1, "one", _SYSTEMD_UNIT="a.service", _PID="5", _COMM="a")
        + entry(2, "two", UNIT="b.service", _PID="1", _SYSTEMD_UNIT="init.scope"),
    )
    told = await perform("sys.journal", host=made.host)
    assert told == {
        "cursor": "s=a;i=2", "more": False,
        "entries": [
            {"time": 1.0, "level": "info", "unit": "a.service", "identifier": "a", "pid": 5, "message": "one"},
            {"time": 2.0, "level": "info", "unit": "b.service", "identifier": None, "pid": 1, "message": "two"},
        ],
    }  # fmt: skip


async def test_nobody_writes_in_the_name_of_a_unit(made: Made) -> None:
    """Any user of the host may send the journal a field UNIT; only systemd's own says what an entry is about."""
    made.tool(
        "journalctl",
        entry(1, "failed", UNIT="mysql.service", _PID="77", _SYSTEMD_UNIT="user@1000.service")
        + entry(2, "failed", UNIT="mysql.service", _PID="11") + entry(3, "failed", UNIT="mysql.service"),
    )  # fmt: skip
    told = await perform("sys.journal", host=made.host)
    assert [row["unit"] for row in told["entries"]] == ["user@1000.service", None, None]


async def test_what_is_asked_for_reaches_journalctl_as_fixed_options(made: Made) -> None:
    await perform(
        "sys.journal", "cron", since=1_700_000_000.7, priority=3, after="s=0af1;i=1;b=2c", limit=7, host=made.host
    )
    (use,) = made.uses("journalctl")
    assert use[:3] == ["--no-pager", "--quiet", "--output=json"]
    assert [option for option in use[3:] if not option.startswith("--output-fields=")] == [
        "--lines=8", "--priority=0..3", "--unit=cron.service", "--since=@1700000000", "--after-cursor=s=0af1;i=1;b=2c",
    ]  # fmt: skip


@pytest.mark.parametrize("after", ["x", "s=1 --file=/etc/shadow", "s=1\n", "s=1;", "--file=x", "s=" + "0" * 400])
async def test_only_a_cursor_is_taken_for_one(made: Made, after: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        await perform("sys.journal", after=after, host=made.host)
    assert caught.value.parameter == "after"
    assert made.uses("journalctl") == []


async def test_limit_and_match(made: Made) -> None:
    made.tool("journalctl", "".join(entry(i, f"line {i}") for i in range(1, 5)))
    told = await perform("sys.journal", limit=3, host=made.host)
    assert ([row["message"] for row in told["entries"]], told["more"]) == (["line 2", "line 3", "line 4"], True)
    told = await perform("sys.journal", match="e 2", limit=3, host=made.host)
    assert ([row["message"] for row in told["entries"]], told["more"]) == (["line 2"], False)
    assert "--lines=20001" in made.uses("journalctl")[1]


async def test_odd_entries(made: Made) -> None:
    odd = [
        entry(1, [0xFF, 0x41]), entry(2, None), entry(3, ["double", "field"]), entry(4, {"x": 1}), entry(5, "x" * 9000),
        entry(6, "login --password=hunter2"), entry(7, "bug at ffff8880deadbeef", _TRANSPORT="kernel"),
        "garbage\n", "[]\n", entry(8, "odd", PRIORITY="99", _PID="x"),
    ]  # fmt: skip
    made.tool("journalctl", "".join(odd))
    told = [row["message"] for row in (await perform("sys.journal", host=made.host))["entries"]]
    assert told[:4] == ["\ufffdA", "", "double", ""]
    assert len(told[4]) == 4096
    assert told[5:] == ["login --password=[redacted]", "bug at [address]", "odd"]


async def test_no_journal(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.tool("journalctl")
    made.folder("var/log/journal")  # as packages make it; nothing is ever written there without a journal daemon
    with pytest.raises(UnavailableError, match="keeps no journal"):
        await perform("sys.journal", host=made.host)
    made.folder("run/log/journal/0123")
    assert await perform("sys.journal", host=made.host) == {"entries": [], "cursor": None, "more": False}
    made.tool("journalctl", code=1, errors="Failed to open: Permission denied\n")
    with pytest.raises(UnavailableError, match="Permission denied"):
        await perform("sys.journal", host=made.host)


async def test_lines_of_the_kernel(made: Made) -> None:
    told = await perform("sys.kernel_log", host=made.host)
    first, second = told["entries"]
    assert first == {
        "sequence": 1, "time": 1_700_000_000.0 - 100 + 1.5, "uptime": 1.5, "level": "info", "facility": 0,
        "message": "Linux version 6.1",
    }  # fmt: skip
    assert (second["level"], second["message"], told["more"]) == ("err", "at [address] it broke", False)
    few = await perform("sys.kernel_log", 1, host=made.host)
    assert ([row["sequence"] for row in few["entries"]], few["more"]) == ([2], True)


@pytest.mark.parametrize(
    "text",
    [
        "RIP: 0010:[<ffffffff81234567>]", "RBP: ffff88803ed0be58 R08: 0000000000000001", "at 0xffffffffc0100000",
        "CR2: 00007f1234567890", "page:ffffea0000fb4280 refcount:1", "FFFF88803ED0BE58",
    ],
)  # fmt: skip
async def test_addresses_of_the_kernel_are_replaced(made: Made, text: str) -> None:
    """They say where to aim."""
    made.put("dev/kmsg", f"4,1,1,-;{text}\n")
    (row,) = (await perform("sys.kernel_log", host=made.host))["entries"]
    assert "[address]" in row["message"]
    for word in ("ffff", "FFFF", "00007f"):
        assert word not in row["message"]


@pytest.mark.parametrize(
    "text",
    ["eth0: 02:fc:00:00:00:05", "usb 1-1: idVendor=046d, idProduct=c31c", "Memory: 4096K", "sda: 16777216 512-byte"],
)
async def test_what_is_no_address_stays(made: Made, text: str) -> None:
    made.put("dev/kmsg", f"6,1,1,-;{text}\n")
    assert (await perform("sys.kernel_log", host=made.host))["entries"][0]["message"] == text


async def test_hostile_lines_of_the_kernel(made: Made) -> None:
    """Anybody who may write to the log may write anything into it."""
    made.put(
        "dev/kmsg", b"garbage\n;x\n1,2;y\n\xff,1,1,-;z\n14,9,5,-;esc \\x1b[2J tab\\x09 \\x5c \\xff\n KEY=6,1,1,-;no\n"
    )
    (row,) = (await perform("sys.kernel_log", host=made.host))["entries"]
    assert (row["facility"], row["level"], row["message"]) == (1, "info", "esc \\x1b[2J tab\\x09 \\ \\xff")


async def test_kernel_log_of_this_machine() -> None:
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        with pytest.raises(UnavailableError):
            await perform("sys.kernel_log")
        return
    os.close(fd)
    told = await perform("sys.kernel_log", 5)
    assert [row["sequence"] for row in told["entries"]] == sorted(row["sequence"] for row in told["entries"])
    assert len(told["entries"]) <= 5
