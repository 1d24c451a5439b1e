"""What ``require`` finds: files of the bundle that asks, and libraries that its manifest pins by digest. Pure.

A *unit* is one bundle: the program, or a library. What a unit can name is its own files and the libraries of its own
manifest; a library sees neither the program's files nor its libraries, so the same name may mean two versions at once.
Everything was fetched, proved and bounded before the worker got it: nothing is looked up while the script runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from protocol.errors import ProtocolError
from sandbox.runtimes import MAX_SOURCE_BYTES, CallError

PROGRAM: Final = ""  # the unit of the program itself
MAX_NAME_CHARS: Final = 200
_SUFFIXES: Final = {"lua": ".lua", "luajit": ".lua", "python": ".py"}


@dataclass(frozen=True, slots=True)
class Library:
    """One library, as a program carries it."""

    name: str  # as its author signed it
    main: str  # the file that ``require`` of its name runs
    files: Mapping[str, bytes]
    requires: Mapping[str, str] = field(default_factory=dict)  # name -> digest, a key of ``Libraries.held``

    def to_plain(self) -> list[Any]:
        """Return it for the start frame."""
        return [self.name, self.main, dict(self.files), dict(self.requires)]


@dataclass(frozen=True, slots=True)
class Libraries:
    """The libraries of a program."""

    requires: Mapping[str, str] = field(default_factory=dict)  # of the program itself: name -> digest
    held: Mapping[str, Library] = field(default_factory=dict)  # by digest

    def to_plain(self) -> list[Any]:
        """Return it for the start frame."""
        return [dict(self.requires), {digest: item.to_plain() for digest, item in self.held.items()}]

    @classmethod
    def from_plain(cls, plain: Any) -> Libraries:
        """Return what the start frame says; raises ProtocolError if the gate, which is trusted, sent nonsense."""
        try:
            requires, held = plain
            return cls(dict(requires), {digest: Library(*item) for digest, item in held.items()})
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"the libraries in the start frame are malformed: {type(error).__name__}") from None

    @property
    def size_bytes(self) -> int:
        """How many bytes all their files have together."""
        return sum(len(content) for item in self.held.values() for content in item.files.values())


NONE: Final = Libraries()


class Module(NamedTuple):
    """One file that can be required."""

    unit: str  # the bundle that it is of: ``PROGRAM`` or a digest; what it requires is looked up there
    path: str  # within that bundle
    shown: str  # how errors name it
    source: bytes


def modules(language: str, main: str, files: Mapping[str, bytes], libraries: Libraries) -> Iterator[Module]:
    """Yield all that a program may run: its main file, then what can be required, each file once, in a fixed order."""
    suffix = _SUFFIXES[language]
    if main in files:
        yield Module(PROGRAM, main, main, files[main])
    for path in sorted(files):
        if path != main and path.endswith(suffix):
            yield Module(PROGRAM, path, path, files[path])
    for digest, library in sorted(libraries.held.items()):
        for path in sorted(library.files):
            if path == library.main or path.endswith(suffix):
                yield Module(digest, path, f"{library.name}/{path}", library.files[path])


class Finder:
    """Finds modules for one program.

    Args:
        language: Of the program, and so of all its libraries.
        files: Of the program.
        libraries: Of the program.
    """

    def __init__(self, language: str, files: Mapping[str, bytes], libraries: Libraries) -> None:
        self._suffix = _SUFFIXES[language]
        self._files = files
        self._libraries = libraries

    def find(self, unit: str, name: object) -> Module:
        """Return what ``name`` means where ``unit`` asks for it: a pinned library, else a file of its own.

        Raises:
            CallError: ``not_found`` or ``invalid_argument``; says what is known.
        """
        if type(name) is not str or not 0 < len(name) <= MAX_NAME_CHARS:
            raise CallError("invalid_argument", "name: must be the name of a module", {"parameter": "name"})
        library = self._libraries.held.get(unit)
        files, requires = (
            (self._files, self._libraries.requires) if library is None else (library.files, library.requires)
        )
        if name in requires:
            return self._of_library(requires[name], name)
        path = self._own_path(files, name)
        if path is None:
            raise CallError("not_found", self._unknown(name, requires))
        shown = path if library is None else f"{library.name}/{path}"
        return _checked(Module(unit, path, shown, files[path]))

    def _of_library(self, digest: str, name: str) -> Module:
        library = self._libraries.held.get(digest)
        if library is None:
            raise CallError(
                "unavailable", f"{name} is no library for this language; a script is called with script.call"
            )
        return _checked(Module(digest, library.main, f"{library.name}/{library.main}", library.files[library.main]))

    def _own_path(self, files: Mapping[str, bytes], name: str) -> str | None:
        stem = name.removesuffix(self._suffix)
        for path in (stem + self._suffix, stem.replace(".", "/") + self._suffix):
            if path in files:
                return path
        return None

    def _unknown(self, name: str, requires: Mapping[str, str]) -> str:
        pinned = ", ".join(sorted(requires)) or "none"
        own = name.removesuffix(self._suffix)[:100] + self._suffix
        return (
            f"there is no module {name!r:.120}: it is neither the file {own} of this bundle nor pinned in the"
            f" manifest's requires (pinned: {pinned:.300})"
        )


def _checked(module: Module) -> Module:
    if len(module.source) > MAX_SOURCE_BYTES:
        raise CallError("too_large", f"{module.shown} is larger than {MAX_SOURCE_BYTES} bytes")
    return module
