"""``net.*`` on this machine and on a tree that says exactly what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, family, names_in_text
from running import perform

from protocol.errors import NotFoundError, UnavailableError
from stdlib.catalogue import load
from stdlib.host import Host

INTERFACE: Fields = {
    "name": str, "address": TEXT_OR_NOTHING, "netmask": TEXT_OR_NOTHING, "broadcast": TEXT_OR_NOTHING,
    "address6": TEXT_OR_NOTHING, "mac": TEXT_OR_NOTHING, "mtu": int, "flags": list, "link_state": str, "internal": bool,
}  # fmt: skip
BOTH_WAYS = ("bytes", "packets", "errors", "dropped", "overruns")
COUNTERS = {f"{way}_{what}" for way in ("rx", "tx") for what in BOTH_WAYS} | {
    "rx_frame", "tx_carrier", "tx_collisions", "link_state",
}  # fmt: skip
HEADER = "Inter-|   Receive\n face |bytes\n"


def test_every_call_is_held_here() -> None:
    reaching = {"net.unix"} | {spec.name for spec in load() if spec.has_target}  # those have tests of their own
    assert family("net") - reaching == {"net.interfaces", "net.counters"}


async def test_interfaces() -> None:
    found = await perform("net.interfaces")
    for row in found:
        check_fields(row, INTERFACE)
        assert row["link_state"] in ("up", "down")
        assert all(type(flag) is str for flag in row["flags"])
    assert names_in_text("net.interfaces") == set(INTERFACE)
    loopback = next(row for row in found if row["name"] == "lo")
    assert loopback["internal"]
    assert sorted(row["name"] for row in found) == [row["name"] for row in found]


async def test_counters() -> None:
    value = await perform("net.counters", "lo")
    assert set(value) >= COUNTERS
    assert value.pop("link_state") in ("up", "down", "unknown")
    assert {type(count) for count in value.values()} == {int}
    assert value["rx_bytes"] == value["tx_bytes"], "what loopback sends, it receives"


async def test_counters_stand_in_their_columns(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    numbers = " ".join(map(str, range(1, 17)))
    (tmp_path / "net/dev").write_text(f"{HEADER}  tst0:{numbers}\n tst: {' '.join(['0'] * 16)}\n")
    value = await perform("net.counters", "tst0", host=Host(proc=str(tmp_path)))
    assert [value[f"rx_{what}"] for what in BOTH_WAYS] == [1, 2, 3, 4, 5]
    assert [value[f"tx_{what}"] for what in BOTH_WAYS] == [9, 10, 11, 12, 13]
    assert (value["rx_frame"], value["tx_collisions"], value["tx_carrier"]) == (6, 14, 15)
    assert value["link_state"] == "unknown", "the kernel has no interface of that name"


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for name in ("no-such", "", "l", "lo:"):
        with pytest.raises(NotFoundError, match="no interface"):
            await perform("net.counters", name)
    with pytest.raises(UnavailableError):
        await perform("net.counters", "lo", host=Host(proc=str(tmp_path)))


async def test_a_name_that_is_not_utf8_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    zeros = b" ".join([b"0"] * 16)
    (tmp_path / "net/dev").write_bytes(HEADER.encode() + b" bad\xff: " + zeros + b"\n lo: " + zeros + b"\n")
    assert (await perform("net.counters", "lo", host=Host(proc=str(tmp_path))))["rx_bytes"] == 0
