"""Whoever may look at what is noted each time fills neither the disk nor the records by looking."""

from __future__ import annotations

import hashlib

import pytest
from headquarters import Headquarters, refused

from protocol.errors import RateError
from server import limits
from server.paced import Paced


async def test_a_blob_is_not_fetched_without_end(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, each with a record of its own: hundreds a second, and nothing else was to be found in them."""
    monkeypatch.setattr(limits, "NOTED_LOOKS_OF_ONE", 3)
    monkeypatch.setattr(limits, "NOTED_LOOKS_OF_ONE_PER_S", 0.0)
    content = b"content"
    path = f"/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
    put = await server.api.put(f"/api/v1{path}", content=content, headers=server.authorization())
    assert put.status_code == 201

    async def fetch(role: str) -> int:
        return (await server.api.get(f"/api/v1{path}", headers=server.authorization(role))).status_code

    assert [await fetch("auditor") for _ in range(5)] == [200, 200, 200, 429, 429]
    assert await fetch("admin") == 200
    fetched = [record for record in await server.records() if record["call"] == "blob.get"]
    assert [record["principal"] for record in fetched] == ["auditor"] * 3 + ["admin"]


async def test_nor_are_recordings_looked_through(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NOTED_LOOKS_OF_ONE", 1)
    monkeypatch.setattr(limits, "NOTED_LOOKS_OF_ONE_PER_S", 0.0)
    assert (await server.ask("GET", "/recordings/search", role="auditor", text="root")).status_code == 200
    refused(await server.ask("GET", "/recordings/search", role="auditor", text="root"), 429, "rate_limited")
    assert len([record for record in await server.records() if record["call"] == "recording.search"]) == 1


def test_each_person_has_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NOTED_LOOKS_OF_ONE", 1)
    paced = Paced()
    paced.take("ann")
    paced.take("bob")
    with pytest.raises(RateError, match="ann has looked"):
        paced.take("ann")
