"""What a script may call, found by reading it: nothing that it can call at run time is missing from the answer.

A call is found wherever its name is taken (``fs.space``, also without calling it), through variables that stand for a
family or a call, and with the arguments that are constant. Wherever a script does something whose outcome reading
cannot tell (a family handed on, a computed name, ``load``, ``_G`` as a value), the place is reported as dynamic and the
tier is what the whole family needs, or all of them: ``calls`` is complete if and only if ``is_complete``.

Reads text only and executes nothing. Source that is not valid in its language, or not understood, gives syntax errors
with their places and no calls; a script with syntax errors cannot run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox import call_tables, lua_parser, lua_syntax
from sandbox.call_tables import Parameter, Table, Tables, from_plain
from sandbox.flow import ANYTHING, Flow, Notes, Site
from sandbox.joining import Pinned, joined
from sandbox.lua_flow import LuaReader
from sandbox.lua_lexer import LuaSyntaxError
from sandbox.own_names import free_in
from sandbox.python_flow import PythonReader
from sandbox.python_policy import SourceRefused, compile_script, parse
from sandbox.risks import Risk, risks
from sandbox.runtimes import MAX_SOURCE_BYTES

__all__ = [
    "Analysis", "Called", "Need", "Pinned", "Risk", "Tables", "Use", "analyse", "from_plain", "joined", "risks",
]  # fmt: skip

SUFFIXES = {"lua": ".lua", "luajit": ".lua", "python": ".py"}
_TOO_DEEP = "the source is nested too deeply"


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a call is made, or handed on to be made elsewhere."""

    place: str
    arguments: Mapping[str, Mapping[str, Any]]  # parameter -> ``call_tables.plain``: kind, and values where known
    is_open: bool  # there may be more arguments than these

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        arguments = {name: dict(about) for name, about in self.arguments.items()}
        return {"where": self.place, "arguments": arguments, "open": self.is_open}


@dataclass(frozen=True, slots=True)
class Called:
    """One call that a script can make."""

    name: str
    tier: Tier
    places: tuple[str, ...]  # ``main.lua:4``: where its name is taken or it is made
    uses: tuple[Use, ...]  # none if it is only taken

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "call": self.name, "tier": self.tier.label, "places": list(self.places),
            "uses": [use.to_plain() for use in self.uses],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """What a manifest would have to ask for, as far as the arguments tell."""

    call: str
    paths: tuple[str, ...] = ()  # a parameter of the run in braces: ``/var/log/{service}``
    commands: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    is_bounded: bool = True  # False: there may be more paths, commands or targets than these

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        lists = {"paths": self.paths, "commands": self.commands, "targets": self.targets}
        return {
            "call": self.call,
            **{key: list(held) for key, held in lists.items() if held},
            "bounded": self.is_bounded,
        }


@dataclass(frozen=True)
class Analysis:
    """What was found. Places are written ``main.lua:4``."""

    calls: Mapping[str, Called]  # by name
    unknown: Mapping[str, tuple[str, ...]]  # name that is no call and nothing else either -> places
    suggestions: Mapping[str, str]  # unknown name -> the call whose name is most like it
    absent: Mapping[tuple[str, str], tuple[str, ...]]  # (module or library, member that it lacks) -> places
    wrong: tuple[tuple[str, str], ...]  # (place, what is certainly wrong with the arguments of a call)
    dynamic: tuple[str, ...]  # ``main.lua:4: fs is used as a value``
    tier: Tier  # lowest tier that covers every call, and every call of what is dynamic
    needs: tuple[Need, ...]  # for the calls that touch the host
    syntax_errors: tuple[tuple[str, str], ...]  # (place, message); the place has no line where none is to blame

    @property
    def is_complete(self) -> bool:
        """True if ``calls`` holds every call that the script can make."""
        return not self.dynamic and not self.syntax_errors


def analyse(
    language: str,
    files: Mapping[str, bytes],
    main: str,
    known: Mapping[str, Tier] | Iterable[Mapping[str, Any]] | Tables,
) -> Analysis:
    """Read the files of a script that are written in its language.

    Args:
        language: ``lua``, ``luajit`` or ``python``.
        files: All files of the bundle, and those of the libraries that it pins, as ``joined`` puts them together.
        main: The one that runs; read whatever its suffix.
        known: Every call there is, as the rows of ``Catalogue.tables``; or only with its tier, and then nothing is said
            about arguments. ``from_plain`` makes tables of the rows, for whoever asks often.

    Raises:
        ArgumentError: No such language.
        UnavailableError: This machine cannot read it: its build of lupa has no LuaJIT.
    """
    if language not in SUFFIXES:
        raise ArgumentError(f"{language!r} is not a language (known: {', '.join(SUFFIXES)})", parameter="language")
    if isinstance(known, Tables):
        tables = known
    else:
        tables = call_tables.from_tiers(known) if isinstance(known, Mapping) else from_plain(known)
    reading = _Reading(language, Flow(tables.known))
    if main not in files:
        reading.syntax_errors.append((main, "the bundle has no such file"))
    sources = {name: files[name] for name in sorted(files) if name == main or name.endswith(SUFFIXES[language])}
    free = free_in(tables.known.families, sources)
    for name, source in sources.items():
        reading.add(name, source, free[name], is_main=name == main)
    return _answer(tables, reading.notes(), reading.syntax_errors)


class _Reader(Protocol):
    """Reads one file, as often as it is asked to."""

    line: int

    def read(self) -> None: ...


@dataclass
class _Reading:
    """The files of one script."""

    language: str
    flow: Flow
    readers: dict[str, _Reader] = field(default_factory=dict)
    syntax_errors: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, source: bytes, free: frozenset[str], *, is_main: bool) -> None:
        """Parse one file."""
        if len(source) > MAX_SOURCE_BYTES:
            self.syntax_errors.append((name, f"the file is larger than {MAX_SOURCE_BYTES} bytes"))
        elif self.language == "python":
            self._add_python(name, source, free, is_main=is_main)
        else:
            self._add_lua(name, source, free)

    def _add_lua(self, name: str, source: bytes, free: frozenset[str]) -> None:
        problem = lua_syntax.problem(source, name, self.language)
        if problem is not None:
            self.syntax_errors.append(problem)
            return
        try:
            chunk = lua_parser.parse(source.decode("latin-1"), self.language)
        except LuaSyntaxError as error:
            self.syntax_errors.append((f"{name}:{error.line}", f"cannot be analysed: {error.message}"))
            return
        self.readers[name] = LuaReader(self.flow, chunk, name, self.language, free)

    def _add_python(self, name: str, source: bytes, free: frozenset[str], *, is_main: bool) -> None:
        try:
            text = source.decode("utf-8")
            compile_script(text, name)
            self.readers[name] = PythonReader(self.flow, parse(text, name), name, is_main=is_main, free=free)
        except UnicodeDecodeError:
            self.syntax_errors.append((name, "the file is not valid UTF-8"))
        except SourceRefused as error:
            place = name if error.line is None else f"{name}:{error.line}"
            self.syntax_errors.append((place, error.message))
        except (RecursionError, MemoryError):
            self.syntax_errors.append((name, _TOO_DEEP))

    def notes(self) -> Notes:
        """Read everything until nothing new is told."""
        flow = self.flow
        while True:
            flow.begin()
            for name, reader in list(self.readers.items()):
                try:
                    reader.read()
                except (RecursionError, MemoryError):
                    self.syntax_errors.append((f"{name}:{reader.line}", _TOO_DEEP))
                    del self.readers[name]
            if flow.is_exhausted and not flow.is_settled:
                for name in self.readers:
                    flow.note_dynamic(name, "what stands for what cannot be followed")
            if flow.is_settled or flow.is_exhausted:
                return self._shared(flow)

    def _shared(self, flow: Flow) -> Notes:
        """Where one file can require another, each leaves its globals to the others, the main one too."""
        if "require" in flow.notes.places:
            for reader in self.readers.values():
                if isinstance(reader, PythonReader):
                    reader.leave()
        return flow.notes


# From notes to the answer


def _answer(tables: Tables, notes: Notes, syntax_errors: Sequence[tuple[str, str]]) -> Analysis:
    dynamic = list(notes.dynamic)
    _handles(tables, notes, dynamic)
    calls = {name: _called(tables.calls[name], notes) for name in sorted(notes.places)}
    tiers = [called.tier for called in calls.values()]
    tiers += [tables.tier_of_family(family) for _, _, family in dynamic]
    if syntax_errors:
        tiers.append(tables.tier_of_family(None))
    return Analysis(
        calls=calls,
        unknown=_frozen(notes.unknown),
        suggestions=_suggestions(notes.unknown, tables),
        absent=_frozen(notes.absent),
        wrong=tuple(dict.fromkeys([*notes.remarks, *_wrong(tables, notes)])),
        dynamic=tuple(dict.fromkeys(f"{place}: {what}" for place, what, _ in dynamic)),
        tier=max(tiers, default=Tier.COMPUTE),
        needs=tuple(_need(tables.calls[name], notes) for name in calls if tables.calls[name].tier > Tier.COMPUTE),
        syntax_errors=tuple(syntax_errors),
    )


def _handles(tables: Tables, notes: Notes, dynamic: list[tuple[str, str, str | None]]) -> None:
    """Handles that got out of sight may be whatever the script asks something of: its words are their methods then."""
    for kind in sorted(notes.escaped_handles):
        for member, places in notes.asked.items():
            call = f"{kind}.{member}"
            if call in tables.calls:
                notes.places.setdefault(call, []).extend(places)
                notes.sites.setdefault(call, []).extend(Site(place, ANYTHING) for place in places)
        what = f"a {kind} is handed on, and here something is asked for by a computed name"
        dynamic += [(place, what, kind) for place in dict.fromkeys(notes.asked_anything)]


def _called(table: Table, notes: Notes) -> Called:
    places = dict.fromkeys(notes.places[table.name])
    uses = dict.fromkeys(notes.sites.get(table.name, ()))
    return Called(
        table.name, table.tier, tuple(sorted(places, key=_order)),
        tuple(_use(table, site) for site in sorted(uses, key=lambda site: _order(site.place))),
    )  # fmt: skip


def _order(place: str) -> tuple[str, int]:
    name, _, line = place.rpartition(":")
    return (name, int(line)) if line.isdecimal() else (place, 0)


def _use(table: Table, site: Site) -> Use:
    arguments = {name: call_tables.plain(value) for name, value in call_tables.bound(table, site.arguments).items()}
    return Use(site.place, arguments, site.arguments.is_open)


def _wrong(tables: Tables, notes: Notes) -> list[tuple[str, str]]:
    return [
        (site.place, message)
        for name, sites in sorted(notes.sites.items())
        for site in sites
        for message in call_tables.wrong(tables.calls[name], site.arguments)
    ]


def _need(table: Table, notes: Notes) -> Need:
    found: dict[str, list[str]] = {"path": [], "command": [], "target": []}
    is_bounded = True
    sites = notes.sites.get(table.name, [])
    for parameter in table.parameters or ():
        if parameter.role is None or not sites:
            continue
        given = [call_tables.bound(table, site.arguments).get(parameter.name) for site in sites]
        if not parameter.is_required:
            is_given = [value is not None or site.arguments.is_open for value, site in zip(given, sites, strict=True)]
            given = [value for value, may_be in zip(given, is_given, strict=True) if may_be]
        held, is_all = call_tables.texts_of([value for value in given if value is not None])
        if parameter.below:
            held = _with_what_lies_below(table, parameter, sites)
        found[parameter.role] += held
        is_bounded = is_bounded and is_all and None not in given
    paths, commands, targets = (tuple(sorted(set(held))) for held in found.values())
    return Need(table.name, paths, commands, targets, is_bounded)


def _with_what_lies_below(table: Table, parameter: Parameter, sites: Sequence[Site]) -> list[str]:
    """Return the paths that a parameter is given, each as a pattern of all below it where the call reaches that."""
    found = []
    for site in sites:
        values = call_tables.bound(table, site.arguments)
        texts, _ = call_tables.texts_of([values[parameter.name]] if parameter.name in values else [])
        is_tree = call_tables.reaches_below(table, parameter, site.arguments)
        found += [f"{text.rstrip('/')}/**" if is_tree else text for text in texts]
    return found


def _suggestions(unknown: Iterable[str], tables: Tables) -> dict[str, str]:
    names = sorted(unknown)[: call_tables.MAX_SUGGESTED]
    pairs = [(name, call_tables.nearest(name, tables.calls)) for name in names]
    return {name: like for name, like in pairs if like is not None}


def _frozen(found: Mapping[Any, Iterable[str]]) -> dict[Any, tuple[str, ...]]:
    return {name: tuple(dict.fromkeys(places)) for name, places in sorted(found.items())}
