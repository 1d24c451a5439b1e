"""``regex.*``: searches in linear time; ``protocol.regex`` is the engine and says what a pattern may hold.

What is searched may be text, or bytes that are no UTF-8: what comes back is of the same kind. Places are not told, as
the two languages count them differently; ``split`` and ``replace`` are there for what one would do with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.errors import ArgumentError
from protocol.regex import Found, Regex
from sandbox.pure.declared import MAX_BYTES, Refused, either, integer, pure, shown, text

MAX_MATCHES = 10_000
MAX_KEPT = 16  # compiled patterns of a run, each with its tables; one more starts afresh

Text = str | bytes
_kept: dict[str, Regex] = {}


def compiled(pattern: str) -> Regex:
    """Return the pattern, kept for the next time."""
    found = _kept.get(pattern)
    if found is None:
        try:
            found = Regex(pattern)
        except ArgumentError as error:
            raise Refused("pattern", str(error).removeprefix("pattern: ")) from None
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[pattern] = found
    return found


@pure("regex.test", pattern=text, text=either)
def test(pattern: str, text: Text) -> bool:
    """Tell whether the pattern matches anywhere."""
    return compiled(pattern).search(text) is not None


@pure("regex.find", pattern=text, text=either)
def find(pattern: str, text: Text) -> dict[str, Any] | None:
    """Return the leftmost match, or None."""
    found = compiled(pattern).search(text)
    return None if found is None else _match(found)


@pure("regex.find_all", pattern=text, text=either, limit=integer(1, MAX_MATCHES))
def find_all(pattern: str, text: Text, limit: int = 1000) -> list[dict[str, Any]]:
    """Return the first ``limit`` matches that do not overlap."""
    return [_match(found) for found, _ in zip(compiled(pattern).finds(text), range(limit), strict=False)]


def _match(found: Found) -> dict[str, Any]:
    return {"text": found.group(), "groups": list(found.groups()), "names": found.groupdict()}


@pure("regex.split", pattern=text, text=either, limit=integer(1, MAX_MATCHES))
def split(pattern: str, text: Text, limit: int = MAX_MATCHES) -> list[Text]:
    """Return what stands between the first ``limit`` matches, and after the last of them."""
    parts: list[Text] = []
    end = 0
    for found, _ in zip(compiled(pattern).finds(text), range(limit), strict=False):
        parts.append(text[end : found.start()])
        end = found.end()
    return [*parts, text[end:]]


@pure("regex.replace", pattern=text, text=either, replacement=text, limit=integer(1, MAX_MATCHES))
def replace(pattern: str, text: Text, replacement: str, limit: int = MAX_MATCHES) -> Text:
    """Return the text with its first ``limit`` matches replaced; ``$1`` and ``${name}`` are groups, ``$$`` is ``$``."""
    regex = compiled(pattern)
    pieces = _template(replacement, regex)
    as_given: Callable[[str], Any] = str if type(text) is str else str.encode
    parts: list[Any] = []
    end = size = 0
    for found, _ in zip(regex.finds(text), range(limit), strict=False):
        made = [text[end : found.start()]]
        made += [found.group(piece) or as_given("") if type(piece) is int else as_given(piece) for piece in pieces]
        end = found.end()
        size += sum(map(len, made))
        if size > MAX_BYTES:
            raise Refused("replacement", f"would make a text of more than {MAX_BYTES >> 20} MiB", "too_large")
        parts += made
    whole: Text = as_given("").join([*parts, text[end:]])
    return whole


def _template(replacement: str, regex: Regex) -> list[Any]:
    """Return the replacement as texts and numbers of groups."""
    first, *rest = replacement.split("$")
    pieces: list[Any] = [first]
    waiting = iter(rest)
    for part in waiting:
        if part == "":  # two in a row, or the last character
            following = next(waiting, None)
            if following is None:
                raise Refused("replacement", "ends with a single $; $$ stands for one")
            pieces.append("$" + following)
            continue
        name, after = _reference(part)
        pieces += [_group(name, regex), after]
    return pieces


def _reference(part: str) -> tuple[str, str]:
    if part[0] == "{" and "}" in part:
        name, _, after = part[1:].partition("}")
        return name, after
    if part[0] in "0123456789":
        return part[0], part[1:]
    raise Refused("replacement", "a $ must be followed by a digit, a {name} or another $")


def _group(name: str, regex: Regex) -> int:
    number = int(name) if name.isascii() and name.isdigit() and len(name) <= 3 else regex.names.get(name, -1)
    if not 0 <= number <= regex.groups:
        raise Refused("replacement", f"the pattern has no group {shown(name)}")
    return number


@pure("regex.escape", text=text)
def escape(text: str) -> str:
    """Return a pattern that matches just ``text``."""
    return "".join(character if _is_plain(character) else _escaped(character) for character in text)


def _is_plain(character: str) -> bool:
    return character.isalnum() or character == "_" or not character.isascii()


def _escaped(character: str) -> str:
    return "\\x00" if character == "\0" else f"\\{character}"
