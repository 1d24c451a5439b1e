"""Searches in recordings: they stop in time, go on where they stopped, and take neither all threads nor all turns."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from headquarters import Headquarters, refused

from protocol.errors import ArgumentError
from server.api import recordings as api
from server.services import recordings
from server.sessions.recording import SEGMENT_BYTES, Recording

LINES = 40


async def recorded(directory: Path, session: str, position: int) -> Any:
    """Make a recording of several segments, as it is no flood; return the row of its session."""
    made, offset = Recording(directory / session, {"session": session, "size": [80, 24]}), 0
    for number in range(LINES):
        data = f"{session} found {number}\r\n".encode() + b"x" * (SEGMENT_BYTES // 8) + b"\r\n"
        made.output(number * 1_000_000, offset, data)
        offset += len(data)
    made.event(LINES * 1_000_000, "marker", "FOUND by hand")
    await made.close()
    return SimpleNamespace(
        id=session, position=position, agent_name="web-1", principal="ana", created_us=1_700_000_000_000_000
    )


async def test_one_that_stops_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """As often as it must; and the parts are the whole."""
    core: Any = SimpleNamespace(config=SimpleNamespace(recordings=tmp_path))
    rows = [await recorded(tmp_path, "s_2", 2), await recorded(tmp_path, "s_1", 1)]
    whole, following = recordings.search(core, rows, "found", 1000, within_s=3600.0)
    assert following is None
    assert len(whole) == 2 * (LINES + 1)
    parts: list[dict[str, Any]] = []
    place: tuple[int, int] | None = (2, 0)
    steps = 0
    while place is not None:
        left = [row for row in rows if row.position <= place[0]]
        found, place = recordings.search(core, left, "found", 1000, first=place[1], within_s=0.0)
        parts += found
        steps += 1
    assert sorted(each["line"] for each in parts) == sorted(each["line"] for each in whole)
    assert steps >= 8, "one segment at a time"


async def test_the_most_lines_end_it(tmp_path: Path) -> None:
    core: Any = SimpleNamespace(config=SimpleNamespace(recordings=tmp_path))
    found, following = recordings.search(core, [await recorded(tmp_path, "s_1", 1)], "FOUND", 3, within_s=0.0)
    assert (len(found), following) == (3, None)


async def test_one_of_a_person_at_a_time_and_two_of_all(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six of them in an auditor's hand took all threads, and three quarters of what the server could do."""
    begun, at_once, may_end = threading.Semaphore(0), [], threading.Event()
    running = 0

    def slow(*_: Any, **__: Any) -> Any:
        nonlocal running
        running += 1
        at_once.append(running)
        begun.release()
        may_end.wait(60)
        running -= 1
        return [], None

    monkeypatch.setattr(recordings, "search", slow)
    ask = "/recordings/search?text=secret"
    searches = [asyncio.ensure_future(server.ask("GET", ask, role="auditor"))]
    await asyncio.to_thread(begun.acquire)  # it is this one's: of the others either may be next
    searches += [asyncio.ensure_future(server.ask("GET", ask, role=role)) for role in ("operator", "moderator")]
    for _ in range(api.MAX_AT_ONCE - 1):
        await asyncio.to_thread(begun.acquire)
    refused(await server.ask("GET", ask, role="auditor"), 503, "unavailable")
    assert (await server.ask("GET", "/sessions", role="auditor")).status_code == 200
    may_end.set()
    assert [answer.status_code for answer in await asyncio.gather(*searches)] == [200] * 3
    assert max(at_once) == api.MAX_AT_ONCE
    assert (await server.ask("GET", ask, role="auditor")).status_code == 200, "it is over"


async def test_a_cursor_of_another_list_is_refused(server: Headquarters) -> None:
    refused(await server.ask("GET", "/recordings/search?text=ab&cursor=xx"), 422, "invalid_argument")


@pytest.mark.parametrize("cursor", ["xx", "-1", "²", "9" * 10, "1.", "1.x", "1.2.3"])
async def test_a_cursor_of_no_recording_is_refused(tmp_path: Path, cursor: str) -> None:
    core: Any = SimpleNamespace(config=SimpleNamespace(recordings=tmp_path))
    await recorded(tmp_path, "s_1", 1)
    with pytest.raises(ArgumentError, match="cursor"):
        recordings.events(core, "s_1", 0.0, cursor)


@pytest.mark.parametrize("from_s", [0.0, 20.0])
async def test_a_segment_of_very_many_events_is_several_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_s: float
) -> None:
    """A hundred thousand letters, each for itself, took the event loop a tenth of a second in one page."""
    core: Any = SimpleNamespace(config=SimpleNamespace(recordings=tmp_path))
    await recorded(tmp_path, "s_1", 1)

    def all_pages() -> tuple[list[dict[str, Any]], list[int]]:
        found, sizes, cursor = [], [], None
        while True:
            items, cursor = recordings.events(core, "s_1", from_s, cursor)
            found += items
            sizes.append(len(items))
            if cursor is None:
                return found, sizes

    whole, few = all_pages()
    monkeypatch.setattr(recordings, "MAX_EVENTS", 3)
    parts, many = all_pages()
    assert parts == whole
    assert max(many) == 3 < max(few)
    assert [each["kind"] for each in parts].count("begin") == 1
    assert recordings.events(core, "s_1", 0.0, "1.999")[0] == []
