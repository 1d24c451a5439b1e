"""What a script may call, found by reading it: nothing that it can call at run time is missing from the answer.

A call is found wherever its name is taken (``fs.space``, also without calling it). Wherever a script does something
whose outcome reading cannot tell (a family as a value, a computed name, ``load``, ``_G`` as a value), the place is
reported as dynamic and the tier is the highest there is: ``calls`` is complete if and only if ``is_complete``.

Reads text only and executes nothing. Source that is not valid in its language, or not understood, gives syntax errors
with their places and no calls; a script with syntax errors cannot run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox import lua_names, lua_syntax, python_names, python_surface
from sandbox.lua_lexer import LexError
from sandbox.lua_surface import SURFACES
from sandbox.python_policy import SourceRefused, compile_script, parse
from sandbox.runtimes import MAX_SOURCE_BYTES

SUFFIXES = {"lua": ".lua", "luajit": ".lua", "python": ".py"}

_PYTHON_GLOBALS = (
    python_surface.STOCK
    | python_surface.GUARDED
    | python_surface.EXCEPTIONS
    | python_surface.CONSTANTS
    | {"HostError", "print"}
)
_LUA_ENVIRONMENTS = frozenset({"_G", "_ENV"})


@dataclass(frozen=True)
class Analysis:
    """What was found. Places are written ``main.lua:4``."""

    calls: Mapping[str, tuple[str, ...]]  # known call -> places where its name is taken
    unknown: Mapping[str, tuple[str, ...]]  # name that is no call and nothing else either -> places
    dynamic: tuple[str, ...]  # ``main.lua:4: fs is used as a value``
    tier: Tier  # lowest tier that covers every call; the highest of all if anything is dynamic
    syntax_errors: tuple[tuple[str, str], ...]  # (place, message); the place has no line where none is to blame

    @property
    def is_complete(self) -> bool:
        """True if ``calls`` holds every call that the script can make."""
        return not self.dynamic and not self.syntax_errors


def analyse(language: str, files: Mapping[str, bytes], main: str, known: Mapping[str, Tier]) -> Analysis:
    """Read the files of a script that are written in its language.

    Args:
        language: ``lua``, ``luajit`` or ``python``.
        files: All files of the bundle.
        main: The one that runs; read whatever its suffix.
        known: Every call there is, with its tier.

    Raises:
        ArgumentError: No such language.
        UnavailableError: This machine cannot read it: its build of lupa has no LuaJIT.
    """
    if language not in SUFFIXES:
        raise ArgumentError(f"{language!r} is not a language (known: {', '.join(SUFFIXES)})", parameter="language")
    found = _Found(known)
    if main not in files:
        found.syntax_errors.append((main, "the bundle has no such file"))
    read = _python_file if language == "python" else partial(_lua_file, flavour=language)
    for name in sorted(files):
        if name == main or name.endswith(SUFFIXES[language]):
            _file(found, name, files[name], read)
    return found.result()


class _FileReader(Protocol):
    def __call__(self, found: _Found, name: str, source: bytes) -> None: ...


def _file(found: _Found, name: str, source: bytes, read: _FileReader) -> None:
    if len(source) > MAX_SOURCE_BYTES:
        found.syntax_errors.append((name, f"the file is larger than {MAX_SOURCE_BYTES} bytes"))
        return
    read(found, name, source)


@dataclass
class _Found:
    """Gathers over all files."""

    known: Mapping[str, Tier]
    calls: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, list[str]] = field(default_factory=dict)
    dynamic: list[str] = field(default_factory=list)
    syntax_errors: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._families = {name.partition(".")[0] for name in self.known if "." in name}

    def is_ours(self, name: str) -> bool:
        """Return whether the global ``name`` is a family or a call without one."""
        return name in self._families or name in self.known

    def take(self, name: str, path: tuple[str, ...], place: str) -> None:
        """Note that the script takes ``path`` out of our global ``name``."""
        if name not in self._families:
            self._call(name, place)
        elif path:
            self._call(f"{name}.{path[0]}", place)
        else:
            self.note_dynamic(place, f"{name} is used as a value or with a computed name")

    def _call(self, call: str, place: str) -> None:
        (self.calls if call in self.known else self.unknown).setdefault(call, []).append(place)

    def note_unknown(self, name: str, path: tuple[str, ...], place: str) -> None:
        """Note a global that nobody defines."""
        self.unknown.setdefault(".".join((name, *path[:1])), []).append(place)

    def note_dynamic(self, place: str, what: str) -> None:
        """Note a place where reading cannot tell what will be called."""
        self.dynamic.append(f"{place}: {what}")

    def result(self) -> Analysis:
        """Return what was gathered."""
        tiers = [self.known[call] for call in self.calls]
        if self.dynamic or self.syntax_errors:
            tiers = [*self.known.values()]
        return Analysis(
            calls=_frozen(self.calls),
            unknown=_frozen(self.unknown),
            dynamic=tuple(self.dynamic),
            tier=max(tiers, default=Tier.COMPUTE),
            syntax_errors=tuple(self.syntax_errors),
        )


def _frozen(found: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(dict.fromkeys(places)) for name, places in sorted(found.items())}


def _lua_file(found: _Found, name: str, source: bytes, flavour: str) -> None:
    problem = lua_syntax.problem(source, name, flavour)
    if problem is not None:
        found.syntax_errors.append(problem)
        return
    try:
        listed = lua_names.names(source.decode("latin-1"))  # names are ASCII; bytes keep their places
    except LexError as error:
        found.syntax_errors.append((f"{name}:{error.line}", f"cannot be analysed: {error.message}"))
        return
    for line in listed.own_environments:
        found.note_dynamic(f"{name}:{line}", "_ENV is replaced")
    assigned = {use.name for use in listed.assigned}
    for use in listed.assigned:
        if found.is_ours(use.name) or use.name in _LUA_ENVIRONMENTS:
            found.note_dynamic(f"{name}:{use.line}", f"{use.name} is replaced")
    for use in listed.uses:
        _lua_use(found, use, assigned | SURFACES[flavour].names, f"{name}:{use.line}")


def _lua_use(found: _Found, use: lua_names.Use, defined: frozenset[str] | set[str], place: str) -> None:
    name, path = use.name, use.path
    while name in _LUA_ENVIRONMENTS and path:
        name, path = path[0], path[1:]
    if name in _LUA_ENVIRONMENTS:
        found.note_dynamic(place, f"{name} is used as a value or with a computed name")
    elif name == "load":
        found.note_dynamic(place, "load runs text that is not there yet")
    elif found.is_ours(name):
        found.take(name, path, place)
    elif name == use.name and name not in defined:
        found.note_unknown(name, path, place)


def _python_file(found: _Found, name: str, source: bytes) -> None:
    try:
        text = source.decode("utf-8")
        compile_script(text, name)
        listed = python_names.names(parse(text, name))
    except UnicodeDecodeError:
        found.syntax_errors.append((name, "the file is not valid UTF-8"))
        return
    except SourceRefused as error:
        place = name if error.line is None else f"{name}:{error.line}"
        found.syntax_errors.append((place, error.message))
        return
    except (RecursionError, MemoryError):
        found.syntax_errors.append((name, "the source is nested too deeply"))
        return
    _python_names(found, name, listed)


def _python_names(found: _Found, file: str, listed: python_names.Names) -> None:
    assigned = {use.name for use in listed.assigned}
    modules: dict[str, set[str]] = {}  # name -> the modules that it stands for
    for one in listed.imports:
        if one.member is None:
            modules.setdefault(one.name, set()).add(one.module)
        else:
            assigned.add(one.name)
        if found.is_ours(one.name) and (one.member is not None or one.module != one.name):
            found.note_dynamic(f"{file}:{one.line}", f"{one.name} is replaced")
    for use in listed.assigned:
        if found.is_ours(use.name):
            found.note_dynamic(f"{file}:{use.line}", f"{use.name} is replaced")
    for use in listed.uses:
        _python_use(found, use, assigned, modules.get(use.name, set()), f"{file}:{use.line}")


def _python_use(found: _Found, use: python_names.Use, assigned: set[str], modules: set[str], place: str) -> None:
    """Note one use; a family that is imported as a module too (json) may still be the family where it is used."""
    held = {name for module in modules for name in python_surface.MODULES[module]}
    is_of_module = bool(use.path) and use.path[0] in held
    if found.is_ours(use.name) and not (is_of_module and f"{use.name}.{use.path[0]}" not in found.known):
        found.take(use.name, use.path, place)
    elif modules and use.path and not is_of_module and use.name not in assigned:
        found.note_unknown(min(modules), use.path, place)
    elif not modules and use.name not in assigned and use.name not in _PYTHON_GLOBALS:
        found.note_unknown(use.name, use.path, place)
