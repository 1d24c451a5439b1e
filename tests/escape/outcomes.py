"""The words in which a technique says what it expects, and how each one is held against what was seen.

A word either fits exactly or the test fails; a word that is not in these tables does not exist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from technique import Expectation

OVER_MEMORY_BYTES: Final = 110 * 2**20  # a weakened run had this much; real ones get 64 MiB beside the interpreter's 20
OVER_TIME: Final = 2.0  # a weakened run went on for this many times the CPU seconds of the real one


@dataclass(slots=True)
class Seen:
    """What became of one run of one technique."""

    status: str  # ok | error | denied | killed
    reason: str | None
    value: Any  # what the attack returned
    token: str  # what the canary holds; whoever has it has read what it must not
    cpu_limit_s: float  # of the real run
    cpu_s: float = 0.0
    peak_bytes: int = 0
    touched: bool = False  # whether the file that only an escape can make is there
    again: Any = None  # what a second run of the same program returned
    said: list[str] = field(default_factory=list)  # what a gate or a log noted

    def __str__(self) -> str:
        told = f"{self.status}, {self.reason!r}, value {self.value!r:.500}, again {self.again!r:.200}"
        return f"{told}, said {self.said}, touched {self.touched}, {self.cpu_s:.2f} s, {self.peak_bytes >> 20} MiB"


Check = Callable[[Seen, str], bool]


def _is(seen: Seen, status: str, words: str) -> bool:
    return seen.status == status and words in (seen.reason or "")


def _json(detail: str) -> Any:
    return json.loads(detail)


def _killed(seen: Seen, detail: str) -> bool:
    words = {"seccomp": "made a system call that is not allowed (SIGSYS)"}.get(detail, detail)
    return _is(seen, "killed", words)


def _budget(seen: Seen, detail: str) -> bool:
    return seen.status == "killed" and re.search(rf"(^|: ){re.escape(detail)}: ", seen.reason or "") is not None


def _over(seen: Seen, detail: str) -> bool:
    if detail == "memory":
        return seen.peak_bytes > OVER_MEMORY_BYTES
    return seen.status == "killed" and seen.cpu_s >= OVER_TIME * seen.cpu_limit_s


def _refused(seen: Seen, detail: str) -> bool:
    return seen.status == "ok" and seen.value == {"errno": detail}


def _holds_token(seen: Seen, _detail: str) -> bool:
    return seen.status == "ok" and seen.token in json.dumps(seen.value)


def _is_value(seen: Seen, detail: str) -> bool:
    return seen.status == "ok" and bool(seen.value == _json(detail))


#: What may be expected of the real sandbox. None of them lets an effect through.
REAL: Final[dict[str, Check]] = {
    "error": lambda seen, detail: _is(seen, "error", detail),  # the script got an error and ended with it
    "denied": lambda seen, detail: _is(seen, "denied", detail),  # the gate denied the call
    "stopped": lambda seen, detail: (  # denied by a rule, or refused before one was asked; with these words
        seen.status in ("denied", "error") and re.search(detail, seen.reason or "") is not None
    ),
    "killed": _killed,  # seccomp, or words of the reason
    "budget": _budget,  # the named limit ended it
    "refused": _refused,  # the kernel refused with that error
    "harmless": _is_value,  # it ran to its end and got that value, which is worth nothing
    "differ": lambda seen, _: seen.status == "ok" and seen.value != seen.again,  # two workers share nothing
    "again": lambda seen, detail: seen.status == "ok" and bool(seen.again == _json(detail)),
    "logged": lambda seen, detail: seen.status == "ok" and detail in seen.said,  # exactly this line, and it is one
}

#: What may prove that the attack works where it is let.
PROOFS: Final[dict[str, Check]] = {
    "canary": _holds_token,  # it brought back what only the canary holds
    "touched": lambda seen, _: seen.touched,  # it made a file outside
    "value": _is_value,
    "matches": lambda seen, detail: seen.status == "ok" and bool(re.search(detail, str(seen.value))),
    "forged": lambda seen, detail: seen.status != "ok" and detail in (seen.reason or ""),  # it chose what we are told
    "over": _over,  # memory | time
    "crash": lambda seen, detail: _is(seen, "killed", detail),  # the process died of that signal
    "lost": lambda seen, detail: _is(seen, "killed", detail),  # it ended what must report its end
    "again": lambda seen, detail: seen.status == "ok" and bool(seen.again == _json(detail)),
    "same": lambda seen, _: seen.status == "ok" and seen.value == seen.again and seen.value is not None,
    "said": lambda seen, detail: any(detail in line for line in seen.said),  # the gate or the log was taken in
    "refused": _refused,  # a kernel that has closed this for all; the wall before it was really away
}


def check(expected: Expectation, seen: Seen, table: dict[str, Check]) -> str | None:
    """Return what is wrong, or None."""
    if expected.kind not in table:
        return f"{expected.kind!r} is no outcome (known: {', '.join(table)})"
    if not table[expected.kind](seen, expected.detail):
        return f"expected {expected}, saw {seen}"
    return None
