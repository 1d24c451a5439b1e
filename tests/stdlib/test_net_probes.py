"""Probes of TCP, TLS and names against servers on loopback: what is told, what is decided, what is left."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from typing import Any

import pytest
from netlab import (
    LOOPBACK,
    Authority,
    Granted,
    Names,
    host,
    message,
    no_sockets_left,
    once_connected,
    saying,
    serving,
)

from policies.targets import NetTarget
from protocol.errors import ArgumentError, DeadlineError, DeniedError, NotFoundError, UnavailableError
from stdlib.host import Host, RunContext
from stdlib.net_probes import ping, resolve, tcp_check, tls_peer, traceroute
from stdlib.network import hops, icmp, trust
from stdlib.network.dns import servers_of
from stdlib.network.reach import Endpoint, Timings


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\r\n")
    while data := await reader.read(100):
        writer.write(b"you said " + data)


# TCP -----------------------------------------------------------------------------------------------------------------


async def test_a_banner_and_an_answer() -> None:
    async with serving(echo) as port:
        with no_sockets_left():
            found = await tcp_check(
                Host(), RunContext(), Granted(), LOOPBACK, port, banner=True, send=b"hello", expect="said hello"
            )
    assert (found["ip"], found["port"], found["banner"], found["match"]) == (LOOPBACK, port, "220 ready", True)
    assert (found["tls"], found["cert"], found["tt_tls"]) == (None, None, None)
    assert 0 <= found["tt_connect"] <= found["duration"]
    assert found["tt_firstbyte"] >= 0
    assert found["tt_resolve"] >= 0


async def test_a_dry_run_sends_nothing() -> None:
    """What is sent may change something at the other end, as any request of HTTP does that is not one to read."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while data := await reader.read(100):
            heard.extend(data)

    async with serving(listen) as port:
        for _ in range(2):
            found = await tcp_check(
                Host(),
                RunContext(is_dry=True),
                Granted(),
                LOOPBACK,
                port,
                banner=True,
                send=b"SHUTDOWN\r\n",
                expect="OK",
            )
    assert (found["banner"], found["match"], bytes(heard)) == ("220 ready", None, b"")


async def test_nothing_is_waited_for_that_is_not_asked_for() -> None:
    async with serving(silent) as port:
        found = await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, timeout=60)
    assert (found["banner"], found["match"], found["tt_firstbyte"]) == (None, None, None)


async def test_what_does_not_come_is_no_match() -> None:
    async with serving(saying(b"something else")) as port:
        found = await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect="wanted")
    assert (found["banner"], found["match"]) == ("something else", False)
    async with serving(silent) as port:
        found = await once_connected(
            lambda s: tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect="wanted", timeout=s)
        )
    assert (found["banner"], found["match"]) == (None, False)


async def test_what_a_server_says_is_bounded() -> None:
    async with serving(saying(b"x" * (4 << 20))) as port:
        found = await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect="wanted", timeout=30)
    assert (len(found["banner"]), found["match"]) == (4096, False)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        port = taken.getsockname()[1]
        with no_sockets_left(), pytest.raises(UnavailableError, match=rf"^127\.0\.0\.1:{port}: Connection refused$"):
            await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port)


async def test_the_next_address_is_tried() -> None:
    async with serving(saying(b"here")) as port:
        found = await tcp_check(
            host(["127.0.0.2", LOOPBACK]),
            RunContext(),
            Granted(["web.test", "127.0.0.0/8"]),
            "web.test",
            port,
            banner=True,
        )
    assert (found["ip"], found["banner"]) == (LOOPBACK, "here")


async def test_every_address_is_decided_before_one_is_connected_to() -> None:
    """One that is denied denies the call, also if another one would have answered."""
    granted = Granted(["web.test", "127.0.0.1"])
    hits: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(1)

    async with serving(serve) as port:
        for addresses in (
            [LOOPBACK, "169.254.169.254"],
            ["169.254.169.254", LOOPBACK],
            [LOOPBACK, "::1"],
            ["fd00:ec2::254"],
        ):
            with no_sockets_left(), pytest.raises(DeniedError):
                await tcp_check(host(addresses), RunContext(), granted, "web.test", port)
    assert hits == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "100.100.100.200", "168.63.129.16",
     "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1", "224.0.0.1"],
)  # fmt: skip
async def test_a_name_is_no_way_to_what_is_guarded(address: str) -> None:
    """The decision comes before the connection: nothing is sent, and no network is needed to see it."""
    granted = Granted(["*", "web.test"])
    with no_sockets_left(), pytest.raises(DeniedError):
        await tcp_check(host([address]), RunContext(), granted, "web.test", 80)
    with pytest.raises(DeniedError):
        await tcp_check(Host(), RunContext(), granted, address, 80)


async def test_a_denied_name_is_not_looked_up() -> None:
    """A look-up is a message to whoever owns the name."""

    def getaddrinfo(*_: object) -> list[object]:
        raise AssertionError("looked up")

    with pytest.raises(DeniedError, match="secret-data"):
        await tcp_check(Host(getaddrinfo=getaddrinfo), RunContext(), Granted(["web.test"]), "secret-data.evil.test", 80)
    with pytest.raises(DeniedError, match=r"web\.test"):
        await tcp_check(Host(getaddrinfo=getaddrinfo), RunContext(), Granted(["web.test:80"]), "web.test", 81)


async def test_a_name_that_changes_its_mind_is_not_asked_again() -> None:
    """DNS rebinding: an allowed address first, loopback to whoever looks again. Nobody does."""
    connected: list[str] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer.get_extra_info("sockname")[0])
        writer.write(b"hello")

    async with serving(serve, address="127.0.0.9") as port:
        granted = Granted(["web.test", "127.0.0.9"])
        changing = host(["127.0.0.9"], [LOOPBACK])
        found = await tcp_check(changing, RunContext(), granted, "web.test", port, banner=True)
        assert (found["ip"], connected) == ("127.0.0.9", ["127.0.0.9"])
        with pytest.raises(DeniedError, match="loopback"):
            await tcp_check(changing, RunContext(), granted, "web.test", port)
    assert granted.decided == [
        f"web.test:{port}", f"web.test:{port} (127.0.0.9)", f"web.test:{port}", f"web.test:{port} (127.0.0.1)",
    ]  # fmt: skip


async def test_the_end_of_the_time_and_of_the_run_leave_nothing() -> None:
    async with serving(silent) as port:
        with no_sockets_left():
            found = await once_connected(
                lambda s: tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, banner=True, timeout=s)
            )
            assert found["banner"] is None
            task = asyncio.ensure_future(
                tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, banner=True, timeout=60)
            )
            await asyncio.wait([task], timeout=0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_handshake_that_does_not_end_ends() -> None:
    async with serving(silent) as port:
        with no_sockets_left(), pytest.raises(DeadlineError, match=r"in 0\.1 s"):
            await tls_peer(Host(), Granted(), LOOPBACK, port, timeout=0.1)


async def test_the_end_of_the_run_while_a_certificate_is_read_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    authority, begun = Authority(), asyncio.Event()

    async def reading(*_: Any) -> dict[str, Any]:
        begun.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(trust, "_read", reading)
    async with serving(silent, tls=authority.server("127.0.0.1")) as port:
        with no_sockets_left():
            task = asyncio.ensure_future(tls_peer(Host(), Granted(), LOOPBACK, port, ca=authority.pem))
            async with asyncio.timeout(60):
                await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    released = threading.Event()
    hanging = Host(getaddrinfo=lambda *_: [released.wait(60)])
    with pytest.raises(DeadlineError):
        await tcp_check(hanging, RunContext(), Granted(["web.test"]), "web.test", 80, timeout=0.05)
    released.set()


async def test_names_without_addresses() -> None:
    with pytest.raises(NotFoundError, match=r"web\.test has no such address"):
        await tcp_check(host([]), RunContext(), Granted(["web.test"]), "web.test", 80)

    def broken(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(UnavailableError, match="try again"):
        await tcp_check(Host(getaddrinfo=broken), RunContext(), Granted(["web.test"]), "web.test", 80)
    with pytest.raises(ArgumentError, match="family"):
        await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, 80, family="6")


# TLS -----------------------------------------------------------------------------------------------------------------


async def test_a_certificate_that_proves_something(authority: Authority) -> None:
    async with serving(silent, tls=authority.server("web.test", "127.0.0.1")) as port:
        with no_sockets_left():
            named = await tls_peer(
                host([LOOPBACK]), Granted(["web.test", LOOPBACK]), "web.test", port, ca=authority.pem
            )
            by_address = await tls_peer(Host(), Granted(), LOOPBACK, port, ca=authority.pem)
            other = await tls_peer(Host(), Granted(), LOOPBACK, port, ca=authority.pem, sni="web.test")
    assert (named["error"], by_address["error"], other["error"]) == (None, None, None)
    assert (named["subject"], named["issuer"]) == ("CN=web.test", "CN=test authority")
    assert named["sans"] == ["web.test", "127.0.0.1"]
    assert 29 * 86400 < named["end_in"] <= 30 * 86400
    assert named["start"] < named["end"]
    assert named["tls"] == "TLSv1.3"
    assert named["tt_tls"] > 0


@pytest.mark.parametrize(
    ("names", "more", "error"),
    [
        (("web.test",), {"days": -1}, "certificate has expired"),
        (("other.test",), {}, "Hostname mismatch"),
        (("web.test",), {"is_own": True}, "unable to get local issuer certificate|self-signed|signature failure"),
    ],
)
async def test_a_certificate_that_proves_nothing(
    authority: Authority, names: tuple[str, ...], more: dict[str, object], error: str
) -> None:
    """It is still told, with the reason; a check of an expired certificate that only fails helps nobody."""
    async with serving(echo, tls=authority.server(*names, **more)) as port:
        granted = Granted(["web.test", LOOPBACK])
        with no_sockets_left():
            found = await tls_peer(host([LOOPBACK]), granted, "web.test", port, ca=authority.pem)
            checked = await tcp_check(
                host([LOOPBACK]),
                RunContext(),
                granted,
                "web.test",
                port,
                tls=True,
                banner=True,
                send=b"secret",
                ca=authority.pem,
            )
    assert re.search(error, found["error"])
    assert (found["subject"], found["sans"], found["tls"], found["ip"]) == (
        f"CN={names[0]}",
        list(names),
        None,
        LOOPBACK,
    )
    assert (found["end_in"] < 0) == ("days" in more)
    assert re.search(error, checked["cert"]["error"])
    assert (checked["banner"], checked["tls"], checked["tt_firstbyte"]) == (None, None, None)


async def test_nothing_is_said_to_who_proves_nothing(authority: Authority) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async with serving(listen, tls=authority.server("other.test")) as port:
        await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, tls=True, send=b"secret", ca=authority.pem)
    assert b"secret" not in b"".join(heard)


async def test_the_systems_authorities_do_not_know_ours(authority: Authority) -> None:
    async with serving(silent, tls=authority.server("127.0.0.1")) as port:
        found = await tls_peer(Host(), Granted(), LOOPBACK, port)
    assert found["error"]


async def test_a_conversation_over_tls(authority: Authority) -> None:
    async with serving(echo, tls=authority.server("127.0.0.1")) as port:
        found = await tcp_check(
            Host(),
            RunContext(),
            Granted(),
            LOOPBACK,
            port,
            tls=True,
            banner=True,
            send=b"hello",
            expect="said hello",
            ca=authority.pem,
        )
    assert (found["banner"], found["match"], found["tls"], found["cert"]["error"]) == (
        "220 ready",
        True,
        "TLSv1.3",
        None,
    )


async def test_what_is_no_tls_and_no_authority(authority: Authority) -> None:
    async with serving(saying(b"SSH-2.0-x\r\n")) as port:
        with no_sockets_left(), pytest.raises(UnavailableError, match="no TLS"):
            await tls_peer(Host(), Granted(), LOOPBACK, port, ca=authority.pem)
    async with serving(saying(b"")) as port:
        with no_sockets_left(), pytest.raises(UnavailableError):
            await tls_peer(Host(), Granted(), LOOPBACK, port, ca=authority.pem)
    for ca in ("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ArgumentError, match=r"^ca: "):
            await tls_peer(Host(), Granted(), LOOPBACK, port, ca=ca)


# names ---------------------------------------------------------------------------------------------------------------

A, AAAA, MX, TXT = 1, 28, 15, 16


async def test_the_systems_resolver() -> None:
    found = await resolve(host(["192.0.2.1", "2001:db8::1"]), Granted(["web.test"]), "web.test")
    assert [(r["type"], r["value"], r["ttl"]) for r in found["records"]] == [
        ("A", "192.0.2.1", None),
        ("AAAA", "2001:db8::1", None),
    ]
    assert found["server"] is None
    assert found["ms"] >= 0
    only = await resolve(host(["192.0.2.1", "2001:db8::1"]), Granted(["web.test"]), "web.test", type="AAAA")
    assert [r["value"] for r in only["records"]] == ["2001:db8::1"]


async def test_a_name_server() -> None:
    def said(asked: bytes) -> bytes:
        kind = asked[asked.index(b"\0", 12) + 2]
        return message(
            asked, {A: (A, b"\xc0\0\2\1"), MX: (MX, b"\0\x0a\4mail\xc0\x0c"), TXT: (TXT, b'\3a"b\1\xff')}[kind]
        )

    async with Names(said).running() as names:
        for kind, value in (("A", "192.0.2.1"), ("MX", "10 mail.web.test"), ("TXT", '"a\\"b" "\\255"')):
            found = await resolve(Host(), Granted(["web.test", LOOPBACK]), "web.test", kind, LOOPBACK, names.port)
            assert found["records"] == [{"name": "web.test", "type": kind, "ttl": 300, "value": value}]
            assert found["server"] == LOOPBACK


async def test_name_and_server_are_decided() -> None:
    async with Names(message).running() as names:
        with pytest.raises(DeniedError):
            await resolve(Host(), Granted(["web.test"]), "web.test", "A", LOOPBACK, names.port)
        with pytest.raises(DeniedError):
            await resolve(host(["169.254.169.254"]), Granted(["*"]), "web.test", "A", "names.test", names.port)
        assert names.asked == []


async def test_the_hosts_own_name_servers(tmp_path: object) -> None:
    path = f"{tmp_path}/resolv.conf"
    with open(path, "w") as file:
        file.write("# comment\nsearch test\nnameserver x\nnameserver 127.0.0.1\noptions edns0\n")
    assert [server.target.address for server in servers_of(Host(resolver=path))] == [LOOPBACK]
    for broken in (f"{tmp_path}/none", "/dev/null"):
        with pytest.raises(UnavailableError):
            servers_of(Host(resolver=broken))


@pytest.mark.parametrize(("code", "error"), [(3, NotFoundError), (2, UnavailableError), (5, UnavailableError)])
async def test_what_a_name_server_refuses(code: int, error: type[Exception]) -> None:
    async with Names(lambda asked: message(asked, code=code)).running() as names:
        with no_sockets_left(), pytest.raises(error, match=r"web\.test"):
            await resolve(Host(), Granted(["web.test", LOOPBACK]), "web.test", "A", LOOPBACK, names.port)


async def test_guesses_of_others_are_no_answers() -> None:
    """Somebody who does not see the question cannot answer it, and does not keep the real answer away."""
    wrong = [
        lambda asked: None, lambda asked: b"", lambda asked: asked,
        lambda asked: bytes([asked[0] ^ 1]) + message(asked)[1:],
        lambda asked: message(asked).replace(b"web", b"wep"), lambda asked: message(asked)[:20],
        lambda asked: message(asked, (A, b"\1\2\3")), lambda asked: message(asked, (A, b"\1\2\3\4"), name=b"\xc0\xff"),
    ]  # fmt: skip
    for said in wrong:
        async with Names(said).running() as names:
            with pytest.raises(DeadlineError):
                await resolve(
                    Host(), Granted(["web.test", LOOPBACK]), "web.test", "A", LOOPBACK, names.port, timeout=0.1
                )


async def test_what_does_not_fit_comes_by_tcp() -> None:
    many = [(A, bytes([192, 0, 2, n])) for n in range(200)]
    names = Names(lambda asked: message(asked, flags=0x8380), lambda asked: message(asked, *many))
    async with names.running():
        found = await resolve(Host(), Granted(["web.test", LOOPBACK]), "web.test", "A", LOOPBACK, names.port)
    assert len(found["records"]) == 200


async def test_addresses_have_pointers_only() -> None:
    async with Names(lambda asked: message(asked, (12, b"\3web\4test\0"))).running() as names:
        granted = Granted(["192.0.2.1", LOOPBACK])
        found = await resolve(Host(), granted, "192.0.2.1", "PTR", LOOPBACK, names.port)
        assert found["records"][0]["value"] == "web.test"
        assert b"\x011\x012\x010\x03192\7in-addr\4arpa\0" in names.asked[0]
        with pytest.raises(ArgumentError, match="type: "):
            await resolve(Host(), granted, "192.0.2.1", "MX", LOOPBACK, names.port)


# echo requests and the way -------------------------------------------------------------------------------------------


def _may_ping() -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except OSError:
            continue
        return True
    return False


async def test_ping_or_why_not() -> None:
    if not _may_ping():
        with no_sockets_left(), pytest.raises(UnavailableError, match="ping_group_range"):
            await ping(Host(), Granted(), LOOPBACK, count=3, interval=0.01)
        return
    with no_sockets_left():
        found = await ping(Host(), Granted(), LOOPBACK, count=3, interval=0.01)
    assert (found["sent"], found["received"], found["available"], found["ip"]) == (3, 3, 100.0, LOOPBACK)
    assert 0 < found["min"] <= found["avg"] <= found["max"]
    assert found["method"] in ("datagram", "raw")


async def test_ping_of_ipv6() -> None:
    if not _may_ping():
        pytest.skip("this host lets nobody send echo requests")
    found = await ping(Host(), Granted(), "::1", count=2, interval=0.01)
    assert (found["sent"], found["received"], found["ip"]) == (2, 2, "::1")


async def test_ping_of_nobody_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that nobody answers stands for a host that is off."""
    for timeout_s in (0.1, 1.0, 10.0):  # more where both were not sent by then, as on a machine that stood still
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs:
            monkeypatch.setattr(icmp, "_open", lambda _endpoint, ours=ours: (_Deaf(ours), "raw"))
            found = await ping(Host(), Granted(), LOOPBACK, count=2, interval=0.01, timeout=timeout_s)
        if found["sent"] == 2:
            break
    assert (found["sent"], found["received"], found["available"], found["min"]) == (2, 0, 0.0, None)


class _Deaf(socket.socket):
    def __init__(self, real: socket.socket) -> None:
        super().__init__(fileno=real.detach())

    def connect(self, address: object) -> None:
        """It is connected."""


def test_replies_of_others_do_not_count() -> None:
    endpoint = Endpoint(NetTarget.of(LOOPBACK), socket.AF_INET, (LOOPBACK, 0))
    exchange = icmp._Exchange(None, endpoint, icmp.Echoes("raw"), Timings(lambda: 0.0))
    exchange._sent_at[1] = 0.0
    request = exchange._request(1)
    assert icmp.checksum(request) == 0
    reply = b"\x45" + bytes(19) + b"\0" + request[1:]
    assert exchange._sequence(reply) == 1
    for wrong in (b"", reply[:22], b"\x45" + bytes(19) + request, reply[:-1] + b"x", reply[:26] + b"\0\2" + reply[28:]):
        assert exchange._sequence(wrong) is None


async def test_checksum_of_the_rfc() -> None:
    assert icmp.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 section 3


async def test_the_way_to_oneself_is_one_hop() -> None:
    with no_sockets_left():
        found = await traceroute(Host(), Granted(), LOOPBACK, max=3)
    assert (found["reached"], len(found["hops"])) == (True, 1)
    assert (found["hops"][0]["ttl"], found["hops"][0]["address"]) == (1, LOOPBACK)
    assert found["hops"][0]["ms"] > 0
    six = await traceroute(Host(), Granted(), "::1", max=3)
    assert (six["reached"], six["hops"][0]["address"]) == (True, "::1")


def test_what_routers_say() -> None:
    def said(origin: int, kind: int, address: bytes) -> bytes:
        return (113).to_bytes(4, "little") + bytes([origin, kind, 0, 0]) + bytes(8) + address

    four = b"\2\0\0\0\xc0\0\2\1" + bytes(8)
    six = b"\x0a\0\0\0\0\0\0\0" + bytes.fromhex("20010db8000000000000000000000001") + bytes(4)
    assert hops._read(said(2, 11, four)) == ("192.0.2.1", False)
    assert hops._read(said(2, 3, four)) == ("192.0.2.1", True)
    assert hops._read(said(3, 3, six)) == ("2001:db8::1", False)
    assert hops._read(said(3, 1, six)) == ("2001:db8::1", True)
    assert hops._read(said(1, 0, four)) == (None, True)
    assert hops._read(b"short") == (None, True)


async def test_a_way_that_is_given_up_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread must not go on for a minute for a run that has ended."""
    monkeypatch.setattr(hops, "HOP_WAIT_S", 30.0)
    monkeypatch.setattr(hops, "FIRST_PORT", 0)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.bind((LOOPBACK, 0))
        monkeypatch.setattr(hops, "FIRST_PORT", listener.getsockname()[1] - 1)
        with pytest.raises(DeadlineError):
            await traceroute(Host(), Granted(), LOOPBACK, max=1, timeout=0.1)


async def test_probes_of_echo_and_way_are_decided() -> None:
    for probe in (ping, traceroute):
        for granted in (Granted(["*"]), Granted(["127.0.0.1:80"])):
            with no_sockets_left(), pytest.raises(DeniedError):
                await probe(Host(), granted, LOOPBACK)


async def test_what_is_expected_is_a_pattern_and_searching_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear time for each search, and a bound on all of them: a peer may say one byte at a time."""
    async with serving(saying(b"220 mail.test ESMTP\r\n")) as port:
        assert (await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect=r"^220 \S+ ESMTP"))[
            "match"
        ] is True
        assert (await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect=r"^554 "))["match"] is False
        with pytest.raises(ArgumentError, match="expect: "):
            await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect="(")
        monkeypatch.setattr("stdlib.net_probes.MAX_SEARCHED_BYTES", 5)
        assert (await tcp_check(Host(), RunContext(), Granted(), LOOPBACK, port, expect="220"))["match"] is False
