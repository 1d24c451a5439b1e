"""Services that speak a protocol of their own: well, badly and hostilely."""

from __future__ import annotations

import asyncio

import pytest
from netlab import LOOPBACK, Authority, Granted, no_sockets_left, saying, serving

from protocol.errors import DeadlineError, DeniedError, UnavailableError
from stdlib.host import Host
from stdlib.net_services import redis_info

INFO = (
    b"# Server\r\nredis_version:7.2.4\r\nuptime_in_seconds:86400\r\n# Clients\r\nconnected_clients:3\r\n"
    b"blocked_clients:0\r\nused_memory:1048576\r\nrdb_changes_since_last_save:5\r\nrdb_bgsave_in_progress:0\r\n"
    b"aof_rewrite_in_progress:1\r\ntotal_connections_received:12\r\ntotal_commands_processed:345\r\nexpired_keys:7\r\n"
    b"evicted_keys:8\r\npubsub_patterns:9\r\nrole:master\r\nconnected_slaves:2\r\n"
)


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


async def test_redis_says_what_it_is() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(14))
        for byte in bulk(INFO):
            writer.write(bytes([byte]))
        await writer.drain()

    async with serving(serve) as port:
        with no_sockets_left():
            found = await redis_info(Host(), Granted(), LOOPBACK, port)
    assert heard == [b"*1\r\n$4\r\nINFO\r\n"]
    assert found == {
        "version": "7.2.4", "role": "master", "uptime_in_seconds": 86400, "connected_clients": 3, "blocked_clients": 0,
        "connected_slaves": 2, "used_memory": 1048576, "bgsave_in_progress": 0, "changes_since_last_save": 5,
        "bgrewriteaof_in_progress": 1, "total_connections_received": 12, "total_commands_processed": 345,
        "expired_keys": 7, "evicted_keys": 8, "pubsub_patterns": 9,
    }  # fmt: skip


async def test_an_old_redis_has_other_words() -> None:
    async with serving(
        saying(bulk(b"redis_version:2.4\r\nbgsave_in_progress:1\r\nchanges_since_last_save:2\r\n"))
    ) as port:
        found = await redis_info(Host(), Granted(), LOOPBACK, port)
    assert (found["bgsave_in_progress"], found["changes_since_last_save"], found["used_memory"]) == (1, 2, None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH"), (b"", "no Redis"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "no Redis"),
        (b"$-1\r\n", "no Redis"), (b"$999999999999\r\n", "no Redis"), (b"$300000\r\n", "no Redis"),
        (b"$10\r\nabc", "cut off"),
        (b"x" * 5000, "no Redis"), (bulk(b"hello"), "no Redis"),
        (bulk(b"\xff\0:\r\n::\r\n"), "no Redis"), (b"$\r\n", "no Redis"),
        (b"$\xb2\r\n", "no Redis"),
    ],
)  # fmt: skip
async def test_what_is_no_redis(said: bytes, words: str) -> None:
    async with serving(saying(said)) as port:
        with no_sockets_left(), pytest.raises(UnavailableError, match=words):
            await redis_info(Host(), Granted(), LOOPBACK, port)


async def test_numbers_that_are_none() -> None:
    async with serving(
        saying(bulk(b"redis_version:7\r\nused_memory:-5\r\nexpired_keys:" + b"9" * 50 + b"\r\n"))
    ) as port:
        found = await redis_info(Host(), Granted(), LOOPBACK, port)
    assert (found["used_memory"], found["expired_keys"]) == (None, None)


async def test_redis_over_tls() -> None:
    authority = Authority()
    async with serving(saying(bulk(INFO)), tls=authority.server("127.0.0.1")) as port:
        assert (await redis_info(Host(), Granted(), LOOPBACK, port, tls=True, ca=authority.pem))["version"] == "7.2.4"
        with no_sockets_left(), pytest.raises(UnavailableError, match=r"issuer|self-signed"):
            await redis_info(Host(), Granted(), LOOPBACK, port, tls=True)


async def test_silence_and_denial() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await reader.read(1000)

    async with serving(silent) as port:
        with no_sockets_left(), pytest.raises(DeadlineError):
            await redis_info(Host(), Granted(), LOOPBACK, port, timeout=0.1)
        with pytest.raises(DeniedError):
            await redis_info(Host(), Granted(["*"]), LOOPBACK, port)
