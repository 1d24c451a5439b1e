"""Ids of what the server keeps: which kinds there are, how each is written, and what may stand for one.

A person may type the beginning of an id instead of all of it. A beginning is looked up; what has the form of a whole
id is never taken for one, so that a program which has whole ids asks nobody and means nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.errors import ArgumentError

MIN_BEGINNING: Final = 6  # characters; of a session that leaves four digits, one in 65,536
MAX_CHARACTERS: Final = 64  # of an id of any kind
_DIGITS: Final = frozenset("0123456789abcdef")


class Kind(StrEnum):
    """What an id is of; the values are those of the API, and read in a sentence."""

    RUN = "run"
    SESSION = "session"
    SCHEDULE = "schedule"
    REVIEW = "review"
    GRANT = "grant"
    ACCESS = "access grant"
    REQUEST = "request"
    QUESTION = "question"
    WEBHOOK = "webhook"
    MESSAGE = "message"


#: How a whole id is written: what it begins with, and how many hexadecimal digits follow. Of two forms of a kind
#: neither begins with the other.
FORMS: Final[dict[Kind, tuple[tuple[str, int], ...]]] = {
    Kind.RUN: (("", 16), ("run_", 24)),  # ordered through a server; begun by a host
    Kind.SESSION: (("s_", 24),),
    Kind.SCHEDULE: (("", 16),),
    Kind.REVIEW: (("", 12),),
    Kind.GRANT: (("", 8),),
    Kind.ACCESS: (("a_", 8),),  # those that are shipped have names, and are looked up
    Kind.REQUEST: (("r_", 8),),
    Kind.QUESTION: (("q_", 12),),
    Kind.WEBHOOK: (("", 8),),
    Kind.MESSAGE: (("msg_", 24),),
}


def is_whole(text: str, kind: Kind) -> bool:
    """Tell whether a text has the form of a whole id of a kind."""
    return any(
        text.startswith(begin) and len(text) == len(begin) + digits and _DIGITS.issuperset(text[len(begin) :])
        for begin, digits in FORMS[kind]
    )


def check_beginning(text: str) -> None:
    """Return if a text can be an id or the beginning of one.

    Raises:
        ArgumentError: It is too short or too long, or has a character that no id has.
    """
    if not (text.isascii() and text.replace("_", "a").replace("-", "a").isalnum()):
        raise ArgumentError(f"{text!r:.80} is no id (letters, digits, _ and -)")
    if len(text) < MIN_BEGINNING:
        raise ArgumentError(f"{text!r} is too short for an id (its first {MIN_BEGINNING} characters at least)")
    if len(text) > MAX_CHARACTERS:
        raise ArgumentError(f"{text[:MAX_CHARACTERS]!r}... is too long for an id (at most {MAX_CHARACTERS} characters)")


def after(beginning: str) -> str:
    """Return the least text, by characters, above all that begin so: ``b7`` for ``b6``."""
    return beginning[:-1] + chr(ord(beginning[-1]) + 1)
