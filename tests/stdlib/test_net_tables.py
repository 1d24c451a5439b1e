"""``net.*`` of interfaces, routes and neighbours on this machine and on a tree that says exactly what is expected."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from pathlib import Path

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, names_in_text
from made import make
from running import perform

from protocol.errors import NotFoundError, UnavailableError
from stdlib import rtnetlink
from stdlib.host import Host

INTERFACE: Fields = {
    "name": str, "type": str, "address": TEXT_OR_NOTHING, "netmask": TEXT_OR_NOTHING, "broadcast": TEXT_OR_NOTHING,
    "address6": TEXT_OR_NOTHING, "mac": TEXT_OR_NOTHING, "mtu": int, "flags": list, "link_state": str, "internal": bool,
}  # fmt: skip
BOTH_WAYS = ("bytes", "packets", "errors", "dropped", "overruns")
COUNTERS = {f"{way}_{what}" for way in ("rx", "tx") for what in BOTH_WAYS} | {
    "rx_frame", "tx_carrier", "tx_collisions", "link_state",
}  # fmt: skip
HEADER = "Inter-|   Receive\n face |bytes\n"


async def test_interfaces() -> None:
    found = await perform("net.interfaces")
    for row in found:
        check_fields(row, INTERFACE)
        assert row["link_state"] in ("up", "down")
        assert all(type(flag) is str for flag in row["flags"])
    assert names_in_text("net.interfaces") == set(INTERFACE)
    loopback = next(row for row in found if row["name"] == "lo")
    assert loopback["internal"]
    assert loopback["type"] == "loopback"
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


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t1\t2\t0\t00FFFFFF\t1400\t7\t9
"""
ROUTES6 = (
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 "
    "00000400 00000003 00000005 00000003     eth0\n"
    "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 "
    "00000100 00000002 00000000 00000001     eth0\n"
)


@pytest.mark.skipif(sys.byteorder != "little", reason="the numbers below are those of a little-endian machine")
async def test_routes_of_both_families(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.put("proc/net/route", ROUTES)
    made.put("proc/net/ipv6_route", ROUTES6)
    told = await perform("net.routes", host=made.host)
    assert not told["more"]
    default, local, default6, local6 = told["routes"]
    assert default == {
        "family": "ipv4", "destination": "0.0.0.0/0", "gateway": "192.0.2.1", "netmask": "0.0.0.0",
        "interface": "eth0", "flags": "UG", "metric": 100, "references": 0, "used": 0, "mss": 0, "window": 0, "irtt": 0,
    }  # fmt: skip
    assert (local["destination"], local["gateway"], local["netmask"]) == ("192.0.2.0/24", None, "255.255.255.0")
    assert [local[name] for name in ("references", "used", "mss", "window", "irtt")] == [1, 2, 1400, 7, 9]
    assert (default6["destination"], default6["gateway"], default6["metric"]) == ("::/0", "fd00::1", 1024)
    assert (default6["flags"], default6["used"]) == ("UG", 5)
    assert (local6["destination"], local6["gateway"], local6["flags"]) == ("fe80::/64", None, "U")
    four = await perform("net.routes", "ipv4", limit=1, host=made.host)
    assert (len(four["routes"]), four["more"]) == (1, True)


async def test_a_host_without_ipv6_has_the_other_routes(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.put("proc/net/route", ROUTES)
    assert len((await perform("net.routes", host=made.host))["routes"]) == 2
    with pytest.raises(UnavailableError):
        await perform("net.routes", "ipv6", host=made.host)


async def test_routes_of_this_machine() -> None:
    told = await perform("net.routes")
    for row in told["routes"]:
        assert row["family"] in ("ipv4", "ipv6")
        ipaddress.ip_network(row["destination"], strict=False)


def neighbour(family: int, state: int, flags: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BxxxiHBB", family, 2, state, flags, 1)
    for kind, value in attributes:
        body += struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", len(body) + 16, 28, 2, 1, 0) + body


def test_neighbours_are_read_and_what_is_cut_short_is_left_out() -> None:
    four = neighbour(socket.AF_INET, 0x02, 0, (1, bytes([192, 0, 2, 1])), (2, bytes.fromhex("02fc00000005")))
    six = neighbour(socket.AF_INET6, 0x20, 0x80, (1, bytes(15) + b"\1"))
    bridge = neighbour(7, 0x80, 0, (2, bytes(6)))
    short = neighbour(socket.AF_INET, 0x02, 0, (1, b"abc"))
    done = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)
    found = list(rtnetlink.neighbours([four + bridge + short, six + done, four[:-3], b"", b"\0" * 30]))
    assert found == [
        ("ipv4", "192.0.2.1", "02:fc:00:00:00:05", 2, "reachable", False), ("ipv6", "::1", None, 2, "failed", True),
    ]  # fmt: skip


async def test_neighbours_of_this_machine() -> None:
    before = {row["name"] for row in await perform("net.interfaces")}
    told = await perform("net.neighbours")
    names = before | {row["name"] for row in await perform("net.interfaces")}  # they come and go
    for row in told["neighbours"]:
        ipaddress.ip_address(row["address"])
        assert row["interface"] in names
    more = (await perform("net.neighbours", 1))["more"]
    again = await perform("net.neighbours")
    assert more in {len(each["neighbours"]) > 1 for each in (told, again)}
