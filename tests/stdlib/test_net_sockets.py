"""``net.*`` of sockets: what the kernel's tables say, ten thousand of them, and whose they are."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from made import Made, make
from running import gate, perform

from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.channel import value_body
from stdlib import rtnetlink, socket_tables, unix_sockets

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the numbers are those of a little-endian machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = (
    "{sl:4}: {local} {remote} {state} 00000002:00000003 00:00000000 00000000  {uid}        0 {inode} 1 0 100 0 0 10 0\n"
)


def line(sl: int, local: str, remote: str, state: str, uid: int = 0, inode: int = 7) -> str:
    return LINE.format(sl=sl, local=local, remote=remote, state=state, uid=uid, inode=inode)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path)
    made.put("proc/net/tcp", HEAD + line(0, "0100007F:1F90", "00000000:0000", "0A", 1001, 11)
             + line(1, "020200C0:0016", "070200C0:C350", "01", 0, 12))  # fmt: skip
    made.put("proc/net/tcp6", HEAD + line(0, f"{'0' * 32}:01BB", f"{'0' * 32}:0000", "0A", 0, 13))
    made.put("proc/net/udp", HEAD + line(0, "00000000:0035", "00000000:0000", "07", 77, 14)
             + line(1, "020200C0:1000", "070200C0:0035", "01", 0, 15))  # fmt: skip
    made.put(
        "proc/net/unix",
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "000000008324438e: 00000002 00000000 00010000 0001 01 21 /run/x y.sock\n"
        "00000000a92c97ea: 00000003 00000000 00000000 0002 03 22\n",
    )
    return made


async def test_listeners(made: Made) -> None:
    told = await perform("net.listeners", host=made.host)
    assert not told["more"]
    assert [(r["protocol"], r["family"], r["local_address"], r["local_port"]) for r in told["listeners"]] == [
        ("tcp", "ipv4", "127.0.0.1", 8080), ("tcp", "ipv6", "::", 443), ("udp", "ipv4", "0.0.0.0", 53),
    ]  # fmt: skip
    first, _, third = told["listeners"]
    assert (first["uid"], first["user"], first["inode"], first["receive_queue"]) == (1001, "mia", 11, 3)
    assert (third["uid"], third["user"]) == (77, None)
    assert len((await perform("net.listeners", "tcp", limit=1, host=made.host))["listeners"]) == 1
    (local,) = (await perform("net.listeners", "unix", host=made.host))["listeners"]
    assert local == {"protocol": "unix", "type": "stream", "path": "/run/x y.sock", "inode": 21}


async def test_sockets(made: Made) -> None:
    told = await perform("net.sockets", host=made.host)
    assert told["states"] == {"listen": 2, "established": 2, "close": 1}
    row = (await perform("net.sockets", "tcp", "established", host=made.host))["sockets"][0]
    assert row == {
        "protocol": "tcp", "family": "ipv4", "state": "established", "local_address": "192.0.2.2", "local_port": 22,
        "remote_address": "192.0.2.7", "remote_port": 50000, "send_queue": 2, "receive_queue": 3, "uid": 0,
        "inode": 12, "user": "root",
    }  # fmt: skip
    page = await perform("net.sockets", offset=1, limit=2, host=made.host)
    assert ([r["inode"] for r in page["sockets"]], page["more"]) == ([12, 13], True)
    local = (await perform("net.sockets", "unix", host=made.host))["sockets"]
    assert [(r["state"], r["path"]) for r in local] == [("listen", "/run/x y.sock"), ("connected", None)]


async def test_addresses_of_the_kernel_are_not_told(made: Made) -> None:
    told = str(await perform("net.sockets", "unix", host=made.host))
    assert "8324438e" not in told


async def test_ten_thousand_sockets(made: Made) -> None:
    """A busy proxy has that many; neither the time nor the frame may run out."""
    many = "".join(
        line(i, f"020200C0:{i % 60000:04X}", f"{i:08X}:C350", "01" if i % 2 else "06", 0, i) for i in range(10_000)
    )
    made.put("proc/net/tcp", HEAD + many)
    made.put("proc/net/tcp6", HEAD)
    before = time.process_time()
    told = await perform("net.sockets", "tcp", limit=5000, host=made.host)
    none = await perform("net.listeners", "tcp", host=made.host)
    assert time.process_time() - before < 2.0
    assert told["states"] == {"established": 5000, "time_wait": 5000}
    assert (len(told["sockets"]), told["more"]) == (5000, True)
    assert none["listeners"] == []
    reply = await gate(Tier.OBSERVE, host=made.host).call("net.sockets", [], {"limit": 3000})
    assert reply.ok, reply.error
    assert len(value_body(reply.value)) < 1 << 20


async def test_a_line_that_is_none_hides_no_other(made: Made) -> None:
    made.put("proc/net/tcp", HEAD + "garbage\n\n" + line(0, "0100007F:1F90", "00000000:0000", "0A"))
    assert len((await perform("net.listeners", "tcp", host=made.host))["listeners"]) == 2


async def test_a_host_without_tables_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="net/tcp cannot be read"):
        await perform("net.sockets", host=make(tmp_path).host)


async def test_this_process_is_found_by_its_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        found = (await perform("net.listeners", "tcp", limit=5000))["listeners"]
        (own,) = (row for row in found if row["local_port"] == port and row["local_address"] == "127.0.0.1")
        assert (own["inode"], own["uid"]) == (inode, os.getuid())
        told = await perform("net.socket_owners", inode)
        comm = Path("/proc/self/comm").read_text().strip()
        assert told["owners"] == [{"inode": inode, "pid": os.getpid(), "process": comm}]
        assert not told["more"]


async def test_owners_need_the_tier_of_contents() -> None:
    denied = await gate(Tier.OBSERVE).call("net.socket_owners", [], {})
    assert denied.error is not None
    assert denied.error.code == "denied"


async def test_owners_that_cannot_be_looked_into_are_said(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(UnavailableError):
        await perform("net.socket_owners", host=made.host)
    made.put("proc/5/comm", "proxy\n")
    for number in range(3):
        (made.folder("proc/5/fd") / str(number)).symlink_to(f"socket:[{100 + number}]")
    (made.place / "proc/5/fd/9").symlink_to("/dev/null")
    made.folder("proc/6")
    told = await perform("net.socket_owners", limit=2, host=made.host)
    assert told["owners"] == [{"inode": 100 + i, "pid": 5, "process": "proxy"} for i in range(2)]
    assert told["more"]
    told = await perform("net.socket_owners", 102, host=made.host)
    assert told == {"owners": [{"inode": 102, "pid": 5, "process": "proxy"}], "more": False, "unread": 1}


def table() -> list[dict[str, Any]]:
    return list(socket_tables.local(Path("/proc/net/unix").read_text("utf-8", "replace")))


async def test_no_name_of_a_socket_is_another_socket(tmp_path: Path) -> None:
    """Any user of the host could have a check believe that a database listens."""
    forged = "/run/mysqld/forged.sock"
    line = f"0000000000000000: 00000002 00000000 00010000 0001 01 4242 {forged}"
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(f"\0outrider-test-{os.getpid()}\n{line}")
        named.bind(str(tmp_path / "s\udcff"))
        for each in (abstract, named):
            each.listen()
        assert forged in {row["path"] for row in table()}
        for call, name in (("net.listeners", "listeners"), ("net.sockets", "sockets")):
            found = {row["path"]: row for row in (await perform(call, "unix", limit=5000))[name]}
            assert forged not in found
            assert f"@outrider-test-{os.getpid()}\n{line}" in found
            own = found[str(tmp_path / "s\udcff")]
            assert (own["type"], own["inode"], own.get("state", "listen")) == (
                "stream", os.fstat(named.fileno()).st_ino, "listen"
            )  # fmt: skip


def test_what_the_kernel_tells_is_what_its_table_has() -> None:
    told = unix_sockets.told()
    if told is None:
        pytest.skip("this kernel tells of no Unix sockets but by its table")
    one, other = socket.socketpair()
    with one, other, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alone:
        inodes = {os.fstat(each.fileno()).st_ino for each in (one, other, alone)}
        found = [
            sorted((row["inode"], row["type"], row["state"], row["path"]) for row in rows if row["inode"] in inodes)
            for rows in (unix_sockets.told() or [], table())
        ]
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_a_kernel_that_tells_nothing_is_asked_for_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without that part answers with an error; any other error is one."""
    for number, answer in ((errno.ENOENT, None), (errno.EPERM, "EPERM")):
        body = struct.pack("=IHHIIi", 20, rtnetlink.ERROR, 0, 1, 0, -number)
        monkeypatch.setattr(rtnetlink, "dump", lambda *_, body=body: [body])
        if answer is None:
            assert unix_sockets.told() is None
        else:
            with pytest.raises(UnavailableError, match=answer):
                unix_sockets.told()
