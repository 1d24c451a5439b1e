"""The rules of a terminal that is far away: what its two ends say, what each holds, and when the program must wait.

Sans-I/O: the agent holds a :class:`Backlog`, the server an :class:`Audience`, and both check what comes with
:func:`from_agent` and :func:`to_agent`. Every byte of output has an offset, counted from the program's start.

    to the agent     ["input", data, by]   ["resize", cols, rows]   ["signal", name]   ["ack", offset]   ["redraw"]
                     ["watchers", count]   ["edited", number, outcome]   ["hold", is_held]   ["window", bytes]
    from the agent   ["opened", about]   ["output", offset, us, data]   ["took", bytes]   ["typed", us, data]
                     ["event", us, about]   ["notice", us, text]   ["exit", about]

- The agent keeps what the server has not confirmed, up to ``WINDOW_BYTES``; then the program's output is not read, so
  the program waits. That bounds memory while all is well and while the link is lost, by the same rule.
- While who types is shown so much that they see the end of it within ``LEAD_S`` all the same, an agent whose ``opened``
  says that it ``widens`` is told to keep ``WIDE_WINDOW_BYTES``, so that a flood does not stop for confirmations that
  are on their way. A new attachment begins without.
- The server confirms what is in the recording, but only so far that the program is never more than ``LEAD_BYTES`` ahead
  of what the person who types has seen: else Ctrl-C would stop a program whose output goes on for long. Whoever only
  watches holds up nobody.
- What is typed has a window of its own, so that a paste that the program does not read holds up no confirmation: the
  agent says how much of it the program has taken, counted from the attachment.
- While a terminal is held (a moderator paused it, or is missing), what was typed and not given to the program waits: at
  the server, and with ``hold`` at an agent whose ``opened`` says that it ``holds``. A lost link lets nothing go.
- A server that lost the link, or was started anew, says how far its recording goes, and goes on from there.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protocol.errors import ProtocolError
from protocol.frames import (
    LENGTH_BYTES,
    SHORT_BLOB,
    SHORT_BLOBS,
    blob_at,
    blob_head,
    decode,
    encode,
    number_at,
    prefixed,
)
from protocol.limits import INPUT_WINDOW_BYTES as INPUT_WINDOW_BYTES
from protocol.pipes import MAX_MESSAGE_BYTES

MAX_COLS: Final = 10_000  # struct winsize holds 65,535; nobody has such a screen
MAX_ROWS: Final = 10_000
WINDOW_BYTES: Final = 512 << 10  # between the program and the recording, and between that and who types
LEAD_BYTES: Final = WINDOW_BYTES * 3 // 4  # that a program is ahead of who types; 0.1 s for one who is shown 4 MB/s
WIDE_WINDOW_BYTES: Final = 1 << 20  # between the program and the recording, for who is shown this in LEAD_S
LEAD_S: Final = 0.1
PACE_S: Final = 0.02  # over which it is measured how much somebody is shown, at least
STEPS: Final = 8  # confirmations in one window: fewer cost pace, more cost messages
CHUNK_BYTES: Final = 120 << 10  # of output in one message, which fits one frame of a stream with its head
MAX_INPUT_BYTES: Final = 16 << 10  # of one message; a paste is cut into several
MAX_NOTICE_CHARACTERS: Final = 2_000
MAX_EVENT_FIELDS: Final = 32
SIGNALS: Final = ("INT", "QUIT", "TSTP", "HUP", "TERM", "KILL", "CONT", "USR1", "USR2")
OUTCOMES: Final = ("done", "failed", "declined")  # of a file that whoever types was asked to edit
_MAX_OFFSET: Final = 1 << 53
_MAX_OUTPUT_BYTES: Final = CHUNK_BYTES + 4096  # taken in one message
_OUTPUT: Final = b"\x94\xa6output"  # how such a message begins: a list of four, and its word
_INPUT: Final = b"\x93\xa5input"
_OUTPUT_HEAD: Final = struct.Struct(">I8sBQBQ")  # the length of a message, the above, and two numbers of eight bytes
_SHORT_OUTPUT: Final = struct.Struct(">8sBQBQBB")  # the same without the length, and the head of fewer than 256 bytes
_EIGHT_BYTES: Final = 0xCF  # the marker before each of them
_SMALL_BYTES: Final = 4 << 10  # chunks that were sent are kept together up to this


def _offset(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_OFFSET


def _bytes(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is bytes and 0 < len(value) <= most


def _within(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 1 <= value <= most


def _text(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is str and len(value) <= most


def _about(value: Any) -> bool:
    return type(value) is dict and len(value) <= MAX_EVENT_FIELDS


_TO_AGENT: Final[dict[str, tuple[Callable[[Any], bool], ...]]] = {
    "input": (_bytes(MAX_INPUT_BYTES), _text(200)),
    "resize": (_within(MAX_COLS), _within(MAX_ROWS)),
    "signal": (lambda value: value in SIGNALS,),
    "ack": (_offset,),
    "redraw": (),
    "watchers": (_offset,),
    "edited": (_offset, lambda value: value in OUTCOMES),
    "hold": (lambda value: type(value) is bool,),
    "window": (_within(WIDE_WINDOW_BYTES),),
}
_FROM_AGENT: Final[dict[str, tuple[Callable[[Any], bool], ...]]] = {
    "opened": (_about,),
    "output": (_offset, _offset, _bytes(_MAX_OUTPUT_BYTES)),
    "took": (_offset,),
    "typed": (_offset, _bytes(MAX_INPUT_BYTES)),
    "event": (_offset, _about),
    "notice": (_offset, _text(MAX_NOTICE_CHARACTERS)),
    "exit": (_about,),
}


def to_agent(message: Any) -> tuple[str, list[Any]]:
    """Return word and values of a message to the agent.

    Raises:
        ProtocolError: It has none of the forms above.
    """
    return _checked(message, _TO_AGENT)


def from_agent(message: Any) -> tuple[str, list[Any]]:
    """Return word and values of a message of the agent; raises as :func:`to_agent`."""
    return _checked(message, _FROM_AGENT)


def read_from_agent(body: bytes) -> tuple[str, list[Any]]:
    """Return word and values of a message of the agent as it came over a pipe; raises as :func:`to_agent`.

    Output, which nearly all is, is read in few steps; what is not plainly that is decoded, and checked, like all else.
    """
    if len(body) > _SHORT_OUTPUT.size:  # a little of it, as of a key, and as this agent writes it
        word, wide, offset, wide_too, time_us, blob, size = _SHORT_OUTPUT.unpack_from(body)
        if (
            word == _OUTPUT and wide == wide_too == _EIGHT_BYTES
            and blob == SHORT_BLOB and size == len(body) - _SHORT_OUTPUT.size
            and offset <= _MAX_OFFSET and time_us <= _MAX_OFFSET
        ):  # fmt: skip
            return "output", [offset, time_us, body[_SHORT_OUTPUT.size :]]
    return _output_of(body) or from_agent(decode(body, max_bytes=MAX_MESSAGE_BYTES))


def read_to_agent(body: bytes) -> tuple[str, list[Any]]:
    """Return word and values of a message to the agent, likewise."""
    begin = len(_INPUT) + 2
    if body.startswith(_INPUT) and len(body) > begin and body[begin - 2] == SHORT_BLOB:  # a little, as of a key
        end = begin + body[begin - 1]
        if begin < end < len(body) and len(body) == end + 1 + (body[end] & 0x1F) and body[end] & 0xE0 == 0xA0:
            try:
                return "input", [body[begin:end], body[end + 1 :].decode()]
            except UnicodeDecodeError:
                return to_agent(decode(body, max_bytes=MAX_MESSAGE_BYTES))
    return _input_of(body) or to_agent(decode(body, max_bytes=MAX_MESSAGE_BYTES))


def packed(message: list[Any]) -> bytes:
    """Return a message as it goes over a pipe, with its length before it."""
    return prefixed(encode(message, max_bytes=MAX_MESSAGE_BYTES))


def packed_output(chunk: tuple[int, int, bytes]) -> bytes:
    """Return the message ``output``, likewise, of a :class:`Chunk` or its three values."""
    offset, time_us, data = chunk
    head = SHORT_BLOBS[len(data)] if len(data) < len(SHORT_BLOBS) else blob_head(len(data))
    size = _OUTPUT_HEAD.size - LENGTH_BYTES + len(head) + len(data)
    first = _OUTPUT_HEAD.pack(size, _OUTPUT, _EIGHT_BYTES, offset, _EIGHT_BYTES, time_us)
    return b"".join((first, head, data))


def packed_input(data: bytes, by: bytes) -> bytes:
    """Return the message ``input``, likewise; ``by`` is a name as :func:`protocol.frames.encode` writes it."""
    head = SHORT_BLOBS[len(data)] if len(data) < len(SHORT_BLOBS) else blob_head(len(data))
    size = len(_INPUT) + len(head) + len(data) + len(by)
    return b"".join((size.to_bytes(LENGTH_BYTES, "big"), _INPUT, head, data, by))


def _output_of(body: bytes) -> tuple[str, list[Any]] | None:
    """Return what the decoder would make of output, and the form above allow; None if it is not plainly that."""
    if not body.startswith(_OUTPUT):
        return None
    offset = number_at(body, len(_OUTPUT))
    us = number_at(body, offset[1]) if offset is not None else None
    place = blob_at(body, us[1]) if us is not None else None
    if offset is None or us is None or place is None or place[1] != len(body):
        return None
    if offset[0] > _MAX_OFFSET or us[0] > _MAX_OFFSET or not 0 < place[1] - place[0] <= _MAX_OUTPUT_BYTES:
        return None
    return "output", [offset[0], us[0], body[place[0] :]]


def _input_of(body: bytes) -> tuple[str, list[Any]] | None:
    """Return what was typed, likewise; whose name it is is decoded."""
    place = blob_at(body, len(_INPUT)) if body.startswith(_INPUT) else None
    if place is None or not 0 < place[1] - place[0] <= MAX_INPUT_BYTES:
        return None
    begin, end = place
    if end >= len(body) or len(body) != end + 1 + (body[end] & 0x1F) or body[end] & 0xE0 != 0xA0:  # a short text
        return None
    try:
        return "input", [body[begin:end], body[end + 1 :].decode()]
    except UnicodeDecodeError:
        return None


def _checked(message: Any, forms: dict[str, tuple[Callable[[Any], bool], ...]]) -> tuple[str, list[Any]]:
    word = message[0] if type(message) is list and message and type(message[0]) is str else None
    wanted = forms.get(word) if word is not None else None
    if word is None or wanted is None:
        raise ProtocolError("a message of a terminal is of no known kind")
    values = message[1:]
    if len(values) != len(wanted) or not all(is_right(each) for is_right, each in zip(wanted, values, strict=True)):
        raise ProtocolError(f"a message {word} of a terminal does not have its form")
    return word, values


class Chunk(NamedTuple):
    """Some output, at its place."""

    offset: int
    time_us: int  # since the terminal was opened
    data: bytes

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.offset + len(self.data)

    def since(self, offset: int) -> Chunk:
        """Return what of it is not before ``offset``."""
        cut = max(0, offset - self.offset)
        return Chunk(self.offset + cut, self.time_us, self.data[cut:]) if cut else self


class Backlog:
    """The agent's side: output that the server has not confirmed, and what of it goes next."""

    def __init__(self, window: int = WINDOW_BYTES) -> None:
        self.end = 0  # offset of what is printed next
        self.confirmed = 0
        self._least = self._window = window
        self._sent: deque[Chunk] = deque()  # and not confirmed
        self._passed: list[bytes] = []  # sent after all of these, little by little; joined once
        self._passed_at, self._passed_us, self._passed_bytes = 0, 0, 0
        self._unsent: deque[Chunk] = deque()
        self._newest: list[bytes] = []  # not sent and after all of these; joined once, however small it came
        self._newest_us = 0
        self._sent_end = 0  # offset of what is sent next

    @property
    def room(self) -> int:
        """Bytes that may be read of the program now; 0: it must wait."""
        return max(0, self._window - (self.end - self.confirmed))

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self.end - self._sent_end

    def add(self, time_us: int, data: bytes) -> None:
        """Keep what was printed."""
        begin = self._unsent[-1].end if self._unsent else self._sent_end
        if self.end - begin + len(data) > CHUNK_BYTES:
            self._close_newest()
        if not self._newest:
            self._newest_us = time_us
        self._newest.append(data)
        self.end += len(data)

    def _close_newest(self) -> None:
        if self._newest:
            begin = self._unsent[-1].end if self._unsent else self._sent_end
            self._unsent.append(Chunk(begin, self._newest_us, b"".join(self._newest)))
            self._newest.clear()

    def pass_on(self, time_us: int, data: bytes) -> tuple[int, int, bytes] | None:
        """Keep what was printed as what is sent now, and return it as a chunk's values: a key takes few steps.

        Returns:
            None, and nothing is kept, if something waits before it, or it is much: then it is for :meth:`add`.
        """
        size = len(data)
        if self._unsent or self._newest or size >= _SMALL_BYTES:
            return None
        if self._passed_bytes + size > _SMALL_BYTES:
            self._close_passed()
        offset = self._sent_end
        if not self._passed:
            self._passed_at, self._passed_us = offset, time_us
        self._passed.append(data)
        self._passed_bytes += size
        self.end = self._sent_end = offset + size
        return offset, time_us, data

    def _close_passed(self) -> None:
        if self._passed:
            _append(self._sent, Chunk(self._passed_at, self._passed_us, b"".join(self._passed)), _SMALL_BYTES)
            self._passed.clear()
            self._passed_bytes = 0

    def next(self) -> Chunk | None:
        """Return what is to be sent now, None if all was."""
        if not self._unsent:
            self._close_newest()
        if not self._unsent:
            return None
        self._close_passed()
        chunk = self._unsent.popleft()
        self._sent_end = chunk.end
        _append(self._sent, chunk, _SMALL_BYTES)
        return chunk

    def confirm(self, offset: int) -> None:
        """The server has everything before ``offset``.

        Raises:
            ProtocolError: It cannot have it: that was not sent.
        """
        if offset > self._sent_end:
            raise ProtocolError(f"output was confirmed that was not sent ({offset})")
        self.confirmed = max(self.confirmed, offset)
        self._close_passed()
        while self._sent and self._sent[0].end <= self.confirmed:
            self._sent.popleft()

    def widen(self, window: int) -> None:
        """Keep up to ``window`` bytes from now on, but never less than at first."""
        self._window = max(self._least, window)

    def resume(self, offset: int) -> None:
        """Go on from ``offset`` at a new attachment; from the oldest that is kept if that is newer.

        Raises:
            ProtocolError: That was not printed yet.
        """
        if offset > self.end:
            raise ProtocolError(f"a terminal that printed {self.end} bytes cannot go on from {offset}")
        self._window = self._least
        self._close_newest()
        self._close_passed()
        kept = [*self._sent, *self._unsent]
        oldest = kept[0].offset if kept else self.end
        self._sent.clear()
        self._unsent = deque(chunk.since(offset) for chunk in kept if chunk.end > offset)
        self._sent_end = self._unsent[0].offset if self._unsent else self.end
        self.confirmed = max(self.confirmed, min(offset, self.end)) if offset >= oldest else self.confirmed


def _append(chunks: deque[Chunk], chunk: Chunk, most: int) -> None:
    """Append a chunk, to the last one if both are small: one of a byte costs as much as one of a hundred."""
    if chunks and len(chunks[-1].data) + len(chunk.data) <= most:
        last = chunks.pop()
        chunk = Chunk(last.offset, last.time_us, last.data + chunk.data)
    chunks.append(chunk)


@dataclass(slots=True)
class Watching:
    """One viewer, as far as the flow of output goes."""

    seen: int  # offset up to which it has said it has shown the output
    sent: int  # offset up to which it was sent
    skipped: int = 0  # bytes that it was not sent because it was too far behind
    paced: int = 0  # what it had seen when its pace was last measured
    paced_s: float = 0.0  # when that was, in seconds of whatever clock
    pace: float = 0.0  # bytes that it was shown in LEAD_S then


class Audience:
    """The server's side: how far the recording goes, how far each viewer is, and what may be confirmed.

    Args:
        stored: Where the recording ends.
        window: Bytes that the agent is ahead of what was confirmed, and a viewer's messages of what it has seen.
        lead: Bytes that the program may be ahead of what the person who types has seen.
        behind: Bytes that a viewer may be behind before it is sent on to nearly the newest.
    """

    def __init__(
        self, stored: int = 0, *, window: int = WINDOW_BYTES, lead: int = LEAD_BYTES, behind: int = 1 << 20
    ) -> None:
        self.stored = stored
        self.confirmed = stored
        self.viewers: dict[str, Watching] = {}
        self.typist: str | None = None  # whose pace counts
        self.step = window // STEPS  # bytes that are confirmed at once, at least
        self._window = window
        self._lead = lead
        self._behind = behind
        self._wide = 0  # what the agent's window is besides
        self.may_widen = False  # whether it knows of that

    def join(self, viewer: str, seen: int | None, back: int) -> Watching:
        """A viewer comes, with what it saw before; without that it gets the newest ``back`` bytes."""
        begin = self.stored - back if seen is None or seen > self.stored else max(seen, self.stored - self._behind)
        begin = max(0, begin)
        made = self.viewers[viewer] = Watching(begin, begin, 0 if seen is None else max(0, begin - seen))
        return made

    def leave(self, viewer: str) -> None:
        """A viewer is gone."""
        self.viewers.pop(viewer, None)

    def attached(self) -> None:
        """The agent was attached to anew: it has all confirmed that was stored, and its window is as at first."""
        self.confirmed = self.stored
        self._wide, self.may_widen = 0, False

    def saw(self, viewer: str, offset: int, now_s: float = 0.0) -> None:
        """A viewer says how far it is; one that claims to have seen what it was not sent is taken at what it was.

        Args:
            viewer: Who.
            offset: Up to where.
            now_s: By a clock that never runs backwards; how fast it is shown output is measured by it.
        """
        watching = self.viewers.get(viewer)
        if watching is None:
            return
        watching.seen = max(watching.seen, min(offset, watching.sent))
        passed_s = now_s - watching.paced_s
        if passed_s >= PACE_S:
            watching.pace = (watching.seen - watching.paced) / passed_s * LEAD_S
            watching.paced, watching.paced_s = watching.seen, now_s

    def widened(self) -> int | None:
        """Return what the agent's window is to be from now on; None if that is what it is.

        It is made wide, and so is the lead, for who types and is shown more than it in ``LEAD_S``; and as it was at
        first once they are shown less than half of it.
        """
        typist = self.viewers.get(self.typist) if self.typist is not None else None
        if typist is None or not self.may_widen:
            return None
        if not self._wide and typist.pace >= WIDE_WINDOW_BYTES:
            self._wide = WIDE_WINDOW_BYTES - self._window
        elif self._wide and typist.pace < WIDE_WINDOW_BYTES // 2:
            self._wide = 0
        else:
            return None
        return self._window + self._wide

    def next(self, viewer: str) -> tuple[int, int] | None:
        """Return from and to where a viewer is to be sent output now; None if it has all, or as much as it may."""
        watching = self.viewers.get(viewer)
        if watching is None or watching.sent >= self.stored or watching.sent - watching.seen >= self._window:
            return None
        if self.stored - watching.sent > self._behind and viewer != self.typist:
            begin = self.stored - self._window // 2
            watching.skipped += begin - watching.sent
            watching.sent = watching.seen = begin
        return watching.sent, min(self.stored, watching.sent + CHUNK_BYTES)

    def next_little(self, watching: Watching) -> int:
        """Return how many bytes follow what a viewer was sent, if they are few and it may be sent them; else 0.

        It is what :meth:`next` would come to, in few steps for a key.
        """
        size = self.stored - watching.sent
        return size if size < _SMALL_BYTES and watching.sent - watching.seen < self._window else 0

    def sent(self, viewer: str, offset: int) -> None:
        """A viewer was sent everything before ``offset``."""
        watching = self.viewers.get(viewer)
        if watching is not None:
            watching.sent = max(watching.sent, offset)

    def confirm(self) -> int | None:
        """Return up to where the agent is to be told that its output is safe; None if there is nothing new to tell."""
        most = self.stored
        typist = self.viewers.get(self.typist) if self.typist is not None else None
        if typist is not None:
            most = min(most, typist.seen + self._lead - self._window)  # the agent goes on for one window
        if most - self.confirmed < (self._window + self._wide) // STEPS:
            return None
        self.confirmed = most
        return most
