"""``net.mysql_status`` and ``net.pg_status`` against real servers, MySQL 8's proof, and peers that lie."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import MARIADB, PASSWORD, POSTGRES, Server, Sha2Server, mariadb, packet, postgres, table
from netlab import LOOPBACK, Authority, Granted, host, no_sockets_left, saying, serving

from policies.targets import NetTarget
from protocol.errors import ArgumentError, DeadlineError, DeniedError, OutriderError, UnavailableError
from stdlib.handles import Private
from stdlib.host import Host
from stdlib.net_databases import mysql_status, pg_status
from stdlib.network.connection import Connection
from stdlib.network.database_readings import STATUS, VARIABLES, number
from stdlib.network.passwords import Scram
from stdlib.network.peers import user_of
from stdlib.network.postgres import Login, Postgres
from stdlib.network.reach import Timings, endpoints

needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="postgresql is not installed")
needs_mariadb = pytest.mark.skipif(MARIADB is None, reason="mariadb-server is not installed")
SYSTEM, GRANTED = host((LOOPBACK,)), ("db.test", LOOPBACK)


def private(value: str) -> Private:
    return Private(lambda: value.encode())


async def ask(call: Any, port: int, user: str, password: str | None = PASSWORD, **more: Any) -> dict[str, Any]:
    given = {"tls": "never"} | more
    name = given.pop("host", "db.test")
    with no_sockets_left():
        found: dict[str, Any] = await call(
            SYSTEM, Granted(GRANTED), name, user, None if password is None else private(password), port, **given
        )
    return found


# PostgreSQL ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pg() -> Iterator[Server]:
    with postgres() as made:
        yield made


@needs_postgres
@pytest.mark.parametrize("user", ["scram", "digest", "nobody"])
async def test_postgres_says_what_it_is_to_every_proof(pg: Server, user: str) -> None:
    for tls in ("never", "prefer", "require"):
        found = await ask(pg_status, pg.port, user, tls=tls, ca=pg.authority.pem)
        assert int(found["version"].split(".")[0]) >= 13
        assert (found["in_recovery"], found["behind"], found["max_connections"]) == (False, None, 100)
        assert found["uptime"] > 0
        assert found["size"] is None, "the test took that right away from everybody"
        assert found["connections"]["total"] >= 0
        assert found["databases"]["count"] >= 3
        assert found["databases"]["commits"] > 0
        assert found["replication"] == {"replicas": 0, "replay_lag": None, "replay_lag_bytes": None}


@needs_postgres
async def test_postgres_without_rights_says_less_and_nobody_can_write(pg: Server) -> None:
    found = await ask(pg_status, pg.port, "little", None)
    assert found["version"]
    found_at = await endpoints(Host(), Granted(), NetTarget.of(LOOPBACK, pg.port))
    connection = await Connection.open(found_at, Timings(asyncio.get_running_loop().time), 5.0)
    async with connection:
        server = Postgres(connection, is_proven=False)
        await server.login(Login("nobody", b"", "postgres", 5000))
        with pytest.raises(UnavailableError, match="read-only transaction"):
            await server.ask("CREATE TABLE t (a int)")
        assert await server.ask("SELECT 1") == [["1"]], "the answer to the next question is its own"
        with pytest.raises(UnavailableError, match="more than 1000 rows"):
            await server.ask("SELECT generate_series(1, 1001)")


@needs_postgres
async def test_postgres_refuses_and_is_refused(pg: Server) -> None:
    wrong: list[tuple[str, str | None, dict[str, Any], type[OutriderError], str]] = [
        ("scram", "wrong", {}, DeniedError, "password authentication failed"),
        ("digest", "wrong", {}, DeniedError, "password authentication failed"),
        ("stranger", PASSWORD, {}, DeniedError, "no pg_hba.conf entry"),
        ("tlsonly", PASSWORD, {}, DeniedError, "no pg_hba.conf entry"),
        ("clear", PASSWORD, {}, UnavailableError, "wants the password in clear, without TLS"),
        ("scram", PASSWORD, {"tls": "prefer"}, UnavailableError, "cannot prove who it is"),
        ("scram", PASSWORD, {"tls": "prefer", "ca": Authority().pem}, UnavailableError, "cannot prove who it is"),
        ("scram", PASSWORD, {"tls": "prefer", "host": LOOPBACK, "ca": pg.authority.pem}, UnavailableError, "cannot"),
        ("scram", "a\0b", {}, ArgumentError, "holds a NUL"),
        ("scram", PASSWORD, {"database": "nothing"}, UnavailableError, 'database "nothing" does not exist'),
    ]  # fmt: skip
    for user, password, more, kind, told in wrong:
        with pytest.raises(kind, match=told):
            await ask(pg_status, pg.port, user, password, **more)
    found = await ask(pg_status, pg.port, "clear", tls="require", ca=pg.authority.pem)
    assert found["version"], "over TLS to a server that has proved itself the password may go in clear"
    assert (await ask(pg_status, pg.port, "tlsonly", tls="prefer", ca=pg.authority.pem))["version"]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


SCRAM = message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed in the middle"), (b"HTTP/1.1 400 Bad\r\n", "no PostgreSQL|more than is read"),
        (message(b"R", struct.pack("!i", 7)), r"unknown kind \(7\)"), (b"R\xff\xff\xff\xff", "no PostgreSQL|more than"),
        (b"R\x7f\xff\xff\xff", "more than is read here"), (b"R\0\0\0\3", "no PostgreSQL"),
        (message(b"R", struct.pack("!i", 11) + b"r=x"), "unknown kind"),
        (SCRAM + message(b"R", struct.pack("!i", 11) + b"r=x,s=AAAA,i=4096"), "does not speak SCRAM"),
        (SCRAM + message(b"R", struct.pack("!i", 0)), "ends SCRAM without its own proof"),
        (SCRAM + message(b"R", struct.pack("!i", 12) + b"v=AAAA"), "did not prove that it knows"),
        (message(b"E", b"SFATAL\0C53300\0Mtoo many\0\0"), "too many"),
    ],
)  # fmt: skip
async def test_what_lies_about_being_postgres(said: bytes, told: str) -> None:
    async with serving(saying(said)) as port:
        with pytest.raises(UnavailableError, match=told):
            await ask(pg_status, port, "u", "p")


async def test_bytes_before_tls_are_nobodys() -> None:
    """What somebody in between puts before TLS begins must not count as said over it (CVE-2021-23222)."""
    async with serving(saying(b"S" + message(b"R", bytes(4)))) as port:
        with pytest.raises(UnavailableError, match="no PostgreSQL"):
            await ask(pg_status, port, "u", "p", tls="require")
    async with serving(saying(b"N")) as port:
        with pytest.raises(UnavailableError, match="offers no TLS"):
            await ask(pg_status, port, "u", "p", tls="require")


async def test_what_a_server_wants_computed_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may ask for half a second of work each time, in which the event loop must turn on."""
    final, threads = Scram.final, set()

    def noted(self: Scram, challenge: bytes) -> bytes:
        threads.add(threading.get_ident())
        return final(self, challenge)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(SCRAM)
        first = await reader.read(1000)
        nonce = first[first.index(b"r=") + 2 :]
        writer.write(message(b"R", struct.pack("!i", 11) + b"r=" + nonce + b"x,s=AAAA,i=4096"))
        await reader.read(1000)

    monkeypatch.setattr(Scram, "final", noted)
    async with serving(serve) as port:
        with pytest.raises(UnavailableError):
            await ask(pg_status, port, "u", "p")
    assert threads
    assert threading.get_ident() not in threads


async def test_a_server_that_asks_for_endless_work_is_refused() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(SCRAM)
        first = await reader.read(1000)
        nonce = first[first.index(b"r=") + 2 :]
        writer.write(message(b"R", struct.pack("!i", 11) + b"r=" + nonce + b"x,s=AAAA,i=100000000"))
        await reader.read(1000)

    async with serving(serve) as port:
        with pytest.raises(UnavailableError, match="asks for 100000000 iterations"):
            await ask(pg_status, port, "u", "p")


async def test_silence_ends_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(serve) as port:
        for call in (pg_status, mysql_status):
            with pytest.raises(DeadlineError):
                await ask(call, port, "u", timeout=0.2)


async def test_where_is_decided() -> None:
    for call in (pg_status, mysql_status):
        with pytest.raises(DeniedError):
            await call(SYSTEM, Granted(("db.test",)), "db.test", "u", None, 5432)


# MySQL and MariaDB ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maria() -> Iterator[Server]:
    with mariadb() as made:
        yield made


@needs_mariadb
async def test_mariadb_says_what_it_is(maria: Server) -> None:
    for user, password in (("monitor", PASSWORD), ("nopass", None), ("nopass", "")):
        for tls in ("never", "prefer", "require"):
            found = await ask(mysql_status, maria.port, user, password, tls=tls, ca=maria.authority.pem)
            assert "MariaDB" in found["version"]
            assert found["replication"] is None, "this user may not see it"
    assert set(found) == {
        "version", "replication", "core", "threads", "thread", "key", "max", "bytes", "innodb", "qcache", "handler",
    }  # fmt: skip
    assert found["max"]["connections"] == 151
    assert found["core"]["uptime"] >= 0
    assert found["threads"]["connected"] >= 1
    assert found["innodb"]["buffer_pool_size"] >= 1 << 20
    assert found["innodb"]["buffer_pool_pages_total"] > 0
    assert found["handler"]["read_first"] >= 0
    assert found["bytes"]["sent"] > 0


@needs_mariadb
async def test_a_replica_says_how_it_stands(maria: Server) -> None:
    found = (await ask(mysql_status, maria.port, "replica"))["replication"]
    assert (found["slave_io_running"], found["slave_sql_running"], found["slave_running"]) == ("No", "No", "OFF")
    assert (found["last_errno"], found["relay_log_size"] >= 0, found["seconds_behind_master"]) == (0, True, None)


@needs_mariadb
async def test_mariadb_refuses_and_is_refused(maria: Server) -> None:
    wrong: list[tuple[str, str | None, dict[str, Any], type[OutriderError], str]] = [
        ("monitor", "wrong", {}, DeniedError, "Access denied"),
        ("stranger", PASSWORD, {}, DeniedError, "Access denied"),
        ("ssl_only", None, {}, DeniedError, "Access denied"),
        ("monitor", PASSWORD, {"tls": "prefer"}, UnavailableError, "cannot prove who it is"),
        ("monitor", PASSWORD, {"tls": "require", "ca": Authority().pem}, UnavailableError, "cannot prove who it is"),
    ]  # fmt: skip
    for user, password, more, kind, told in wrong:
        with pytest.raises(kind, match=told):
            await ask(mysql_status, maria.port, user, password, **more)
    assert (await ask(mysql_status, maria.port, "ssl_only", None, tls="prefer", ca=maria.authority.pem))["version"]


ANSWERS = {
    STATUS.encode(): table(["Variable_name", "Value"], [["Uptime", "77"], ["Threads_running", "3"]]),
    VARIABLES.encode(): table(["Variable_name", "Value"], [["max_connections", "151"]]),
    b"SHOW REPLICA STATUS": table(
        ["Replica_IO_Running", "Seconds_Behind_Source", "Last_Error"], [["Yes", "4", "x" * 200]]
    ),
}


@pytest.mark.parametrize("switch_from", ["caching_sha2_password", "mysql_native_password", "sha256_password"])
@pytest.mark.parametrize("is_cached", [True, False])
async def test_the_proof_of_mysql_8(is_cached: bool, switch_from: str) -> None:
    """On this host the whole password is encrypted to the server's key; over proven TLS it goes as it is."""
    authority = Authority()
    for tls in ("never", "require"):
        server = Sha2Server(
            PASSWORD.encode(), is_cached=is_cached, answers=ANSWERS, tls=authority.server("db.test"),
            switch_from=switch_from,
        )  # fmt: skip
        with server.running() as port:
            found = await ask(mysql_status, port, "monitor", tls=tls, ca=authority.pem)
            assert (found["version"], found["core"]["uptime"], found["max"]["connections"]) == ("8.0.36", 77, 151)
            assert found["qcache"]["hits"] is None, "what a version does not say is nothing"
            assert found["replication"]["slave_io_running"] == "Yes"
            assert found["replication"]["seconds_behind_master"] == 4
            with pytest.raises(DeniedError, match="Access denied"):
                await ask(mysql_status, port, "monitor", "wrong", tls=tls, ca=authority.pem)
        assert server.heard == ([] if is_cached else [b"\2"] * 2 if tls == "never" else [
            PASSWORD.encode() + b"\0", b"wrong\0"
        ])  # fmt: skip


async def test_a_password_is_encrypted_only_to_this_very_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stands between could send a key of their own; so over a network it takes TLS."""

    async def elsewhere(*_: Any) -> bool:
        return False

    monkeypatch.setattr("stdlib.net_databases._is_of_this_host", elsewhere)
    server = Sha2Server(PASSWORD.encode(), is_cached=False)
    told = "only goes over TLS to a server that proves"
    with server.running() as port, pytest.raises(UnavailableError, match=told):
        await ask(mysql_status, port, "monitor")
    assert server.heard == []


class OfSomebody(Sha2Server):
    """What another user of the host listens with, on a port that a database has mostly."""

    uid = 65534

    def _accept(self, listener: socket.socket) -> None:
        ctypes.CDLL(None).setfsuid(self.uid)  # of this thread alone: as whom its sockets are made
        super()._accept(listener)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is somebody else")
async def test_a_password_is_encrypted_to_no_other_user_of_this_host(tmp_path: Path) -> None:
    """While the database is away anybody may listen on its port, and send a key of their own."""
    server = OfSomebody(PASSWORD.encode(), is_cached=False, answers=ANSWERS)
    told = "or to one on this host that runs as root or as a database's user"
    with server.running() as port, pytest.raises(UnavailableError, match=told):
        await ask(mysql_status, port, "monitor")
    assert server.heard == []
    (tmp_path / "passwd").write_text(f"mysql:x:{OfSomebody.uid}:1::/nowhere:/bin/false\n")
    with server.running() as port:
        system = replace(SYSTEM, etc=str(tmp_path))
        found = await mysql_status(system, Granted(GRANTED), "db.test", "monitor", private(PASSWORD), port, "never")
    assert (found["version"], server.heard) == ("8.0.36", [b"\2"])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::"])
async def test_whose_the_other_end_is(address: str) -> None:
    """The kernel tells, of either family, and of a listener for both; of nobody's it tells nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, dualstack_ipv6=address == "::") as listener:
        target = LOOPBACK if address == "::" else address
        found_at = await endpoints(Host(), Granted(), NetTarget.of(target, listener.getsockname()[1]))
        async with await Connection.open(found_at, Timings(asyncio.get_running_loop().time), 5.0) as connection:
            assert await user_of(Host(), connection) is None, "nobody has taken it yet"
            accepted, _ = listener.accept()
            with accepted:
                assert await user_of(Host(), connection) == os.getuid()


GREETING = b"\x0a8.0.36\0" + bytes(4) + b"12345678\0" + struct.pack("<HBHHB", 0x8201, 45, 2, 0x8, 21) + bytes(10)
GOOD = packet(0, GREETING + b"123456789012\0mysql_native_password\0")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed in the middle"), (packet(0, b"\x09old\0"), "no MySQL"), (packet(0, b"\x0a"), "no MySQL"),
        (b"\xff\xff\xff\0", "no MySQL"), (b"\xfe\xff\xff\0", "says more than is read|closed"),
        (packet(0, b"\xff\x10\x04Too many connections"), "Too many connections"),
        (GOOD + packet(2, b"\xfedialog\0" + bytes(21)), "wants a proof of the kind dialog"),
        (GOOD + packet(2, b"\xfemysql_old_password\0"), "wants a proof of the kind"),
        (GOOD + packet(2, b"\xfemysql_clear_password\0" + bytes(21)), "wants a proof of the kind mysql_clear_password"),
        (GOOD + packet(2, b"\1\4") * 9, "does not come to an end"),
        (GOOD + packet(2, b"\0\0\0\2\0\0\0") + packet(1, b"\0\0\0"), "without rows"),
        (GOOD + packet(2, b"\0\0\0\2\0\0\0") + packet(1, b"\xfb/etc/passwd"), "without rows"),
        (GOOD + packet(2, b"\0\0\0\2\0\0\0") + packet(1, b"\xfc\xff\xff"), "65535 columns"),
        (GOOD + packet(2, b"\0\0\0\2\0\0\0") + packet(1, b"\1") + packet(2, b"\3de"), "not in its form"),
        (GOOD + packet(2, b"\0\0\0\2\0\0\0") + table(["a"], [["1"]] * 6000), "more than 5000 rows"),
    ],
)  # fmt: skip
async def test_what_lies_about_being_mysql(said: bytes, told: str) -> None:
    """Among it: a wish for a file of ours (LOAD DATA LOCAL), an endless table, old and clear proofs."""
    async with serving(saying(said)) as port:
        with pytest.raises(UnavailableError, match=told):
            await ask(mysql_status, port, "u", "p")


def test_numbers_are_numbers() -> None:
    assert [number(text) for text in ("0", "-3", "1.5", "12345678901234567890", "", "x", "1e9", "NaN", None)] == [
        0, -3, 1.5, None, None, None, None, None, None,
    ]  # fmt: skip
