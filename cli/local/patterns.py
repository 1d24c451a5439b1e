"""From the paths that a run touched to the patterns that a manifest asks for: exact if it can be, wider if it must.

A run shows what was there on one day. What would be another path on the next is a pattern: numbers of processes, what a
parameter named, and the entries of a folder that the script itself listed or took many of. A path that stands in the
code stays what it is. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Set
from typing import Final

from policies.paths import PathPattern
from protocol.errors import ArgumentError

MANY: Final = 4  # files of one folder that stand for the folder; with fewer, each is named
MIN_DEPTH: Final = 2  # of a folder that its files may stand for: /etc and /var hold too much else
_MARKS: Final = re.compile(r"[*?\[\ud800-\udfff\n\r]")  # what a pattern or a document cannot hold as it is


def patterns(
    paths: Iterable[str], *, trees: Set[str], listed: Set[str], constants: Set[str], values: Set[str]
) -> tuple[str, ...]:
    """Return patterns that cover ``paths``, sorted, none of which another one covers.

    Args:
        paths: Absolute and real.
        trees: Directories of which everything below was allowed at once.
        listed: Directories that the script listed, by any call: what it found there are their entries.
        constants: Paths that stand in the code.
        values: Texts that the run was given as parameters.
    """
    made = {_tree(path) for path in trees}
    free: list[str] = []
    for path in paths:
        if path in constants:
            made.add(_plain(path))
        else:
            free.append(_without_ids(path, values))
    siblings = Counter(path.rpartition("/")[0] for path in set(free))
    for path in free:
        folder = path.rpartition("/")[0]
        count = siblings[folder]
        is_entry = folder in listed and count > 1
        is_many = count >= MANY and folder.count("/") >= MIN_DEPTH
        made.add(f"{folder}/*" if is_entry or is_many else path)
    return _fewest(made)


def _tree(path: str) -> str:
    return "/**" if path == "/" else f"{_plain(path)}/**"


def _plain(path: str) -> str:
    """Return the pattern for one path; what has a meaning in patterns is any character."""
    return _parsed(_MARKS.sub("?", path))


def _without_ids(path: str, values: Set[str]) -> str:
    parts = path.split("/")
    for at, part in enumerate(parts):
        is_process = part.isdecimal() and at >= 2 and parts[at - 1] in ("proc", "task", "fd", "fdinfo")
        if part and (is_process or part in values):
            parts[at] = "*"
        else:
            parts[at] = _MARKS.sub("?", part)
    return _parsed("/".join(parts))


def _parsed(text: str) -> str:
    """Return ``text`` if it is a pattern, else the folder that it lies in: of a path full of marks no more is known."""
    while True:
        try:
            return PathPattern.parse(text).text
        except ArgumentError:
            text = f"{text.removesuffix('/**').rpartition('/')[0]}/**"


def _fewest(made: set[str]) -> tuple[str, ...]:
    """Return the patterns without those that another one covers."""
    compiled = {text: PathPattern.parse(text) for text in made}
    kept = []
    for text in sorted(made):
        sample = text.removesuffix("/**")
        if not any(_covers(compiled[other], text, sample) for other in made if other != text):
            kept.append(text)
    return tuple(kept)


def _covers(pattern: PathPattern, text: str, sample: str) -> bool:
    if text.endswith("/**"):
        return bool(sample) and pattern.below(sample) is True and pattern.matches(sample)
    return (pattern.text.endswith("/**") and pattern.matches(text)) or ("*" not in text and pattern.matches(text))
