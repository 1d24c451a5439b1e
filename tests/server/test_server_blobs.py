"""Blobs at the server: over HTTP in whole and in ranges, over an agent's link whole and broken off, bounded, tidied."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from headquarters import Headquarters, MovedClock, expect, refused
from peer import Peer, join

from protocol import link as events
from protocol.transfer import GET, PUT, Header
from server.api import blobs as api
from server.api.blobs import read_range
from server.services import blobs as service

DATA = bytes(range(256)) * 4096  # a megabyte: four windows


def named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def put(
    server: Headquarters, data: bytes, *, role: str = "operator", blob: str | None = None, **query: str
) -> Any:
    headers = server.authorization(role)
    return await server.api.put(f"/api/v1/blobs/{blob or named(data)}", content=data, headers=headers, params=query)


async def get(server: Headquarters, blob: str, *, role: str = "operator", **headers: str) -> Any:
    given = {**server.authorization(role), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await server.api.get(f"/api/v1/blobs/{blob}", headers=given)


def files(server: Headquarters) -> list[str]:
    """Every file of a blob or of a part, by name."""
    return sorted(path.name for path in server.config.blobs.rglob("*") if path.is_file())


def bounded(server: Headquarters, **changes: Any) -> None:
    server.core.config = replace(server.config, blob_limits=replace(server.config.blob_limits, **changes))


# over HTTP -----------------------------------------------------------------------------------------------------------


async def test_what_is_put_is_had_whole_and_in_ranges(server: Headquarters) -> None:
    told = expect(await put(server, DATA, name="disk.img"), 201)
    assert (told["hash"], told["size"]) == (named(DATA), len(DATA))
    (source,) = told["sources"]
    assert (source["kind"], source["who"], source["name"]) == ("person", "operator", "disk.img")
    answer = await get(server, named(DATA))
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["etag"] == f'"{named(DATA)}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    for asked, content in [
        ("bytes=0-99", DATA[:100]), ("bytes=100-", DATA[100:]), ("bytes=-7", DATA[-7:]), ("bytes=5-5", DATA[5:6]),
        (f"bytes=1000000-{1 << 40}", DATA[1_000_000:]), (f"bytes=-{1 << 40}", DATA),
    ]:  # fmt: skip
        answer = await get(server, named(DATA), range=asked)
        assert answer.content == content, asked
        assert answer.status_code == (200 if content == DATA else 206), asked
    assert (await get(server, named(DATA), range=f"bytes={len(DATA)}-")).status_code == 416
    whole = await get(server, named(DATA), range="bytes=0-1", if_range='"another"')
    assert (whole.status_code, whole.content) == (200, DATA)
    head = await server.api.head(f"/api/v1/blobs/{named(DATA)}", headers=server.authorization("viewer"))
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(DATA)))
    (listed,) = await server.pages("/blobs", role="viewer")
    assert listed == told | {"expires": listed["expires"]}


async def rest(server: Headquarters, extent: str, data: bytes, blob: str = "") -> Any:
    """Put what goes on from somewhere."""
    headers = {**server.authorization("operator"), "content-range": extent}
    return await server.api.put(f"/api/v1/blobs/{blob or named(DATA)}", content=data, headers=headers)


async def arrived(server: Headquarters, size: int = len(DATA), role: str = "operator") -> Any:
    headers = server.authorization(role)
    return await server.api.get(f"/api/v1/blobs/{named(DATA)}/arrived", params={"size": size}, headers=headers)


def broken_off(server: Headquarters, data: bytes, who: str = "operator") -> None:
    """What a PUT that broke off leaves."""
    arrival = server.core.blobs.begin(service.PERSON + who, Header(named(DATA), len(DATA), 0))
    arrival.write(data)
    arrival.pause()


async def test_a_put_that_broke_off_goes_on(server: Headquarters) -> None:
    assert expect(await arrived(server), 200) == {"hash": named(DATA), "size": len(DATA), "arrived": 0}
    broken_off(server, DATA[:700_000])
    assert expect(await arrived(server), 200)["arrived"] == 700_000
    told = expect(await rest(server, f"bytes 700000-{len(DATA) - 1}/{len(DATA)}", DATA[700_000:]), 201)
    assert (told["hash"], told["size"]) == (named(DATA), len(DATA))
    assert (await get(server, named(DATA))).content == DATA
    assert expect(await arrived(server), 200)["arrived"] == len(DATA)
    assert files(server) == [named(DATA)[7:]]


async def test_all_that_is_there_needs_no_more_bytes(server: Headquarters) -> None:
    """Whether it is kept already, or only its last byte had arrived."""
    broken_off(server, DATA)
    expect(await rest(server, f"bytes */{len(DATA)}", b""), 201)
    (source,) = expect(await rest(server, f"bytes */{len(DATA)}", b""), 201)["sources"]
    assert source["who"] == "operator"
    assert (await get(server, named(DATA))).content == DATA


async def test_what_somebody_else_sent_is_not_gone_on_with(server: Headquarters) -> None:
    broken_off(server, DATA[:100], who="somebody")
    assert expect(await arrived(server), 200)["arrived"] == 0
    refused(await rest(server, f"bytes 100-{len(DATA) - 1}/{len(DATA)}", DATA[100:]), 404, "not_found")
    refused(await rest(server, f"bytes */{len(DATA)}", b""), 404, "not_found")


async def test_a_rest_of_something_else_is_refused_and_goes(server: Headquarters) -> None:
    broken_off(server, DATA[:100])
    wrong = bytes(len(DATA) - 100)
    answer = await rest(server, f"bytes 100-{len(DATA) - 1}/{len(DATA)}", wrong)
    assert answer.json()["reason"] == "wrong_digest"
    assert files(server) == []
    assert expect(await arrived(server), 200)["arrived"] == 0


@pytest.mark.parametrize(
    "extent",
    [
        "bytes 0-9/20",
        "bytes 5-9/10",
        "bytes 9-0/10",
        "bytes 0-9/*",
        "bytes */10",
        "bytes=0-9/10",
        "octets 0-9/10",
        "bytes 0-9/99999999999999999",
        "",
        "bytes -1-9/10",
        "bytes 0-9/10, 0-9/10",
    ],
)
async def test_an_extent_that_does_not_fit_the_body(server: Headquarters, extent: str) -> None:
    answer = await rest(server, extent, b"0123456789", named(b"0123456789"))
    assert refused(answer, 422, "invalid_argument")["parameter"] == "Content-Range"
    assert files(server) == []


async def test_how_much_has_arrived_is_for_who_may_put(server: Headquarters) -> None:
    refused(await arrived(server, role="viewer"), 403, "denied")
    assert (await arrived(server, size=-1)).status_code in (400, 422)
    assert (await arrived(server, size=1 << 60)).status_code in (400, 422)


async def test_an_empty_blob_is_one(server: Headquarters) -> None:
    expect(await put(server, b""), 201)
    assert (await get(server, named(b""))).content == b""


def test_ranges_are_read_as_the_standard_says() -> None:
    """RFC 9110 section 14.2: what is no single range of bytes is passed over; one of no byte is unsatisfiable."""
    for text in (None, "", "bytes", "bytes=-", "bytes=1-0", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"):
        assert read_range(text, 100) == (0, 99), text
    assert read_range("bytes=0-", 0) is read_range("bytes=100-", 100) is read_range("bytes=-0", 100) is None
    assert read_range(None, 0) == (0, -1)


async def test_wrong_bytes_leave_nothing_behind(server: Headquarters) -> None:
    refused(await put(server, b"other", blob=named(DATA)), 403, "untrusted", reason="wrong_digest")
    refused(await get(server, named(DATA)), 404, "not_found")
    assert files(server) == []
    assert server.core.blobs_reserved == {}


@pytest.mark.parametrize("blob", ["x", "sha256:0", "0" * 63, "A" * 64, "md5:" + "0" * 32, "..%2f..%2fserver.key"])
async def test_what_is_no_hash_is_no_path(server: Headquarters, blob: str) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = await server.api.request(method, f"/api/v1/blobs/{blob}", headers=server.authorization("admin"))
        assert answer.status_code in (404, 422), (method, answer.status_code)


async def test_roles_open_the_doors(server: Headquarters) -> None:
    expect(await put(server, DATA), 201)
    refused(await put(server, DATA, role="author"), 403, "denied")
    refused(await get(server, named(DATA), role="viewer"), 403, "denied")
    assert (await get(server, named(DATA), role="auditor")).status_code == 200
    assert (await server.api.get(f"/api/v1/blobs/{named(DATA)}")).status_code == 401
    refused(await server.ask("DELETE", f"/blobs/{named(DATA)}", role="author"), 403, "denied")


async def test_a_blob_neither_comes_nor_goes_by_a_token_that_has_ended(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take hours, at the pace of whoever has the token."""
    monkeypatch.setattr(api, "LOOK_EVERY_S", 0.0)
    expect(await put(server, DATA), 201)
    for method, blob in (("PUT", named(DATA[1:])), ("GET", named(DATA))):
        made = await server.post("/tokens", {"principal": "tom", "roles": ["operator"]}, 201)
        headers = {"authorization": f"Bearer {made['token']}", "content-length": str(len(DATA) - 1)}
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": f"/api/v1/blobs/{blob}", "raw_path": b"", "query_string": b"", "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7443), "state": {},
        }  # fmt: skip
        taken = asyncio.Event()

        async def send(message: Any, messages: Any = messages, taken: asyncio.Event = taken) -> None:
            messages.put_nowait(message)
            await taken.wait()

        served = asyncio.create_task(server.app(scope, bodies.get, send))  # type: ignore[arg-type]  # as ASGI
        async with asyncio.timeout(60):
            if method == "GET":
                assert (await messages.get())["status"] == 200
            else:
                bodies.put_nowait({"type": "http.request", "body": DATA[1:-1], "more_body": True})
                await until(bodies.empty)
            expect(await server.ask("DELETE", f"/tokens/{made['id']}"), 204)
            taken.set()
            if method == "PUT":
                bodies.put_nowait({"type": "http.request", "body": DATA[-1:], "more_body": False})
                assert (await messages.get())["status"] == 401
            await asyncio.gather(served, return_exceptions=True)
        came = sum(len(messages.get_nowait().get("body", b"")) for _ in range(messages.qsize()))
        assert came < len(DATA)
    assert [each["hash"] for each in await server.pages("/blobs")] == [named(DATA)]


async def test_what_others_have_put_is_for_administrators_to_remove(server: Headquarters) -> None:
    expect(await put(server, DATA, role="operator"), 201)
    expect(await put(server, DATA, role="admin"), 201)
    refused(await server.ask("DELETE", f"/blobs/{named(DATA)}", role="operator"), 403, "denied", rule="blobs of others")
    expect(await server.ask("DELETE", f"/blobs/{named(DATA)}", role="admin"), 204)
    refused(await server.ask("DELETE", f"/blobs/{named(DATA)}", role="admin"), 404, "not_found")
    assert files(server) == []
    expect(await put(server, DATA, role="operator"), 201)
    expect(await server.ask("DELETE", f"/blobs/{named(DATA)}", role="operator"), 204)


async def test_who_did_what_is_on_record(server: Headquarters) -> None:
    await put(server, DATA, name="a")
    await get(server, named(DATA), role="auditor")
    await server.ask("DELETE", f"/blobs/{named(DATA)}")
    told = [(r["call"], r["principal"]) for r in await server.records() if r["call"].startswith("blob.")]
    assert sorted(told) == [("blob.get", "auditor"), ("blob.put", "person:operator"), ("blob.remove", "admin")]


async def test_bounds_of_one_of_a_source_and_of_all(server: Headquarters) -> None:
    bounded(server, max_bytes=1000, per_source_bytes=1500, total_bytes=2200)
    refused(await put(server, b"x" * 1001), 413, "too_large")
    expect(await put(server, b"a" * 1000), 201)
    assert "of one source" in refused(await put(server, b"b" * 501), 413, "too_large")["detail"]
    expect(await put(server, b"b" * 1000, role="admin"), 201)
    assert "keeps at most" in refused(await put(server, b"c" * 400, role="admin"), 413, "too_large")["detail"]
    assert server.core.blobs_reserved == {}


async def test_a_body_without_its_length_is_refused(server: Headquarters) -> None:
    async def parts() -> Any:
        yield DATA

    answer = await server.api.put(
        f"/api/v1/blobs/{named(DATA)}", content=parts(), headers=server.authorization("admin")
    )
    refused(answer, 422, "invalid_argument", parameter="content-length")


# keeping house -------------------------------------------------------------------------------------------------------


async def test_what_nobody_asks_for_goes_and_what_is_fetched_stays(server: Headquarters, clock: MovedClock) -> None:
    other = b"other"
    expect(await put(server, DATA), 201)
    expect(await put(server, other), 201)
    clock.advance(days=20)
    assert (await get(server, named(other))).content == other
    clock.advance(days=15)
    server.tokens.clear()  # those of the start have ended
    assert await service.tidy(server.core) == 1
    assert [item["hash"] for item in await server.pages("/blobs")] == [named(other)]
    assert files(server) == [named(other).removeprefix("sha256:")]
    assert [r["arguments"]["hash"] for r in await server.records() if r["call"] == "blob.expire"] == [named(DATA)]


async def test_what_a_crash_leaves_is_taken_away(server: Headquarters) -> None:
    """A file without a row (killed between the two), a row without its file (somebody was in the directory)."""
    expect(await put(server, DATA), 201)
    orphan = server.core.blobs.path("sha256:" + "0" * 64)
    orphan.parent.mkdir()
    orphan.write_bytes(b"x")
    server.core.blobs.path(named(DATA)).unlink()
    stale, fresh = (server.config.blobs / "partial" / name for name in ("1" * 64, "2" * 64))
    for path in (stale, fresh):
        path.write_bytes(b"part")
    os.utime(stale, (1, 1))
    assert await service.tidy(server.core) == 2
    assert files(server) == [fresh.name]
    assert await server.pages("/blobs") == []


# over a link ---------------------------------------------------------------------------------------------------------


class Mover:
    """An agent's end of transfers: as much as credit allows, piece by piece."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        assert peer.link is not None
        self.link = peer.link

    async def offer(self, data: bytes, **more: Any) -> Any:
        body = {"hash": named(data), "size": len(data), "name": "f", "run": "run_1", "script": "checks/x"} | more
        answer = await self.peer.ask("blob.offer", body)
        return answer.body if isinstance(answer, events.ResponseReceived) else (answer.code, answer.message)  # type: ignore[union-attr]  # the other one

    async def event(self, *kinds: type) -> Any:
        async with asyncio.timeout(60):
            while not isinstance(found := await self.peer.seen.get(), kinds):
                pass
        return found

    async def send(self, data: bytes, offset: int = 0, *, stop_at: int | None = None, header: Any = None) -> Any:
        """Open a stream and send; returns the event that ended it, or None where it stopped on purpose."""
        told = header or Header(named(data), len(data), offset).to_plain()
        stream = self.link.open(PUT, told, is_two_way=True)
        end = len(data) if stop_at is None else stop_at
        while offset < end:
            offset += self.link.send(stream, data[offset:end])
            await self.peer.flush()
            if offset < end:
                found = await self.event(events.StreamWritable, events.StreamReset)
                if isinstance(found, events.StreamReset):
                    return found
        if stop_at is not None:
            return None
        self.link.finish(stream)
        await self.peer.flush()
        return await self.event(events.StreamFinished, events.StreamReset)

    async def fetch(self, blob: str, size: int, offset: int = 0) -> Any:
        stream = self.link.open(GET, Header(blob, size, offset).to_plain(), is_two_way=True)
        self.link.finish(stream)
        await self.peer.flush()
        kept = bytearray()
        while True:
            found = await self.event(events.StreamData, events.StreamFinished, events.StreamReset)
            if not isinstance(found, events.StreamData):
                return bytes(kept) if isinstance(found, events.StreamFinished) else found.code
            kept += found.data
            self.link.grant(stream, len(found.data))
            await self.peer.flush()


async def connected(server: Headquarters, name: str = "web-1") -> tuple[Peer, Mover]:
    peer = await join(server, name)
    await peer.connect()
    return peer, Mover(peer)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


async def test_an_agent_puts_and_another_fetches(server: Headquarters) -> None:
    peer, mover = await connected(server)
    assert await mover.offer(DATA) == {"held": False, "offset": 0}
    assert isinstance(await mover.send(DATA), events.StreamFinished)
    assert await mover.offer(DATA) == {"held": True, "offset": len(DATA)}
    (blob,) = await server.pages("/blobs")
    assert [(s["kind"], s["who"], s["run"], s["script"]) for s in blob["sources"]] == [
        ("agent", "web-1", "run_1", "checks/x")
    ]
    other, fetcher = await connected(server, "web-2")
    answer = await other.ask("blob.ask", {"hash": named(DATA)})
    assert isinstance(answer, events.ResponseReceived)
    assert answer.body == {"size": len(DATA)}
    assert await fetcher.fetch(named(DATA), len(DATA)) == DATA
    assert await fetcher.fetch(named(DATA), len(DATA), 900_000) == DATA[900_000:]
    assert await fetcher.fetch(named(DATA), 5) == "protocol", "another size than it has"
    assert await fetcher.fetch("sha256:" + "0" * 64, 5) == "not_found"
    assert server.core.blobs_reserved == {}
    await peer.close()
    await other.close()


async def test_what_broke_off_goes_on_over_the_next_link(server: Headquarters) -> None:
    peer, mover = await connected(server)
    await mover.offer(DATA)
    await mover.send(DATA, stop_at=300_000)
    part = server.core.blobs.partial(f"agent:{peer.agent}", named(DATA))
    await until(lambda: part.exists() and part.stat().st_size == 300_000)
    await peer.close()
    assert server.core.blobs_reserved == {}, "nothing stays reserved for a link that is gone"
    await peer.connect()
    mover = Mover(peer)
    told = await mover.offer(DATA)
    assert told == {"held": False, "offset": 300_000}
    assert isinstance(await mover.send(DATA, told["offset"]), events.StreamFinished)
    assert (await get(server, named(DATA))).content == DATA
    await peer.close()


async def test_lies_of_an_agent_are_refused_and_leave_nothing(server: Headquarters) -> None:
    peer, mover = await connected(server)
    found = await mover.send(DATA)
    assert found.code == "invalid_argument", "it was not offered"
    await mover.offer(DATA)
    found = await mover.send(bytes(len(DATA)), header=Header(named(DATA), len(DATA), 0).to_plain())
    assert found.code == "untrusted", "other bytes than the hash says"
    assert files(server) == []
    await mover.offer(DATA)
    found = await mover.send(DATA, header=Header(named(DATA), len(DATA), 500_000).to_plain())
    assert found.code == "not_found", "it claims that more is here than there is"
    await mover.offer(b"short")
    found = await mover.send(b"shorter", header=Header(named(b"short"), 5, 0).to_plain())
    assert found.code == "too_large"
    await mover.offer(b"ab")
    found = await mover.send(b"a", header=Header(named(b"ab"), 2, 0).to_plain())
    assert found.code == "protocol", "it ends before its size"
    for purpose, header in (("blob.move", {}), (PUT, {"hash": "../x", "size": 1, "offset": 0}), (PUT, {})):
        stream = mover.link.open(purpose, header, is_two_way=True)
        await peer.flush()
        found = await mover.event(events.StreamReset)
        assert (found.id, found.code) == (stream, "invalid_argument" if purpose == PUT else "refused")
    assert peer.closed is None, "the link goes on"
    assert await server.pages("/blobs") == []
    assert server.core.blobs_reserved == {}
    await peer.close()


async def test_offers_are_bounded(server: Headquarters) -> None:
    bounded(server, max_bytes=1000, per_source_bytes=1500)
    peer, mover = await connected(server)
    assert (await mover.offer(b"x", size=1001))[0] == "too_large"
    assert await mover.offer(b"a", size=1000) == {"held": False, "offset": 0}
    assert (await mover.offer(b"a", size=999))[0] == "conflict"
    assert (await mover.offer(b"b", size=501))[0] == "too_large", "what is only agreed counts"
    for number in range(7):
        assert await mover.offer(b"%d" % number) == {"held": False, "offset": 0}
    assert (await mover.offer(b"one more"))[0] == "rate_limited"
    await peer.close()
    await until(lambda: not server.core.blobs_reserved)
