"""One technique is one file: a small strict header in its first comment lines, then the attack and nothing else.

    # title: what the attacker does, in one line
    # reference: where it is publicly known
    # real: what happens in the real sandbox, such as ``killed: seccomp``
    # weakened: which guards or walls are taken away, separated by commas
    # proof: what is then seen, such as ``canary``
    # limits: cpu=0.2, memory=32, calls=9  (optional: seconds, MiB)
    # needs: root                       (optional: without it the proof cannot be had and is skipped)
    # with: NEST = "(" * 5000           (optional: text too long to read, put where {{NEST}} stands)
    # open: what is to be done, where   (optional: the real sandbox does not hold yet)

Everything about a header that is not exactly so is an error: a battery that skips what it does not understand proves
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

#: Directory -> ending of its files. Python attacks are no ``.py``: some are no Python that any tool could read.
GROUPS: Final = {
    "lua": ".lua",
    "luajit": ".lua",
    "python": ".py.txt",
    "native": ".py",
    "channel": ".py",
    "calls": ".py",
}
MARKS: Final = {".lua": "--", ".py.txt": "#", ".py": "#"}

REQUIRED: Final = ("title", "reference", "real", "weakened", "proof")
OPTIONAL: Final = ("limits", "needs", "with", "open")
NEEDS: Final = frozenset({"root", "x86_64", "except_star_bug", "c_recursion_bug", "slow_digits", "ip"})

#: What counts as a public reference: an identifier of a public list, or a document that anybody can find.
_PUBLIC: Final = re.compile(r"CVE-\d{4}-\d{4,}|GHSA-[a-z0-9-]{14}|CWE-\d+|PEP \d+|RFC \d+|https?://\S+\.\S+")
_NAME: Final = re.compile(r"^[a-z][a-z0-9_]*$")
_LONG: Final = re.compile(r'^(?P<name>[A-Z]+) = "(?P<text>[^"]+)" \* (?P<times>[0-9]+)$')


class BadHeader(Exception):
    """A file says about itself what the battery does not understand."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expected outcome."""

    kind: str  # a word of ``outcomes.REAL`` or ``outcomes.PROOFS``
    detail: str  # what follows the colon; may be empty

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True, slots=True)
class Technique:
    """One file, read."""

    group: str
    name: str
    title: str
    reference: str
    real: Expectation
    weakened: tuple[str, ...]
    proof: Expectation
    source: str  # the whole file, long texts put in: the header is a comment in each of the languages
    attack: str  # the same without the header
    cpu_s: float = 1.0
    wall_s: float = 60.0  # what spins is ended by its CPU time long before, on the slowest machine as well
    memory_mib: int = 64
    calls: int = 1000
    needs: tuple[str, ...] = ()
    open: str = ""  # why the real sandbox does not hold yet; the test fails as soon as it does

    @property
    def id(self) -> str:
        """How pytest names it."""
        return f"{self.group}/{self.name}"


def read_all() -> list[Technique]:
    """Return every technique there is, sorted. Raises ``BadHeader``."""
    return [read(path, group) for group in GROUPS for path in files(group)]


def files(group: str) -> Iterator[Path]:
    """Yield the files of one group; a file with another ending than the group's is an error."""
    for path in sorted((HERE / group).iterdir()):
        if path.name == "__pycache__":
            continue
        if not path.name.endswith(GROUPS[group]):
            raise BadHeader(f"{group}/{path.name} does not end in {GROUPS[group]}")
        yield path


def read(path: Path, group: str) -> Technique:
    """Return the technique in ``path``."""
    name = path.name.removesuffix(GROUPS[group])
    return parse(path.read_text(encoding="utf-8"), group, name)


def parse(text: str, group: str, name: str) -> Technique:
    """Return the technique that ``text`` holds.

    Raises:
        BadHeader: Says which file and what about it.
    """
    where = f"{group}/{name}"
    if not _NAME.match(name):
        raise BadHeader(f"{where}: a name is made of small letters, digits and underscores")
    header, body = _split(text, MARKS[GROUPS[group]], where)
    missing = [key for key in REQUIRED if key not in header]
    if missing:
        raise BadHeader(f"{where}: the header lacks {', '.join(missing)}")
    order = [key for key in header if key in REQUIRED]
    if order != list(REQUIRED):
        raise BadHeader(f"{where}: the keys stand in the order {', '.join(REQUIRED)}")
    if not _PUBLIC.search(header["reference"]):
        raise BadHeader(f"{where}: the reference names no CVE, GHSA, CWE, PEP, RFC or address")
    if not body.strip():
        raise BadHeader(f"{where}: there is no attack")
    needs = tuple(_items(header.get("needs", "")))
    if not set(needs) <= NEEDS:
        raise BadHeader(f"{where}: needs {', '.join(sorted(set(needs) - NEEDS))}, which nobody knows")
    return Technique(
        group=group,
        name=name,
        title=header["title"],
        reference=header["reference"],
        real=_expectation(header["real"]),
        weakened=tuple(_items(header["weakened"])),
        proof=_expectation(header["proof"]),
        source=_filled(text, header.get("with"), where),
        attack=body,
        needs=needs,
        open=header.get("open", ""),
        **_limits(header.get("limits", ""), where),  # type: ignore[arg-type] # the names are checked there
    )


def _split(text: str, mark: str, where: str) -> tuple[dict[str, str], str]:
    header: dict[str, str] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not line.startswith(mark):
            return header, "\n".join(lines[number:])
        content = line.removeprefix(mark)
        if content.startswith("   ") and header:  # goes on with the line before
            last = next(reversed(header))
            header[last] += " " + content.strip()
            continue
        key, colon, value = content.strip().partition(": ")
        if not colon or not value.strip() or not content.startswith(" "):
            raise BadHeader(f"{where}: line {number + 1} of the header is not 'key: value'")
        if key in header or key not in REQUIRED + OPTIONAL:
            raise BadHeader(f"{where}: {key!r} is unknown or said twice")
        header[key] = value.strip()
    raise BadHeader(f"{where}: there is no attack")


def _items(text: str) -> Iterator[str]:
    return (item.strip() for item in text.split(",") if item.strip())


def _expectation(text: str) -> Expectation:
    kind, _, detail = text.partition(": ")
    return Expectation(kind, detail)


def _limits(text: str, where: str) -> dict[str, float | int]:
    known = {"cpu": ("cpu_s", float), "wall": ("wall_s", float), "memory": ("memory_mib", int), "calls": ("calls", int)}
    limits: dict[str, float | int] = {}
    for item in _items(text):
        name, _, value = item.partition("=")
        if name not in known:
            raise BadHeader(f"{where}: there is no limit {name!r}")
        field, kind = known[name]
        try:
            limits[field] = kind(value)
        except ValueError:
            raise BadHeader(f"{where}: {item!r} is no limit") from None
    return limits


def _filled(source: str, long: str | None, where: str) -> str:
    if long is None:
        return source
    match = _LONG.match(long)
    hole = "{{" + match["name"] + "}}" if match else ""
    if match is None or hole not in source:
        raise BadHeader(f"{where}: 'with' is not NAME = \"text\" * number, or nothing stands for it")
    return source.replace(hole, match["text"] * int(match["times"]))
