"""What a hostile worker could send: made from a seed, so that each stream can be had again.

An attack is a list of steps: bytes to send, and answers to wait for. Polite steps get it far into a conversation,
hostile ones do what no honest worker does there. Nothing here knows the code that is attacked; frames are put together
by hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

NAMES: Final = (
    "time.now", "param", "fs.space", "fs.stat", "fs.list", "fs.read", "proc.command", "log.info", "log.error",
    "log.warning", "sys.memory", "sys.cpu", "sys.uptime", "sys.loadavg", "sys.disk_io", "net.counters", "check.ok",
)  # fmt: skip
NEVER_ANSWERED: Final = "sys.host"
STRANGE_NAMES: Final = (
    "", "no.such", "x" * 128, "x" * 129, "fs.read\n", "fs.\0read", "../fs.read", "fs.réad", "FS.READ", "fs.*", "*",
    "run-1:fs.read", "language.luajit", "__class__", "log.", "log.\u202e", "fs.read ", "\ufeffparam",
)  # fmt: skip
FORGED: Final = ("run-1", "run-2", "session-run-1", "r1", "s1", "root", "agent", "outrider")
MAX_FRAME: Final = 1 << 20
OK: Final = [3, 1, None, 0]
ERROR: Final = ["m", "main.lua:1", None]


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """Wait for one more frame from the gate."""


Step = Send | Answered


@dataclass(frozen=True, slots=True)
class Attack:
    """One stream."""

    steps: tuple[Step, ...]
    frames: int = 1  # frames sent, well-formed or not
    stays: bool = False  # at the end, stay and say nothing; else close
    wall_s: float | None = None
    seed: int | None = None

    @property
    def data(self) -> bytes:
        """All that is sent, for a peer that waits for nothing."""
        return b"".join(step.data for step in self.steps if isinstance(step, Send))


def packed(message: Any) -> bytes:
    """Return MessagePack of whatever it is."""
    data: bytes = msgpack.packb(message, use_bin_type=True, unicode_errors="surrogatepass")
    return data


def frame(body: bytes, length: int | None = None) -> bytes:
    """Return a frame, with its true length or another one."""
    return (len(body) if length is None else length & 0xFFFFFFFF).to_bytes(4, "big") + body


class Source:
    """Makes attacks from one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.random = random.Random(seed)
        self._hostile: tuple[tuple[int, Callable[[], bytes]], ...] = (
            (4, self._wrong_length), (4, self._deep_or_huge), (4, self._bytes_that_are_no_value),
            (6, self._wrong_shape), (3, self._forged), (3, self._wrong_result), (12, self._mutated), (2, self._noise),
            (3, self._two_calls), (2, self._after_the_result), (1, self._flood),
        )  # fmt: skip

    def attack(self) -> Attack:
        """Return the attack of this seed."""
        rng = self.random
        politeness = rng.choice((0.0, 0.5, 0.9, 0.97))
        is_reading = rng.random() < 0.8
        steps: list[Step] = [Answered()] if is_reading and rng.random() < 0.7 else []
        frames = 0
        for _ in range(rng.choice((1, 3, 10, 40))):
            frames += 1
            if rng.random() < politeness:
                data, waits = self._polite()
                steps += self._cut(data)
                if waits and (is_reading or rng.random() < 0.1):
                    steps.append(Answered())
            else:
                steps += self._cut(self._one(self._hostile))
        if rng.random() < 0.5:
            frames += 1
            steps += self._cut(frame(packed(OK)))
        if rng.random() < 0.02:
            steps += [Send(self._call(NEVER_ANSWERED)), Answered()]
        stays = rng.random() < 0.02
        return Attack(tuple(steps), frames, stays, 0.05 if stays else None, self._seed)

    # Honest frames ----------------------------------------------------------------------------------------------------

    def _polite(self) -> tuple[bytes, bool]:
        """Return what an honest worker may send, and whether it then waits."""
        if self.random.random() < 0.25:
            return frame(packed([2, self.random.randbytes(self.random.choice((1, 10, 300)))])), False
        return self._call(self._one_of(NAMES)), True

    def _call(self, name: str) -> bytes:
        named = {"n": self.plain(2)} if self.random.random() < 0.2 else {}
        return frame(packed([1, name, [self.plain(2) for _ in range(self.random.choice((0, 1, 1, 2)))], named]))

    def plain(self, levels: int) -> Any:
        """Return a value that may be sent."""
        rng = self.random
        if levels and rng.random() < 0.3:
            if rng.random() < 0.5:
                return [self.plain(levels - 1) for _ in range(rng.choice((0, 1, 3)))]
            return {self._one_of(FORGED) + str(n): self.plain(levels - 1) for n in range(rng.choice((0, 1, 3)))}
        return self._one_of(
            (None, True, 0, -1, 2**63 - 1, -(2**63), 1.5, "", "/etc", "missing", "a/\u202e", b"", b"\xff",
             b"missing\xff", "x" * 300, rng.randbytes(rng.choice((1, 40))), *FORGED)
        )  # fmt: skip

    # Hostile ones -----------------------------------------------------------------------------------------------------

    def _wrong_length(self) -> bytes:
        body = packed([1, "time.now", [], {}])
        length = self._one_of(
            (0, 1, len(body) - 1, len(body) + 1, 65535, MAX_FRAME, MAX_FRAME + 1, 2**31 - 1, 2**31, 2**32 - 1)
        )
        return frame(body, length)

    def _deep_or_huge(self) -> bytes:
        rng = self.random
        inside = self._one_of(
            (
                b"\x91" * rng.choice((13, 14, 15, 16, 17, 100, 5000)) + b"\xc0",
                b"\x81\xa1a" * rng.choice((13, 15, 16, 17, 1000)) + b"\xc0",
                b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
                b"\xdc\xff\xff" + b"\xc0" * 0xFFFF, b"\xdd\x00\x01\x86\xa1" + b"\x90" * 100_001,
                b"\xdd\x7f\xff\xff\xff\xc0", b"\xdf\x00\x00\x00\x02\xa1a",
            )
        )  # fmt: skip
        head = self._one_of((b"", b"\x94\x01\xa5param\x91", b"\x92\x03", b"\x92\x02"))
        tail = b"\x80" if head.startswith(b"\x94") else b""
        return frame(head + inside + tail)

    def _bytes_that_are_no_value(self) -> bytes:
        inside = self._one_of(
            (
                b"\xc1", b"\xd4\x01\x00", b"\xd6\xff" + bytes(4), b"\xd7\xff" + bytes(8), b"\xc7\x0c\xff" + bytes(12),
                b"\xd8\x05" + bytes(16), b"\xc8\x00\x01\x01\x00", b"\xc9\x00\x00\x00\x01\x01\x00",
                b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6), b"\xca\x7f\xc0" + bytes(2), b"\xca\xff\x80\0\0",
                b"\xa3\xed\xa0\x80", b"\xa1\xff", b"\xa2\xc0\x80", b"\xa4\xf4\x90\x80\x80",
                b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\x81\xc0\x02", b"\x81\x90\x02",
                b"\xcf" + b"\xff" * 8, b"\xc0\xc0", b"",
            )
        )  # fmt: skip
        head = self._one_of((b"", b"\x94\x01\xa5param\x91", b"\x92\x02", b"\x92\x03", b"\x94\x01"))
        return frame(head + inside + (b"\x80" if head.startswith(b"\x94\x01\xa5") else b""))

    def _wrong_shape(self) -> bytes:
        rng, name = self.random, self._one_of(NAMES)
        message: Any = self._one_of(
            (
                None, [], {}, "x", 1, [True, name, [], {}], [1.0, name, [], {}], [1], [1, name], [1, name, []],
                [1, name, [], {}, "run-2"], [1, name, {}, []], [1, name, [], []], [1, name.encode(), [], {}],
                [1, self._one_of(STRANGE_NAMES), [self.plain(2)], {}], [1, name, ["a\udcffb"], {}],
                [1, name, [1] * 50, {}], [1, name, [], {"": 1, "n\0": 2}], [[1, name, [], {}]],
                [0, ["x", {}, {}, 2**62, None, None]], [6, ["x", b""]],
                [rng.choice((-1, 4, 5, 127, 2**40)), name, [], {}], [2, "text"], [2], [2, b""], [2, b"x", 1],
                [2, [b"x"]],
                [1, "x" * rng.choice((127, 128, 129, 70_000)), [], {}], [1, name, [b"x" * 200_000], {}],
            )
        )  # fmt: skip
        return frame(packed(message))

    def _forged(self) -> bytes:
        name, whose = self._one_of(NAMES), self._one_of(FORGED)
        message: Any = self._one_of(
            (
                {"run": whose, "call": name}, [1, name, [], {"run": whose}],
                [1, name, [{"run": whose, "session": whose}], {}],
                [1, f"{whose}.{name}", [], {}], [1, name, [whose], {"n": whose}], [whose, name, [], {}],
                [1, name, [], {}, {"session": whose, "principal": "root", "verdict": "allow"}],
            )
        )  # fmt: skip
        return frame(packed(message))

    def _wrong_result(self) -> bytes:
        message, where, code = ERROR
        rest: Any = self._one_of(
            (
                [], [1], [{}], [1, None], [1, None, -1], [1, None, True], [1, None, 2**63], [1, None, "0"],
                [1, None, 0, 0], [1, False, 0], [1, {}, 0], [1, "denied", 0], [1, ERROR, 0], [1, None, 0, "run-1"],
                [None, ERROR, 0], [None, [message, where, "denied"], 0], [None, [message, where, "x" * 5000], 0],
                [None, ["MemoryError", where, code], 0], [None, [message, 7, code], 0], [None, [None], 0],
                [None, [None, None, None], 0], [[[]] * 5000, None, 0], [{"status": "ok", "result": 1, "error": None}],
            )
        )  # fmt: skip
        return frame(packed([3, *rest]))

    def _mutated(self) -> bytes:
        """Return an honest frame with a few bytes changed, put in, taken away or moved."""
        rng = self.random
        data = bytearray(self._polite()[0] if rng.random() < 0.8 else frame(packed(OK)))
        is_framed = rng.random() < 0.5  # whether the length is made true again
        if is_framed:
            del data[:4]
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(5):
                case 0 if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at:at] = rng.randbytes(rng.choice((1, 1, 4)))
                case 2:
                    del data[at : at + rng.choice((1, 1, 4))]
                case 3:
                    data[at:at] = data[rng.randrange(at + 1) : at]
                case _ if at < len(data):
                    data[at] = rng.choice(
                        (0x00, 0x7F, 0x80, 0x90, 0xA0, 0xC0, 0xC1, 0xC4, 0xCB, 0xD9, 0xDC, 0xDF, 0xFF)
                    )
        return frame(bytes(data)) if is_framed else bytes(data)

    def _noise(self) -> bytes:
        return self.random.randbytes(self.random.choice((1, 3, 4, 5, 64, 1000)))

    def _two_calls(self) -> bytes:
        return self._call(self._one_of(NAMES)) + self._call(self._one_of(NAMES))

    def _after_the_result(self) -> bytes:
        return frame(packed(OK)) + self._one((*self._hostile[:4], (4, lambda: self._call("log.info"))))

    def _flood(self) -> bytes:
        rng = self.random
        return self._one_of(
            (
                frame(packed([2, b""])) * 3000, frame(packed([2, b"x"])) * 3000, frame(packed([2, bytes(60_000)])) * 3,
                self._call("sys.memory") * 20, frame(packed([2, bytes(MAX_FRAME - 8)])), bytes(rng.choice((4, 4000))),
                frame(packed([2, b"x" * 64])) * 50 + self._call("log.info"), frame(b"\x90" * 5000, MAX_FRAME),
            )
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------------------

    def _cut(self, data: bytes) -> Iterable[Step]:
        """Return the bytes in one piece or in several."""
        rng = self.random
        if len(data) < 2 or rng.random() < 0.6:
            return [Send(data)]
        points = sorted(rng.randrange(1, len(data)) for _ in range(rng.choice((1, 2, 5))))
        return [Send(data[begin:end]) for begin, end in zip([0, *points], [*points, len(data)], strict=True)]

    def _one_of(self, options: Any) -> Any:
        return options[self.random.randrange(len(options))]

    def _one(self, weighted: tuple[tuple[int, Callable[[], bytes]], ...]) -> bytes:
        (made,) = self.random.choices([make for _, make in weighted], [weight for weight, _ in weighted])
        return made()


def attack(seed: int) -> Attack:
    """Return the attack of ``seed``."""
    return Source(seed).attack()
