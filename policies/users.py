"""Users of a host as rules name them: as whom a program would start, and whether a rule is about that user. Pure.

- A user is who the host says that a name or a number stands for, never the text that somebody asked with: two names of
  one number are one user, by the first name that the host has for it.
- Number 0 is ``root`` whatever it is called, so that only a rule that says ``root`` gives it away.
- Who is to be in a group that is not theirs can do more than their name says, so no allowance that names users has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.errors import ArgumentError

ROOT: Final = "root"
MAX_NAME: Final = 64  # characters, as ``proc.exec`` takes it
MAX_USERS: Final = 64  # in one rule
_NEVER: Final = frozenset(":/,*?[]{}!%'\"")  # separators of passwd(5) and paths, and what reads like a pattern


@dataclass(frozen=True, slots=True)
class User:
    """One user of a host, as found there."""

    name: str  # the host's first name for the number; ``root`` for number 0
    others: tuple[str, ...] = ()  # what else the number is called there, sorted
    group: str = ""  # a group that is not theirs and that they are to be in; empty: none

    def is_allowed_by(self, names: Iterable[str]) -> bool:
        """Tell whether an allowance for users of these names has this one."""
        return not self.group and self.name in names

    def is_named_by(self, names: Iterable[str]) -> bool:
        """Tell whether a denial or a question about users of these names is about this one, by whatever name."""
        return any(name == self.name or name in self.others for name in names)

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.name} in group {self.group}" if self.group else self.name


def check_user_name(text: object, *, parameter: str) -> str:
    """Return ``text`` if it is the name of a user; a number is none, as it may be another user on each host.

    Raises:
        ArgumentError: It is not.
    """
    if type(text) is not str or not text:
        raise ArgumentError(f"{parameter}: names no user", parameter=parameter)
    if is_number(text):
        raise ArgumentError(f"{parameter}: {text:.20} is a number; rules name users by name", parameter=parameter)
    return check_account(text, parameter=parameter)


def check_account(text: str, *, parameter: str) -> str:
    """Return ``text`` if it can be the name or the number of a user or group.

    Raises:
        ArgumentError: It cannot: it is too long, or holds what no such name has, such as a line end.
    """
    is_name = len(text) <= MAX_NAME and text.isprintable() and text[:1] not in ("", "-", "+", "~")
    if not is_name or any(letter.isspace() or letter in _NEVER for letter in text):
        raise ArgumentError(f"{parameter}: {text!r:.80} is not the name of a user or group", parameter=parameter)
    if text.isdigit() and not text.isascii():  # some programs take such digits for numbers
        raise ArgumentError(f"{parameter}: {text!r:.80} is written in other digits than 0 to 9", parameter=parameter)
    return text


def is_number(text: str) -> bool:
    """Tell whether a name that was checked is a number."""
    return text.isdigit() and text.isascii()


def read_users(texts: object, *, parameter: str) -> tuple[str, ...]:
    """Return the names in a list that names at least one user; none of them twice.

    Raises:
        ArgumentError: It is no such list.
    """
    if not isinstance(texts, list | tuple) or not texts:  # an empty one would be about nobody, and read as anybody
        raise ArgumentError(f"{parameter}: names no user", parameter=parameter)
    if len(texts) > MAX_USERS:
        raise ArgumentError(f"{parameter}: at most {MAX_USERS}", parameter=parameter)
    return tuple(dict.fromkeys(check_user_name(text, parameter=parameter) for text in texts))
