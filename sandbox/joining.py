"""A script and the libraries that it pins as one set of files, to be read together. Pure.

A library shares its globals with whoever requires it, so only together do they tell all that a run can do. No file may
stand for another: a bundle whose own file has the name that a library's file is given here must hide neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

_SUFFIXES: Final = {"lua": ".lua", "luajit": ".lua", "python": ".py"}
_DIGITS: Final = 8  # of a digest that are shown


class Pinned(NamedTuple):
    """One library that a script pins, directly or not; in the language of the script."""

    name: str
    digest: str  # sha256:...
    main: str
    files: Mapping[str, bytes]


def joined(language: str, files: Mapping[str, bytes], pinned: Iterable[Pinned]) -> dict[str, bytes]:
    """Return the files of a script, under their names, and those of its libraries, as ``lib/x@5f3c01aa/main.lua``.

    Args:
        language: Of the script.
        files: Of the script.
        pinned: Its libraries.
    """
    suffix = _SUFFIXES[language]
    found = dict(files)
    for library in pinned:
        short = library.digest.rpartition(":")[2][:_DIGITS]
        for path, content in library.files.items():
            shown = f"{library.name}@{short}/{path}"
            if path == library.main and not path.endswith(suffix):
                shown += suffix  # it runs whatever its suffix, so it is read
            while shown in found:
                shown = f"~{shown}"
            found[shown] = content
    return found
