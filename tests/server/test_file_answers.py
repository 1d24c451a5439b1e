"""What an agent says of files: nothing of another form gets into the answers of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters, refused
from peer import Peer, join

from protocol.errors import ProtocolError
from protocol.frames import encode, prefixed
from protocol.link import StreamOpened
from server.services.file_answers import FileAbout, changed, file_about

RIGHT = {"size": 5, "offset": 0, "length": 5, "mode": "0644", "sha256": "ab" * 32, "mtime": 1.5}
INJECTED = "0644\r\nSet-Cookie: x=1\r\n\r\n<script>"


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


def test_what_has_its_form_is_taken() -> None:
    assert file_about(RIGHT) == FileAbout(5, 0, 5, "0644", "ab" * 32)
    assert file_about({**RIGHT, "length": None, "sha256": None}) == FileAbout(5, 0, None, "0644", None)
    assert changed({"created": True, "new_hash": "ab" * 32, "journal": None})["created"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": INJECTED}, {"mode": "0644\n"}, {"mode": 420}, {"mode": None}, {"mode": ""}, {"mode": "rw-r--r--"},
        {"sha256": INJECTED}, {"sha256": "AB" * 32}, {"sha256": "ab" * 32 + "\n"}, {"sha256": b"ab"}, {"sha256": ""},
        {"length": "5\r\nX: y"}, {"length": -1}, {"length": 1.0}, {"length": True}, {"size": None}, {"size": 1 << 63},
        {"offset": "0"}, {"offset": -1}, {"offset": None},
    ],
)  # fmt: skip
def test_what_has_not_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        file_about(RIGHT | wrong)


@pytest.mark.parametrize(
    "done", [None, [], {}, {"created": 1, "new_hash": "ab" * 32}, {"created": True, "new_hash": INJECTED},
             {"created": True}, {"new_hash": "ab" * 32}],
)  # fmt: skip
def test_so_is_a_change(done: Any) -> None:
    with pytest.raises(ProtocolError):
        changed(done)


@pytest.mark.parametrize(
    ("method", "said"),
    [("GET", ["file", RIGHT | {"mode": INJECTED}]), ("PUT", ["value", {"created": False, "new_hash": INJECTED}])],
)
async def test_a_host_puts_no_header_into_an_answer(
    server: Headquarters, peer: Peer, method: str, said: list[Any]
) -> None:
    """Whoever shares a connection behind a proxy would be answered by that host."""
    body = {"agent": "web-1", "kind": "files", "tier": "admin", "reason": "T-1"}
    session = (await server.post("/sessions", body, 201))["id"]

    async def answer() -> None:
        async with asyncio.timeout(60):
            while not isinstance(event := await peer.seen.get(), StreamOpened):
                continue
        assert peer.link is not None
        peer.link.send(event.id, prefixed(encode(said)))
        peer.link.finish(event.id)
        await peer.flush()

    path = f"/sessions/{session}/file?path=/etc/motd"
    told, _ = await asyncio.gather(server.ask(method, path), answer())
    refused(told, 400, "protocol")
    assert not [name for name in told.headers if name.lower() == "set-cookie"]
