"""Values that people type on the command line: ``k=v`` pairs, labels, and the answer to "are you sure"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import click

from cli import exits
from cli.invocation import Invocation
from protocol.errors import ArgumentError
from protocol.units import format_duration, parse_duration


def segment(text: str) -> str:
    """Return a name or an id as one segment of a path, so that it cannot reach another resource.

    Raises:
        ArgumentError: It cannot be one: no name or id is empty, or has a step to another path in it.
    """
    if text in {"", ".", ".."} or "/" in text:
        raise ArgumentError(f"{text!r} is neither a name nor an id")
    return quote(text, safe="")


def pairs(given: Iterable[str], *, where: str) -> dict[str, str]:
    """Return ``k=v`` texts as a dict; the value may hold further ``=``.

    Raises:
        ArgumentError: A text without ``=``, an empty key, or a key given twice.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ArgumentError(f"{text!r} is not of the form key=value", where=where)
        if key in found:
            raise ArgumentError(f"{key!r} is given twice", where=where)
        found[key] = value
    return found


def typed(given: Mapping[str, str], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as their script declares them, from ``k=v`` texts.

    Args:
        given: As typed.
        declared: ``manifest.parameters`` as the server shows it.

    Raises:
        ArgumentError: Unknown, or not of its type. Everything else is for the server to judge.
    """
    from protocol.parameters import Parameter  # with all that reads documents; few commands need it

    found: dict[str, Any] = {}
    for name, text in given.items():
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise ArgumentError(f"the script has no parameter {name!r} (known: {known})", where="--arg")
        items = declared[name].get("items")
        of = None if items is None else Parameter(name, str(items.get("type")))
        found[name] = Parameter(name, str(declared[name].get("type")), items=of).convert(text)
    return found


def bounded(text: str, low_s: float, high_s: float, *, where: str) -> float:
    """Return a duration in seconds.

    Raises:
        ArgumentError: It is none, or not between the bounds.
    """
    seconds = parse_duration(text, where=where)
    if not low_s <= seconds <= high_s:
        least = f"{format_duration(low_s)} to " if low_s else "at most "
        raise ArgumentError(f"{text} is out of range ({least}{format_duration(high_s)})", where=where)
    return seconds


def labels(given: Iterable[str], *, where: str = "--label") -> dict[str, str]:
    """Return labels; raises as ``pairs``."""
    return pairs(given, where=where)


def ask_whom(invocation: Invocation, yes: bool) -> None:
    """Return if there is somebody to ask, or nothing to be asked.

    Raises:
        click.UsageError: Neither.
    """
    if not yes and not invocation.may_ask:
        raise click.UsageError("There is no terminal to ask on: use --yes.")


def sure(invocation: Invocation, question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        click.UsageError: There is nobody to ask, and ``--yes`` was not given.
        click.exceptions.Exit: The answer was no.
    """
    if yes:
        return
    ask_whom(invocation, yes)
    if not click.confirm(question, err=True):
        invocation.output.say("nothing was done")
        invocation.exit(exits.FAILURE)
