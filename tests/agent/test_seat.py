"""The agent's side of a terminal: what it keeps, tells and records, with real programs and a link that a test moves."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from premises import Premises, until
from test_live import Floor
from test_witness import needs_fanotify

from agent import seat
from agent.live_acts import terminal_act
from agent.live_admission import Wish
from agent.terminal_seats import seat_of
from protocol.errors import ConflictError, UnavailableError
from protocol.pipes import Pipe
from protocol.terminal import WIDE_WINDOW_BYTES, WINDOW_BYTES
from stdlib.host import Host
from stdlib.processes.start import Processes

CEILING = "highest_tier: admin\naccept_server_word: [session]\n"


class Room(Floor):
    """A floor on which terminals can be had."""

    def __init__(self, premises: Premises, processes: Processes) -> None:
        self.processes = processes
        super().__init__(premises)

    def open(self) -> None:
        super().open()

        async def end(session: str, reason: str, outcome: str) -> None:
            await self.live.close(session, reason, outcome)

        # As any other floor's, but for what it can do and with what.
        self.live._acts = {"terminal": terminal_act(self.premises.recorder, end)}
        self.live._host = Host(processes=self.processes)


@pytest.fixture
async def room(premises: Premises) -> AsyncIterator[Room]:
    premises.allow(CEILING)
    premises.take_roster()
    async with Processes() as processes:
        made = Room(premises, processes)
        yield made
        await made.live.shut()


class Far:
    """The server's end of one attachment."""

    def __init__(self, room: Room, **header: Any) -> None:
        self.room = room
        self.messages: list[list[Any]] = []
        self.error: Exception | None = None
        self.pipe: Pipe = room.pipe("terminal", **header)
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while (message := await self.pipe.receive()) is not None:
                self.messages.append(message)
        except ConflictError as error:
            self.error = error

    async def until(self, look: Any) -> None:
        def looked() -> bool:
            self.room.settle()
            return bool(look())

        await until(looked)

    async def say(self, *message: Any) -> None:
        await self.pipe.send(list(message))
        self.room.settle()

    def output(self) -> bytes:
        return b"".join(message[3] for message in self.messages if message[0] == "output")

    def words(self) -> list[str]:
        return [message[0] for message in self.messages]


def asks(script: str) -> dict[str, Any]:
    return {"argv": ["/bin/sh", "-c", script]}


async def opened(room: Room, script: str) -> Far:
    await room.live.open(Wish("s_1", "terminal", "admin", "oli", "T-1", {}))
    return Far(room, open=asks(script))


async def test_a_program_prints_and_ends_and_its_digest_is_on_record(room: Room) -> None:
    far = await opened(room, "printf hello; exit 3")
    await far.until(lambda: "exit" in far.words())
    assert far.output() == b"hello"
    assert far.messages[-1][1]["code"] == 3
    await room.live.close("s_1", "done")
    digests = [record.data for record in await room.premises.records() if record.kind == "event"]
    assert digests == [
        {"event": "terminal.output", "offset": 0, "bytes": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}
    ]


async def test_a_digest_that_finds_no_room_is_on_record_once_there_is_some(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would look at the terminal any more, and of what it printed from then on little was on record."""
    monkeypatch.setattr(seat, "DIGEST_S", 0.0)
    monkeypatch.setattr(seat, "LOOK_S", 0.001)
    record, refused, kept = room.premises.recorder.record, [], []

    def behind(**fields: Any) -> None:
        if fields["data"].get("event") == "terminal.output" and len(refused) < 3:
            refused.append(fields)
            raise UnavailableError("the spool is behind")
        kept.append(fields["data"].get("sha256"))
        record(**fields)

    monkeypatch.setattr(room.premises.recorder, "record", behind)
    far = await opened(room, "printf hello; read line")
    await far.until(lambda: hashlib.sha256(b"hello").hexdigest() in kept)
    assert (len(refused), far.output()) == (3, b"hello")


async def test_a_program_waits_for_a_server_that_confirms_nothing(room: Room) -> None:
    """Memory is bounded by that, whatever a program prints."""
    far = await opened(room, "yes")
    await far.until(lambda: len(far.output()) >= WINDOW_BYTES)
    seat = seat_of(room.live.find("s_1"))
    assert seat is not None
    assert seat.backlog.end == WINDOW_BYTES
    await far.say("ack", 100_000)
    await far.until(lambda: len(far.output()) >= WINDOW_BYTES + 100_000)
    assert seat.backlog.end == WINDOW_BYTES + 100_000


async def test_a_program_may_be_further_ahead_of_a_server_that_says_so(room: Room) -> None:
    """And only at the attachment at which it was said."""
    far = await opened(room, "yes")
    await far.until(lambda: len(far.output()) >= WINDOW_BYTES)
    assert far.messages[0][1]["widens"] is True
    await far.say("window", WIDE_WINDOW_BYTES)
    await far.until(lambda: len(far.output()) >= WIDE_WINDOW_BYTES)
    seat = seat_of(room.live.find("s_1"))
    assert seat is not None
    assert seat.backlog.end == WIDE_WINDOW_BYTES
    again = Far(room, offset=WIDE_WINDOW_BYTES - 10)
    await again.until(lambda: len(again.output()) >= 10 + WINDOW_BYTES - 10)
    assert seat.backlog.end == WIDE_WINDOW_BYTES - 10 + WINDOW_BYTES


async def test_a_new_attachment_takes_the_place_of_the_old_and_misses_nothing(room: Room) -> None:
    far = await opened(room, "stty -echo; printf one; read x; printf two; read y")
    await far.until(lambda: far.output() == b"one")
    again = Far(room, offset=2)
    await again.until(lambda: again.output() == b"e")
    await far.until(lambda: far.error is not None)
    await again.say("input", b"\r", "oli")
    await again.until(lambda: again.output() == b"e" + b"two")
    assert again.messages[0][0] == "opened"


async def test_what_is_typed_is_told_back_only_while_it_echoes(room: Room) -> None:
    """No password reaches a recording."""
    far = await opened(room, "printf ready; read a; stty -echo; printf secret:; read b; stty echo; printf done")
    await far.until(lambda: b"ready" in far.output())
    await far.say("input", b"shown\r", "oli")
    await far.until(lambda: b"secret:" in far.output())
    await far.say("input", b"hidden\r", "oli")
    await far.until(lambda: "exit" in far.words())
    assert [message[2] for message in far.messages if message[0] == "typed"] == [b"shown\r"]
    assert b"hidden" not in far.output()


async def test_who_types_is_on_record(room: Room) -> None:
    far = await opened(room, "cat")
    await far.until(lambda: "opened" in far.words())
    for who in ("oli", "oli", "tom"):
        await far.say("input", b"x\r", who)
    await far.until(lambda: far.output().count(b"x\r\n") == 6)
    events = [record.data for record in await room.premises.records() if record.kind == "event"]
    assert [data["by"] for data in events if data["event"] == "terminal.keyboard"] == ["oli", "tom"]


@pytest.mark.parametrize("message", [["ack", 1 << 30], ["shell"], ["input", b"", "x"], 5, ["resize", 0, 0]])
async def test_a_server_that_makes_no_sense_loses_its_attachment_and_not_the_program(room: Room, message: Any) -> None:
    far = await opened(room, "printf here; read x; printf there")
    await far.until(lambda: far.output() == b"here")
    await far.pipe.send(message)
    await far.until(lambda: far.error is not None)
    again = Far(room, offset=4)
    await again.until(lambda: "opened" in again.words())
    await again.say("input", b"\r", "oli")
    await again.until(lambda: again.output().endswith(b"there"))


async def test_what_the_program_has_taken_is_told_now_and_then(room: Room) -> None:
    """Not for each key, which would cost as much as the key."""
    far = await opened(room, "stty raw -echo; printf ready; head -c 49152 | wc -c; read x")
    await far.until(lambda: b"ready" in far.output())

    def took() -> list[int]:
        return [each[1] for each in far.messages if each[0] == "took"]

    for _ in range(3):
        await far.say("input", b"x" * (16 << 10), "oli")
    await far.until(lambda: max(took(), default=0) > 49152 - (8 << 10))
    await far.until(lambda: b"49152" in far.output())
    assert max(took()) <= 49152
    assert len(took()) <= 6, "at most each eight KiB"
    await far.say("input", b"\n", "oli")
    await far.until(lambda: "exit" in far.words())
    assert far.messages[-1][1]["code"] == 0


READS = "stty -echo; trap 'echo signal' USR1; echo ready; while :; do read -r l && echo got-$l; done"


async def test_what_is_typed_waits_while_it_is_held(room: Room) -> None:
    """Also over a new attachment: a link that was lost lets nothing go."""
    far = await opened(room, READS)
    await far.until(lambda: b"ready" in far.output())
    assert far.messages[0][1]["holds"] is True
    await far.say("hold", True)
    await far.say("input", b"one\r", "mia")
    await far.say("signal", "USR1")
    await far.until(lambda: b"signal" in far.output())  # what was typed before would have been read by now
    assert b"got-" not in far.output()
    again = Far(room, offset=0)
    await again.until(lambda: "opened" in again.words())
    await again.say("input", b"two\r", "mia")
    await again.say("signal", "USR1")
    await again.until(lambda: again.output().count(b"signal") == 2)
    assert b"got-" not in again.output()
    await again.say("hold", False)
    await again.until(lambda: b"got-one\r\ngot-two\r\n" in again.output())


async def test_a_paste_that_is_held_stops_where_it_is(room: Room, tmp_path: Path) -> None:
    """What the kernel has already is read, some 20 KiB; the rest waits, and comes whole when it goes on."""
    os.mkfifo(tmp_path / "go")
    far = await opened(room, f"stty -echo; trap 'echo signal' USR1; echo ready; read -r go <{tmp_path}/go; n=0; "
                             "while [ $n -lt 3072 ]; do read -r l && n=$((n+1)) && echo $n; done")  # fmt: skip
    await far.until(lambda: b"ready" in far.output())
    seat = seat_of(room.live.find("s_1"))
    assert seat is not None
    for _ in range(3):
        await far.say("input", (b"x" * 15 + b"\r") * 1024, "mia")
    await far.until(lambda: seat._taken > 0)
    await far.say("hold", True)
    with open(tmp_path / "go", "w", encoding="ascii") as go:
        go.write("go\n")
    await far.until(lambda: b"\r\n512\r\n" in far.output())
    for number in range(1, 6):
        await far.say("signal", "USR1")
        await far.until(lambda number=number: far.output().count(b"signal") == number)
    assert seat._waiting_bytes >= 24 << 10
    await far.say("hold", False)
    await far.until(lambda: far.output().endswith(b"\r\n3072\r\n"))
    assert seat._waiting_bytes == 0


async def test_more_than_there_is_room_for_is_not_taken(room: Room) -> None:
    far = await opened(room, "stty raw -echo; printf ready; sleep 1000")
    await far.until(lambda: b"ready" in far.output())
    for _ in range(20):
        await far.say("input", b"x" * (16 << 10), "oli")
    await far.until(lambda: far.error is not None)


@pytest.mark.parametrize(
    ("opens", "code"),
    [
        (None, "not_found"), ("sh", "invalid_argument"), ({"shell": "x"}, "invalid_argument"),
        ({"argv": 5}, "invalid_argument"), ({"argv": ["/no/such"]}, "not_found"), ({"env": {}}, "invalid_argument"),
    ],
)  # fmt: skip
async def test_what_cannot_be_opened_is_said(room: Room, opens: Any, code: str) -> None:
    await room.live.open(Wish("s_1", "terminal", "admin", "oli", "T-1", {}))
    far = Far(room, open=opens)
    await far.until(lambda: "exit" in far.words())
    assert far.messages[-1][1]["error"]["code"] == code


async def test_a_session_of_another_kind_gets_none(room: Room) -> None:
    """What an operator signed for files opens no shell."""
    await room.live.open(Wish("s_1", "files", "admin", "oli", "T-1", {}))
    far = Far(room, open=asks("true"))
    await far.until(lambda: far.error is not None)
    assert "denied" in str(far.error)


async def test_with_its_session_everything_ends(room: Room) -> None:
    far = await opened(room, "trap '' HUP TERM; sleep 1000 & echo $! $$; wait; sleep 1000")
    await far.until(lambda: far.output().count(b"\n") == 1)
    pids = [int(word) for word in far.output().split()]
    await room.live.close("s_1", "done")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def happened(far: Far, what: str) -> list[dict[str, Any]]:
    return [each[2] for each in far.messages if each[0] == "event" and each[2]["what"] == what]


async def test_programs_that_come_and_go_are_told(room: Room) -> None:
    far = await opened(room, "sleep 1000 & read x; kill $!; wait; read y")
    await far.until(lambda: any(each["argv"][0] == "sleep" for each in happened(far, "started")))
    await far.say("input", b"\r", "oli")
    await far.until(lambda: any(each["argv"] == ["sleep"] for each in happened(far, "ended")))


async def test_what_it_is_made_from_is_told_first(room: Room) -> None:
    far = await opened(room, "read x")
    await far.until(lambda: happened(far, "started"))
    first = next(each[2] for each in far.messages if each[0] == "event")
    assert first["what"] == "sources"
    assert first["processes"] in ("told", "looked for")
    assert first["files"] or first["why"]["files"]


@needs_fanotify
async def test_files_that_change_in_it_are_told(room: Room, tmp_path: Path) -> None:
    far = await opened(room, f"cd {tmp_path}; echo a >one; mv one two; rm two; exit 4")
    await far.until(lambda: "exit" in far.words())
    # What happens to one file between two looks is told at once; where a look comes between, it is told in two.
    assert [(word, each["path"]) for each in happened(far, "file") for word in each["did"]] == [
        ("created", f"{tmp_path}/one"),
        ("written", f"{tmp_path}/one"),
        ("renamed", f"{tmp_path}/one"),
        ("removed", f"{tmp_path}/two"),
    ]


async def test_what_is_printed_keeps_no_session_open_and_a_key_does(room: Room) -> None:
    far = await opened(room, "echo printed; read x; echo more; read y")
    session = room.live.find("s_1")
    await far.until(lambda: b"printed" in far.output())
    session.used_s = 0.0
    seat = seat_of(session)
    assert seat is not None
    seat._printed(b"more of it")
    assert session.used_s == 0.0
    await far.say("input", b"\r", "oli")
    await far.until(lambda: b"more\r" in far.output())
    assert session.used_s > 0.0
    session.used_s = 0.0
    await far.say("signal", "INT")
    await far.until(lambda: session.used_s)


async def test_who_types_hears_how_much_was_taken_also_while_nothing_is_printed(room: Room) -> None:
    """Else a paste into a program that says nothing, and reads at once, stands still when its window is full."""
    far = await opened(room, "stty raw -echo; printf ready; head -c 65536 >/dev/null; printf done; read x")
    await far.until(lambda: far.output() == b"ready")
    seat = seat_of(room.live.find("s_1"))
    assert seat is not None
    for number in range(1, 32):
        await far.say("input", bytes(2048), "oli")
        await far.until(lambda number=number: seat._taken == number * 2048)
    await far.until(lambda: [message for message in far.messages if message[0] == "took"][-1:] == [["took", 57_344]])
    assert far.output() == b"ready"
