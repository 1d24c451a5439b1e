"""The parameters that calls which start programs share, each declared once, and what becomes of secret ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Final

from protocol.errors import ArgumentError
from stdlib.handles import Private
from stdlib.parameters import ABSOLUTE, Bounds, Form, Length, text_problem

_OF_LANGUAGE: Final = re.compile(r"LANG|LC_[A-Z]{1,32}|TERM|COLORTERM|COLUMNS|LINES|NO_COLOR")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@+-]{0,64}")  # of no slash: a catalogue or a terminal from elsewhere is loaded
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
MAX_VARIABLE_BYTES: Final = 32 << 10  # of one name or value of the environment; the kernel takes 128 KiB (execve(2))

Argv = Annotated[list[str], Length(32 << 10)]
Directory = Annotated[str, Length(4095), ABSOLUTE]
Account = Annotated[str, Length(64)]  # a name or number of a user or group
Environment = Annotated[dict[str, Private], Length(MAX_VARIABLE_BYTES), Form(r"[^=]+", "is no name of a variable")]
Input = Annotated[Private, Length(512 << 10)]
Timeout = Annotated[float, Bounds(0.01, 600, "seconds")]


def steering(env: Mapping[str, Private | str], harmless: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of variables that may make another program of the one that is given them, sorted: all but those
    of language and terminal with plain values, and secrets, whose values no script chooses.

    Args:
        env: The variables.
        harmless: More that are none.
    """
    return tuple(sorted(name for name, item in env.items() if name not in harmless and not _is_harmless(name, item)))


def _is_harmless(name: str, item: Private | str) -> bool:
    if isinstance(item, Private) and item.is_secret:
        return True
    form = _ZONE if name == "TZ" else _PLAIN if _OF_LANGUAGE.fullmatch(name) else None
    value = item.reveal().decode("utf-8", "surrogateescape") if isinstance(item, Private) else item
    return form is not None and form.fullmatch(value) is not None


def revealed_input(stdin: Private | None) -> bytes:
    """Return what a program is to read; the redactor knows it from now on if it is a secret."""
    return b"" if stdin is None else stdin.reveal()


def revealed_environment(env: Mapping[str, Private]) -> dict[str, str]:
    """Return variables with their values; the redactor knows those that are secrets from now on.

    Raises:
        ArgumentError: A secret cannot be a variable; no value is in the text.
    """
    found = {}
    for name, item in env.items():
        value = item.reveal().decode("utf-8", "surrogateescape")
        problem = text_problem(value, MAX_VARIABLE_BYTES)
        if problem is not None:
            raise ArgumentError(f"env: the value of {name!r:.60} {problem}", parameter="env")
        found[name] = value
    return found
