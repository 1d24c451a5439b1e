"""Playing a recording back: its events from the server, page by page, at the pace at which they came, or as text."""

from __future__ import annotations

import base64
import select
import sys
import termios
import time
import tty
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cli import keyboard
from cli.api import Api
from cli.output import Output
from cli.values import segment
from protocol.asciicast import Cast, described
from protocol.recording import Event
from protocol.transcript import Transcript

PATIENCE_S: Final = 2.0  # that a pause takes at most, with --skip-idle
JUMP_S: Final = 10.0  # that the key f skips
CALLS: Final = 50_000  # of the host in the time of one session that are looked at for its own
ASIDE: Final = timedelta(minutes=10)  # that the clocks of host and server may be apart
ARGUMENT_CHARACTERS: Final = 100  # of one argument of a call that are shown

Item = dict[str, Any]


def events(api: Api, session: str, from_s: float = 0.0) -> Iterator[Item]:
    """Yield the events of a recording; of the segment of ``from_s`` also what was before that moment."""
    cursor: str | None = None
    path = f"recordings/{segment(session)}/events"
    while True:
        page = api.get(path, **({"from_s": from_s} if cursor is None else {"cursor": cursor}))
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


@dataclass(frozen=True)
class Made:
    """The calls that people's sessions made on the host of a session while it lasted, as items of its timeline."""

    calls: list[Item]
    begun_us: int  # when its timeline begins, in microseconds since 1970 by the clock of the host
    is_all: bool  # of a time with more than CALLS the first ones were looked at


def calls(api: Api, shown: Item, opened_us: int) -> Made:
    """Return what was called while a session lasted.

    Args:
        shown: The session.
        opened_us: When it was opened, by the clock of the server. The host's own record of the terminal's opening is
            better, as its clock gave all times on the timeline.
    """
    until = {"until": _moved(shown["ended"], ASIDE)} if shown.get("ended") else {}
    since = _moved(shown["created"], -ASIDE)
    found = list(api.items("records", limit=CALLS, agent=shown["agent_id"], kind="call", since=since, **until))
    logins = (each["time_us"] for each in found if each["session"] == shown["id"] and each["call"] == "tty.login")
    begun_us = next(logins, opened_us)
    made = [
        {"time_s": (each["time_us"] - begun_us) / 1e6, "kind": "call", "data": "", "about": each}
        for each in found if each["session"] and not each["run"] and each["call"] != "tty.login"
    ]  # fmt: skip
    return Made(made, begun_us, len(found) < CALLS)


def opened_us(shown: Item) -> int:
    """Return when a session was opened, or else asked for, in microseconds since 1970."""
    return round(datetime.fromisoformat(shown.get("opened") or shown["created"]).timestamp() * 1_000_000)


def _moved(moment: str, by: timedelta) -> str:
    return (datetime.fromisoformat(moment) + by).isoformat()


def merged(items: Iterator[Item], made: list[Item], session: str) -> Iterator[Item]:
    """Yield a timeline with the calls of its session among the rest, and those of the sessions opened from there.

    A call of such a session comes after its opening, whatever the clock of the host said.
    """
    waiting = deque(sorted(made, key=lambda item: float(item["time_s"])))
    known, held = {session}, defaultdict[str, list[Item]](list)
    for item in items:
        while waiting and waiting[0]["time_s"] <= item["time_s"]:
            call = waiting.popleft()
            if call["about"]["session"] in known:
                yield call
            else:
                held[call["about"]["session"]].append(call)
        yield item
        about = item["about"]
        if item["kind"] == "presence" and about.get("what") == "opened":
            known.add(about["session"])
            yield from ({**call, "time_s": item["time_s"]} for call in held.pop(about["session"], ()))
    yield from (call for call in waiting if call["about"]["session"] in known)


def octets(item: Item) -> bytes:
    """Return the bytes of an event."""
    return base64.b64decode(item["data"])


# as text -------------------------------------------------------------------------------------------------------------


def text(items: Iterator[Item], begun_us: int) -> Iterator[str]:
    """Yield lines: what was printed, and between it what happened, each with its time."""
    transcript = Transcript()
    begun = datetime.fromtimestamp(begun_us / 1e6, UTC).astimezone()
    for item in items:
        stamp = f"{begun + timedelta(seconds=item['time_s']):%H:%M:%S}"
        if item["kind"] == "output":
            for line in transcript.feed(octets(item)):
                yield f"{stamp}  {line}"
            continue
        told = happened(item)
        if told is not None:
            yield f"{stamp}  {one_line(told)}"
    for line in transcript.end():
        yield f"{stamp}  {line}"


def one_line(text: str) -> str:
    """Return a text of a host, such as what a program was given, as one line that no terminal obeys."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def happened(item: Item) -> str | None:
    """Return an event that is no output as one line; None for those that say nothing to a reader."""
    about = item["about"]
    match item["kind"]:
        case "process" if about.get("what") == "started":
            argv = " ".join(map(str, about.get("argv") or ()))
            return f"+ {about.get('pid')} {argv or '(was over before anybody could look)'}"
        case "process" if about.get("what") == "client":
            return f"* the host proposed to {about.get('action')} {about.get('path')}"
        case "process":
            return f"- {about.get('pid')} {' '.join(map(str, about.get('argv') or ()))}{_how(about)}"
        case "file":
            to = f" to {about['to']}" if about.get("to") else ""
            return f"~ {about.get('path')}: {', '.join(map(str, about.get('did') or ()))}{to}"
        case "sources":
            return f"* {_sources(about)}"
        case "untold":
            return f"* {about.get('count')} more programs and changes of files came too fast to be told"
        case "presence":
            return f"* {described(about)}"
        case "notice" | "marker":
            return f"* {about.get('text')}{f' ({by})' if (by := about.get('by')) else ''}"
        case "call":
            return (
                f"> {about.get('call')} {_arguments(about)}{about.get('verdict')} {about.get('outcome')}{_left(about)}"
            )
        case "gap":
            return f"* {about['to'] - about['from']} bytes were lost"
        case "exit":
            code, number, reason = about.get("code"), about.get("signal"), about.get("reason")
            return f"* ended: {reason or (f'signal {number}' if number else f'status {code}')}"
    return None


def _arguments(record: Item) -> str:
    """Return the texts that a call was given as its record has them: paths and hashes above all."""
    told = []
    for name, value in (record.get("arguments") or {}).items():
        if isinstance(value, dict) and value.get("sha256"):  # too long for the record
            told.append(f"{name}=sha256:{value['sha256']} ({value.get('bytes')} bytes)")
        elif isinstance(value, str) and value:
            cut = "..." if len(value) > ARGUMENT_CHARACTERS else ""
            told.append(f"{name}={value[:ARGUMENT_CHARACTERS]}{cut}")
    return "".join(f"{each} " for each in told)


def _left(record: Item) -> str:
    """Return what a change of a file left there, where the host told it."""
    told = (record.get("data") or {}).get("new_hash")
    return f" -> sha256:{told:.64}" if isinstance(told, str) else ""


def _how(about: Item) -> str:
    if about.get("signal"):
        return f" (signal {about['signal']})"
    return f" ({about['code']})" if about.get("code") else ""


def _sources(about: Item) -> str:
    """Return from what a timeline is made, in words."""
    why = about.get("why") or {}
    programs = "told by the kernel" if about.get("processes") == "told" else "looked for every 0.2 s"
    if not about.get("files"):
        return f"programs: {programs}; changes of files: not seen ({why.get('files')})"
    unseen = f", not on {', '.join(map(str, about['unseen']))}" if about.get("unseen") else ""
    return f"programs: {programs}; changes of files: on {', '.join(map(str, about['files']))}{unseen}"


# as it was -----------------------------------------------------------------------------------------------------------


class Player:
    """Shows a recording as it was seen.

    Args:
        output: For what happened beside the output.
        speed: How many times faster.
        skips_idle: Whether long pauses are cut.
        from_s: Where to begin; what was before is shown at once, so that the screen is as it was.
    """

    def __init__(self, output: Output, speed: float, skips_idle: bool, from_s: float) -> None:
        self._output = output
        self._speed = speed
        self._skips_idle = skips_idle
        self._until_s = from_s  # what is before this is shown without waiting
        self._at_s = 0.0
        self._is_paused = False
        self._has_keys = sys.stdin.isatty()

    def play(self, items: Iterator[Item]) -> None:
        """Play it to its end, or until somebody stops it with q or Ctrl-C."""
        try:
            with _keys(self._has_keys):
                for item in items:
                    if not self._wait(float(item["time_s"])):
                        return
                    if item["kind"] == "output":
                        keyboard.write(octets(item))
        finally:
            if self._output.on_terminal:  # the end may come where a program had the screen, or the mouse
                keyboard.write(keyboard.LEAVE_SCREEN + keyboard.AS_FOUND)

    def _wait(self, time_s: float) -> bool:
        """Wait until an event is due; False if somebody wants no more."""
        gap_s = 0.0 if time_s <= self._until_s else (time_s - max(self._at_s, self._until_s)) / self._speed
        if self._skips_idle:
            gap_s = min(gap_s, PATIENCE_S / self._speed)
        self._at_s = max(self._at_s, time_s)
        ends_s = time.monotonic() + gap_s
        while self._is_paused or time.monotonic() < ends_s:
            left_s = None if self._is_paused else max(0.0, ends_s - time.monotonic())
            key = _key(left_s) if self._has_keys else _rest(left_s or 0.0)
            if key in ("q", "\x03"):
                return False
            if key == " ":
                self._is_paused = not self._is_paused
                ends_s = time.monotonic() + (left_s or 0.0)
            elif key == "f":
                self._until_s = self._at_s + JUMP_S
                return True
        return True


def _rest(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _key(timeout_s: float | None) -> str:
    ready, _, _ = select.select([0], [], [], timeout_s)
    return sys.stdin.read(1) if ready else ""


@contextmanager
def _keys(is_wanted: bool) -> Iterator[None]:
    if not is_wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


# as a file -----------------------------------------------------------------------------------------------------------


def cast(about: Item, items: Iterator[Item], version: int, *, with_input: bool) -> Iterator[str]:
    """Yield the lines of an asciicast."""
    made = Cast(about, version=version, with_input=with_input)
    yield made.header()
    for item in items:
        event = _event(item)
        if event is not None:
            yield from made.lines([event])


def _event(item: Item) -> Event | None:
    us, about = round(float(item["time_s"]) * 1e6), item["about"]
    values: dict[str, list[Any]] = {
        "output": [about.get("offset"), octets(item)],
        "input": [about.get("by"), octets(item)],
        "resize": list(about.get("size") or ()),
        "notice": [about.get("text")],
        "marker": [about.get("text")],
        "gap": [about.get("from"), about.get("to")],
        "presence": [about],
        "exit": [about],
    }
    return Event(us, item["kind"], values[item["kind"]]) if item["kind"] in values else None
