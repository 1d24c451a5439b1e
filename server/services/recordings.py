"""Recordings of terminals: what there is, what is in it, whether it is what the host printed, and where a text stands.

Everything here reads files and may block; callers are on threads. Who looked is on record, in the server's own ledger.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from protocol.errors import ArgumentError, NotFoundError
from protocol.ledger import decode_record
from protocol.recording import Event, end_of
from protocol.transcript import Transcript
from server import clock
from server.core import Core
from server.ledger import plain
from server.sessions.recording import listed, read_segment
from server.store.tables import records

MAX_SEARCH_S: Final = 10.0  # of one search; it goes on where it stopped, if that is asked for
MAX_EVENTS: Final = 10_000  # of one page: a segment of single letters has 100,000, or 300,000 in a flood
_CURSOR: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")  # of a segment, and of an event in it
MAX_DIGESTS: Final = 100_000  # of one session that are held against its recording


def directory_of(core: Core, session: str) -> Path:
    """Return where a session is recorded.

    Raises:
        NotFoundError: It is not.
    """
    where = core.config.recordings / session
    if not where.is_dir() or not listed(where):
        raise NotFoundError(f"session {session} has no recording")
    return where


def about(core: Core, row: Any) -> dict[str, Any]:
    """Return what a recording is, without what is in it; raises as :func:`directory_of`."""
    where = directory_of(core, row.id)
    found = listed(where)
    first, last = read_segment(where, found[0]), read_segment(where, found[-1])
    begin = first[0].values[0] if first and first[0].word == "begin" else {}
    return {
        "session": row.id, "host": row.agent_name, "principal": row.principal, "reason": row.purpose,
        "started": clock.text(begin.get("opened_us") or row.created_us),
        "duration_s": (last[-1].us if last else found[-1].us) / 1e6,
        "bytes": end_of(last, found[-1].offset), "segments": len(found),
        "stored_bytes": sum((where / segment.name).stat().st_size for segment in found),
        "size": begin.get("size") or [80, 24], "user": begin.get("user") or "", "argv": begin.get("argv") or [],
        "term": begin.get("term") or "", "opened_us": begin.get("opened_us") or row.created_us,
        "live": row.id in core.terminals,
    }  # fmt: skip


def events(core: Core, session: str, from_s: float, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Return the events of one segment, or so many of them, and the cursor of what follows.

    Args:
        core: The server.
        session: Its id.
        from_s: Seconds since the beginning; the segment in which that lies. Without a cursor only.
        cursor: Of the page before.

    Raises:
        NotFoundError: There is no recording.
        ArgumentError: The cursor is none.
    """
    where = directory_of(core, session)
    found = listed(where)
    number, first = (None, 0) if cursor is None else _place(cursor)
    if number is None:
        place = max(0, bisect.bisect_right([segment.us for segment in found], round(from_s * 1e6)) - 1)
    else:
        place = bisect.bisect_left([segment.number for segment in found], number)
    if place >= len(found):
        return [], None
    segment = found[place]
    if segment.number != number:  # the one that it stopped in is gone
        first = 0
    read, end = read_segment(where, segment), first + MAX_EVENTS
    # Only the first beginning is one; the others say what it said, for those who begin there.
    shown = [event for event in read[first:end] if event.word != "begin" or place == 0 or cursor is None]
    if end < len(read):
        following: str | None = f"{segment.number}.{end}"
    else:
        following = str(found[place + 1].number) if place + 1 < len(found) else None
    return [view(event) for event in shown], following


def _place(cursor: str) -> tuple[int, int]:
    """Return the number of a segment, and which event of it, that a cursor names; ArgumentError if it is none."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ArgumentError("this is no cursor of a recording", parameter="cursor")
    return int(match[1]), int(match[2] or 0)


def view(event: Event) -> dict[str, Any]:
    """Return an event as the API shows it."""
    data, told = b"", {}
    if event.word == "output":
        data = event.values[1]
        told = {"offset": event.values[0]}
    elif event.word == "input":
        data = event.values[1]
        told = {"by": event.values[0]}
    elif event.word == "resize":
        told = {"size": list(event.values)}
    elif event.word in ("notice", "marker"):
        told = {"text": event.values[0]} | ({"by": event.values[1]} if len(event.values) > 1 else {})
    elif event.word == "gap":
        told = {"from": event.values[0], "to": event.values[1]}
    else:
        told = dict(plain(event.values[0]))
    return {"time_s": event.us / 1e6, "kind": event.word, "data": base64.b64encode(data).decode(), "about": told}


# proving -------------------------------------------------------------------------------------------------------------


def digests(connection: Connection, row: Any) -> list[dict[str, Any]]:
    """Return the digests of a session's output that its host has in its ledger."""
    query = (
        select(records.c.blob)
        .where(
            records.c.agent == row.agent, records.c.kind == "event", records.c.time_us >= row.created_us - 600_000_000
        )
        .order_by(records.c.position)
    )
    if row.ended_us is not None:
        query = query.where(records.c.time_us <= row.ended_us + 600_000_000)
    found: list[dict[str, Any]] = []
    for (blob,) in connection.execute(query):
        record = decode_record(bytes(blob))
        if record.session == row.id and record.data.get("event") == "terminal.output" and len(found) < MAX_DIGESTS:
            found.append(record.data)
    return found


def _is_digest(told: dict[str, Any]) -> bool:
    """Tell whether a host's record of output has what it must; whatever else it has, it proves nothing."""
    numbers = all(type(told.get(name)) is int and told[name] >= 0 for name in ("offset", "bytes"))
    return numbers and type(told.get("sha256")) is str


def prove(core: Core, session: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold a recording against the host's digests; return how much of it they cover, and what does not fit."""
    output = _output(directory_of(core, session))
    at, covered, wrong = 0, 0, []
    rest = b""
    if not all(map(_is_digest, told)):
        wrong.append("a record of the host says nothing that could be compared")
    for each in sorted(filter(_is_digest, told), key=lambda item: int(item["offset"])):
        begin, size = each["offset"], each["bytes"]
        digest, left = hashlib.sha256(), size
        if begin != at:
            wrong.append(f"no digest covers bytes {at} to {begin}")
            break
        while left:
            rest = rest or next(output, b"")
            if not rest:
                break
            part, rest = rest[:left], rest[left:]
            digest.update(part)
            left -= len(part)
        if left or digest.hexdigest() != each["sha256"]:
            wrong.append(f"bytes {begin} to {begin + size} are not what the host printed")
        else:
            covered += size
        at = begin + size
    return {"digests": len(told), "covered_bytes": covered, "wrong": wrong}


def _output(where: Path) -> Iterator[bytes]:
    for segment in listed(where):
        for event in read_segment(where, segment):
            if event.word == "output":
                yield event.values[1]


# searching -----------------------------------------------------------------------------------------------------------


def search(
    core: Core, sessions: list[Any], text: str, limit: int, *, first: int = 0, within_s: float = MAX_SEARCH_S
) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """Return lines that hold ``text``, whatever its case, newest session first; and where to go on, None at the end.

    Args:
        core: The server.
        sessions: Rows of those that are looked at, in their order.
        text: What to find, as it stands.
        limit: Most lines. With so many there is no going on.
        first: Number of the segment of the first session to begin at.
        within_s: Seconds after which it stops, at the end of a segment.
    """
    wanted, ends_s = text.casefold(), time.monotonic() + within_s
    found: list[dict[str, Any]] = []
    for row in sessions:
        where = core.config.recordings / row.id
        if not where.is_dir():
            continue
        transcript, us = Transcript(keeps_screens=True), 0
        for segment in listed(where):
            if segment.number < first:
                continue
            for event in read_segment(where, segment):
                lines: list[str] = []
                if event.word == "output":
                    lines, us = transcript.feed(event.values[1]), event.us
                elif event.word in ("marker", "notice"):
                    lines, us = [str(event.values[0])], event.us
                found += [_hit(row, us, line) for line in lines if wanted in line.casefold()]
            if len(found) >= limit:
                return found[:limit], None
            if time.monotonic() >= ends_s:
                found += [_hit(row, us, line) for line in transcript.end() if wanted in line.casefold()]
                return found[:limit], (row.position, segment.number + 1)
        found += [_hit(row, us, line) for line in transcript.end() if wanted in line.casefold()]
        first = 0
    return found[:limit], None


def _hit(row: Any, us: int, line: str) -> dict[str, Any]:
    return {
        "session": row.id, "host": row.agent_name, "principal": row.principal, "opened": clock.text(row.created_us),
        "time_s": us / 1e6, "line": line[:1000],
    }  # fmt: skip
