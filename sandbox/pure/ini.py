"""``ini.*``: sections of ``key = value``, read by rules of our own rather than by ``configparser``.

The library's matcher needs the square of a line's length, changes the case of keys, spreads a section ``DEFAULT`` over
the others and tells nothing of a repeated key's place. Here:

- A line is empty, a comment (``#`` or ``;`` first), ``[section]``, ``key = value``, ``key: value`` or a bare ``key``,
  whose value is empty. A line that begins with a space or tab goes on with the value before it.
- Keys and sections keep their case. Nothing is interpolated, quoted or commented within a line.
- Keys before the first section are those of the section with the empty name.
"""

from __future__ import annotations

from typing import Any

from sandbox.pure.declared import Refused, mapping, one_of, pure, shown, text

Sections = dict[str, dict[str, Any]]


@pure("ini.decode", text=text, repeated=one_of("refuse", "last", "list"))
def decode(text: str, repeated: str = "refuse") -> Sections:
    """Return the sections; ``repeated`` says what becomes of a key that stands twice in one."""
    reader = _Reader(repeated)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        reader.read(line.rstrip("\r"), number)
    return reader.finish()


class _Reader:
    """Reads line by line. The values are lists of lines until the end, when they become texts."""

    def __init__(self, repeated: str) -> None:
        self._repeated = repeated
        self._section: dict[str, list[list[str]]] = {}
        self._sections = {"": self._section}
        self._open: list[str] | None = None  # the lines of the value that may go on

    def read(self, line: str, number: int) -> None:
        """Take one line."""
        bare = line.strip()
        if not bare or bare[0] in "#;":
            if not bare:
                self._open = None
        elif line[0] in " \t":
            self._go_on(bare, number)
        elif bare[0] == "[":
            self._begin_section(bare, number)
        else:
            self._begin_key(bare, number)

    def _go_on(self, bare: str, number: int) -> None:
        if self._open is None:
            raise _wrong(number, "is indented, but there is no value that it could go on with")
        self._open.append(bare)

    def _begin_section(self, bare: str, number: int) -> None:
        if bare[-1] != "]" or len(bare) == 2:
            raise _wrong(number, f"{shown(bare)} is no [section]")
        name = bare[1:-1].strip()
        if self._repeated == "refuse" and name in self._sections:
            raise _wrong(number, f"the section {shown(name)} stands twice")
        self._section = self._sections.setdefault(name, {})
        self._open = None

    def _begin_key(self, bare: str, number: int) -> None:
        ends = [place for place in (bare.find("="), bare.find(":")) if place >= 0]
        place = min(ends, default=len(bare))
        key = bare[:place].rstrip()
        if not key:
            raise _wrong(number, "has no key")
        self._open = [bare[place + 1 :].lstrip()]
        values = self._section.setdefault(key, [])
        if values and self._repeated == "refuse":
            raise _wrong(number, f"the key {shown(key)} stands twice in its section")
        if self._repeated != "list":
            values.clear()
        values.append(self._open)

    def finish(self) -> Sections:
        """Return what was read."""
        made: Sections = {}
        for name, section in self._sections.items():
            if name or section:
                made[name] = {key: _value(values) for key, values in section.items()}
        return made


def _value(values: list[list[str]]) -> str | list[str]:
    joined = ["\n".join(lines) for lines in values]
    return joined[0] if len(joined) == 1 else joined


def _wrong(number: int, problem: str) -> Refused:
    return Refused("text", f"line {number}: {problem}")


@pure("ini.encode", sections=mapping)
def encode(sections: dict[str, Any]) -> str:
    """Return the text of sections of texts, numbers and booleans; keys of the section ``""`` come first."""
    parts: list[str] = []
    for name in sorted(sections):
        section = mapping_of(sections[name], name)
        if name and (name != name.strip() or "\n" in name or "\r" in name):
            raise Refused("sections", f"{shown(name)} cannot be the name of a section")
        parts += ["", f"[{name}]"] if name and parts else [f"[{name}]"] if name else []
        parts += [line for key in sorted(section) for line in _lines(key, section[key])]
    return "".join(f"{line}\n" for line in parts)


def mapping_of(value: Any, name: str) -> dict[str, Any]:
    """Return a section, or refuse what is none."""
    if type(value) is dict:
        return value
    if value == []:
        return {}
    raise Refused("sections", f"{shown(name)} must be a map of keys to values")


def _lines(key: str, value: Any) -> list[str]:
    if not key or key != key.strip() or key[0] in "[#;" or any(mark in key for mark in "=:\r\n"):
        raise Refused("sections", f"{shown(key)} cannot be a key")
    return [f"{key} = {_written(key, item)}".rstrip() for item in (value if type(value) is list else [value])]


def _written(key: str, value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, float):
        return repr(value)
    if type(value) is not str or value != value.strip() or "\r" in value:
        raise Refused("sections", f"the value of {shown(key)} must be a text without space at its ends, or a number")
    lines = value.split("\n")
    if lines[0] != lines[0].strip() or any(line != line.strip() or not line or line[0] in "#;" for line in lines[1:]):
        raise Refused("sections", f"the value of {shown(key)} has a line that would not be read as a part of it")
    return "\n    ".join(lines)
