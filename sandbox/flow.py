"""What a value of a script may stand for, as far as reading tells, and the notes that are made about it. Pure.

The rules by which nothing that runs is missed:

- What leads to calls is *powerful*: a family, the environment, a handle, a call itself. A powerful value is followed
  through variables, and through nothing else. Where it goes anywhere else it *escapes*, and that is noted: an escaped
  family may make any of its calls, an escaped call may be made with any arguments, an escaped handle may be used by
  whatever the script asks of things it does not know.
- A variable holds the union of all that is ever assigned to it, in whatever order; a file is
  read until nothing changes.
- So what is unknown holds nothing powerful that was not noted.

Constants are followed in the same way; there a mistake costs precision only, as calls do not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

MAX_VALUES = 8  # that one variable is followed with; more are as good as unknown
MAX_TEXT = 4096  # characters of a text that is put together from constants
MAX_READINGS = 8  # of one file; the chain of variables that takes more is made to be confusing
WIDEN_AFTER = 2  # readings, after which a constant that still changes is taken for unknown: a counter never settles


class Kind(StrEnum):
    """What an atom is. Texts, as values are sets of atoms and the hash of a plain enumeration is slow."""

    UNKNOWN = "unknown"
    NUMBER = "number"  # some number, certainly no text
    CONSTANT = "constant"
    TEXT = "text"  # pieces of text and parameters
    PARAMETER = "parameter"  # of the run
    CONTAINER = "container"  # a list or map that is written out where it is used; several results of one call
    CALL = "call"
    FAMILY = "family"
    HANDLE = "handle"
    ENVIRONMENT = "environment"
    BUILTIN = "builtin"
    MODULE = "module"


class Atom(NamedTuple):
    """One thing that a value may be. ``value`` is hashable."""

    kind: Kind
    name: str = ""  # of the family, call, parameter ...; the type of a constant, so that 1 and True are two
    value: Any = None


Value = frozenset[Atom]
NOTHING: Final[Value] = frozenset()
UNKNOWN_ATOM: Final = Atom(Kind.UNKNOWN)
UNKNOWN: Final[Value] = frozenset({UNKNOWN_ATOM})
SOME_NUMBER: Final[Value] = frozenset({Atom(Kind.NUMBER)})
_CONSTANT: Final = Kind.CONSTANT  # a look at an enumeration costs ten times as much
_CONTAINER: Final = Kind.CONTAINER
_FOLLOWED_EVER: Final = frozenset(
    {Kind.CALL, Kind.FAMILY, Kind.HANDLE, Kind.ENVIRONMENT, Kind.BUILTIN, Kind.MODULE, Kind.UNKNOWN, Kind.NUMBER}
)

_HARMLESS: Final = frozenset({Kind.UNKNOWN, Kind.NUMBER, Kind.CONSTANT, Kind.TEXT, Kind.PARAMETER})


@lru_cache(maxsize=4096)
def one(kind: Kind, name: str = "", value: Any = None) -> Value:
    """Return the value that is certainly this."""
    return frozenset({Atom(kind, name, value)})


@lru_cache(maxsize=4096, typed=True)
def constant(value: bool | int | float | str | bytes | None) -> Value:
    """Return a constant."""
    return one(Kind.CONSTANT, type(value).__name__, value)


def texts(value: Value) -> list[str] | None:
    """Return the texts among what ``value`` may be, if all of that is constant; None if it may be something else."""
    if not value or any(atom.kind is not _CONSTANT for atom in value):
        return None
    return sorted(atom.value for atom in value if atom.name == "str")


def joined(left: Value, right: Value) -> Value:
    """Return the union, with too many constants taken for unknown."""
    if left is right or right <= left:
        return left
    union = left | right
    if len(union) <= MAX_VALUES:
        return union
    return frozenset(atom for atom in union if atom.kind in _FOLLOWED_EVER) | UNKNOWN


_ALWAYS_TRUE: Final = frozenset({Kind.CALL, Kind.FAMILY, Kind.ENVIRONMENT, Kind.BUILTIN, Kind.MODULE})

_FALSE: Final[Value] = constant(None) | constant(False)


def chosen(values: Sequence[Value], *, is_and: bool) -> Value:
    """Return what ``a and b and c`` or ``a or b or c`` may give: never a family or a call that stands before an and."""
    found = NOTHING
    for number, value in enumerate(values, 1):
        if number == len(values):
            may_be = value
        elif is_and:
            may_be = frozenset(atom for atom in value if atom.kind not in _ALWAYS_TRUE)
        else:
            may_be = value - _FALSE
        found = joined(found, may_be)
    return found


def concatenated(left: Value, right: Value) -> Value:
    """Return the texts of ``left`` followed by those of ``right``, as far as they are known."""
    if not left or not right:
        return NOTHING
    if len(left) * len(right) > MAX_VALUES:
        return UNKNOWN
    return frozenset(_concatenated(first, second) for first in left for second in right)


def _concatenated(left: Atom, right: Atom) -> Atom:
    pieces = (*_pieces(left), *_pieces(right))
    if None in pieces:
        return UNKNOWN_ATOM
    merged: list[Any] = []
    for piece in pieces:
        if merged and type(piece) is str and type(merged[-1]) is str:
            merged[-1] += piece
        else:
            merged.append(piece)
    if sum(len(piece) for piece in merged if type(piece) is str) > MAX_TEXT or len(merged) > MAX_VALUES:
        return UNKNOWN_ATOM
    if len(merged) == 1 and type(merged[0]) is str:
        return Atom(Kind.CONSTANT, "str", merged[0])
    return Atom(Kind.TEXT, value=tuple(merged))


def _pieces(atom: Atom) -> tuple[Any, ...]:
    if atom.kind is Kind.CONSTANT and atom.name in ("str", "int"):
        return (str(atom.value),)
    if atom.kind is Kind.TEXT:
        pieces: tuple[Any, ...] = atom.value
        return pieces
    return (atom,) if atom.kind is Kind.PARAMETER else (None,)


def calculated(operator: str, left: Value, right: Value) -> Value:
    """Return what an operator makes of two whole numbers that are certain; else it is unknown."""
    if len(left) == 1 and len(right) == 1:
        (first,), (second,) = left, right
        if first.kind is second.kind is _CONSTANT and first.name == second.name == "int":
            result = _calculated(operator, first.value, second.value)
            if result is not None and -(1 << 63) <= result < 1 << 63:
                return constant(result)
    return UNKNOWN if left and right else NOTHING


def _calculated(operator: str, left: int, right: int) -> int | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//" if right:
            return left // right
        case "%" if right:
            return left % right
        case "<<" if 0 <= right < 64 and 0 <= left < 1 << 63:
            return left << right
    return None


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one call is given."""

    positional: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()
    is_open: bool = False  # more may come that is not known: a starred argument, or the call is made elsewhere


ANYTHING: Final = Arguments(is_open=True)


class Site(NamedTuple):
    """One place where a call is made, or where it gets out of sight to be made elsewhere (``ANYTHING``)."""

    place: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to call: read off the call tables, once."""

    calls: frozenset[str]
    families: Mapping[
        str, frozenset[str]
    ]  # family -> its calls; those of a family that is a kind of handle are methods
    opens: Mapping[str, str] = field(default_factory=dict)  # call -> kind of the handle that it gives
    streams: frozenset[str] = frozenset()  # calls that give more than one value in Lua
    maps: Mapping[str, frozenset[int]] = field(default_factory=dict)  # call -> places of arguments that are maps
    hidden: frozenset[str] = frozenset()  # families of nothing but methods of handles
    inner: frozenset[str] = frozenset()  # families of which the worker carries out every call itself, without the gate

    def is_ours(self, name: str) -> bool:
        """Return whether the global ``name`` is a family or a call without one."""
        return self.is_family(name) or name in self.calls

    def is_family(self, name: str) -> bool:
        """Return whether the global ``name`` is a family; one of nothing but methods is none."""
        return name in self.families and name not in self.hidden

    def is_guarded(self, name: str) -> bool:
        """Return whether replacing ``name`` makes a script mean something else than what it says.

        Not the words of ``inner`` families, such as ``path`` or ``hex``: scripts use those for things of their own, and
        the gate has nothing to decide behind them.
        """
        return self.is_ours(name) and name not in self.inner


@dataclass
class Notes:
    """What one reading of all files has found."""

    places: dict[str, list[str]] = field(default_factory=dict)  # call -> where its name is taken or it is made
    sites: dict[str, list[Site]] = field(default_factory=dict)
    unknown: dict[str, list[str]] = field(default_factory=dict)  # name that is no call and nothing else -> places
    absent: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # (module, member that it lacks) -> places
    dynamic: list[tuple[str, str, str | None]] = field(default_factory=list)  # place, what, family or None for all
    remarks: list[tuple[str, str]] = field(default_factory=list)  # place, what is wrong there
    asked: dict[str, list[str]] = field(default_factory=dict)  # member asked of something unknown -> places
    asked_anything: list[str] = field(default_factory=list)  # places where a computed member is asked of it
    escaped_handles: set[str] = field(default_factory=set)  # kinds


class Flow:
    """Values of variables, and notes. The readers of both languages drive it.

    A reader calls :meth:`begin` before each reading of all files and reads again while :meth:`is_settled` is false.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.notes = Notes()
        self._values: dict[Any, Value] = {}
        self._reading = 0  # number of the reading, from 1
        self._has_changed = True

    def begin(self) -> None:
        """Forget the notes, keep the values."""
        self.notes = Notes()
        self._reading += 1
        self._has_changed = False

    @property
    def is_settled(self) -> bool:
        """Whether the newest reading has told nothing new, so that its notes are the answer."""
        return not self._has_changed

    @property
    def is_exhausted(self) -> bool:
        """Whether there is no point in going on."""
        return self._reading >= MAX_READINGS

    @property
    def has_read_once(self) -> bool:
        """Whether everything was read before this reading."""
        return self._reading > 1

    # Variables

    def value(self, variable: Any) -> Value:
        """Return all that was assigned to ``variable``."""
        return self._values.get(variable, NOTHING)

    def is_assigned(self, variable: Any) -> bool:
        """Return whether anything was assigned to ``variable``."""
        return variable in self._values

    def assign(self, variable: Any, value: Value) -> None:
        """Note that ``variable`` may hold ``value``."""
        before = self._values.get(variable)
        if before is not None and value <= before:  # nothing new; what a variable holds has no containers
            return
        after = joined(before or NOTHING, _held(value))
        if before is not None and after == before:
            return
        if self._reading > WIDEN_AFTER and before is not None:
            after = frozenset(atom for atom in after if atom.kind in _FOLLOWED_EVER) | UNKNOWN
            if after == before:
                return
        self._values[variable] = after
        self._has_changed = True

    # Notes

    def take(self, name: str, place: str) -> Value:
        """Note that the script takes the call ``name``; return it."""
        if name in self.known.calls:
            self.notes.places.setdefault(name, []).append(place)
        else:
            self.notes.unknown.setdefault(name, []).append(place)
        return one(Kind.CALL, name)

    def note_dynamic(self, place: str, what: str, family: str | None = None) -> None:
        """Note a place where reading cannot tell what is called; of one family, or of everything."""
        self.notes.dynamic.append((place, what, family))

    def make(self, name: str, place: str, arguments: Arguments) -> Value:
        """Note that a call is made; return what it gives."""
        if name in self.known.calls:
            self.notes.places.setdefault(name, []).append(place)
            self.notes.sites.setdefault(name, []).append(Site(place, arguments))
        if name == "param" and len(arguments.positional) == 1 and not arguments.named:
            wanted = texts(arguments.positional[0])
            if wanted is not None:
                return frozenset(Atom(Kind.PARAMETER, text) for text in wanted)
        kind = self.known.opens.get(name)
        return UNKNOWN if kind is None else one(Kind.HANDLE, kind)

    def escape(self, value: Value, place: str) -> None:
        """Note that ``value`` goes where it is not followed."""
        for atom in value:
            if atom.kind in _HARMLESS:
                continue
            match atom.kind:
                case Kind.FAMILY if atom.name not in self.known.inner:
                    self.note_dynamic(place, f"{atom.name} is used as a value or with a computed name", atom.name)
                case Kind.ENVIRONMENT:
                    self.note_dynamic(place, f"{atom.name} is used as a value or with a computed name")
                case Kind.CALL if atom.name in self.known.calls:
                    self.notes.sites.setdefault(atom.name, []).append(Site(place, ANYTHING))
                    if atom.name in self.known.opens:
                        self.notes.escaped_handles.add(self.known.opens[atom.name])
                case Kind.HANDLE:
                    self.notes.escaped_handles.add(atom.name)
                case Kind.BUILTIN if atom.name == "getattr":
                    self.notes.asked_anything.append(place)
                case Kind.CONTAINER if atom.name == "results":
                    self.escape(atom.value, place)  # of any other, what is in it escaped when it was put there

    def escape_all(self, values: Iterable[Value], place: str) -> None:
        """Let each of them escape."""
        for value in values:
            for atom in value:
                if atom.kind not in _HARMLESS:  # few are
                    self.escape(value, place)
                    break

    # What both languages do to a value

    def member(self, target: Value, names: Sequence[str] | None, place: str, *, is_number: bool = False) -> Value:
        """Return the member of ``target``, whatever it may be.

        Args:
            target: What is looked into.
            names: All that the member's name can be; None if that cannot be told.
            place: Where.
            is_number: The name is certainly a number, as an index of a list is.
        """
        if target is UNKNOWN:  # most are
            self._ask(names, place, is_number=is_number)
            return UNKNOWN
        found: set[Atom] = set()
        held = {name for atom in target if atom.kind is Kind.MODULE for name in atom.value}
        for atom in target:
            match atom.kind:
                case Kind.FAMILY if names is None:
                    if not is_number:
                        self.escape(frozenset({atom}), place)
                case Kind.FAMILY:
                    for name in names or ():
                        call = f"{atom.name}.{name}"
                        if call in self.known.calls or name not in held:
                            found |= self.take(call, place)
                case Kind.HANDLE:
                    found |= self._of_handle(atom.name, names, place)
                case Kind.MODULE:
                    found |= self._of_module(atom, names, target, place)
                case Kind.UNKNOWN:
                    self._ask(names, place, is_number=is_number)
                    found.add(UNKNOWN_ATOM)
        return frozenset(found) or (UNKNOWN if target else NOTHING)

    def _of_handle(self, kind: str, names: Sequence[str] | None, place: str) -> Value:
        if names is None:
            self.note_dynamic(place, f"a method of a {kind} is taken by a computed name", kind)
            return NOTHING
        methods = [f"{kind}.{name}" for name in names if f"{kind}.{name}" in self.known.families.get(kind, ())]
        for method in methods:
            self.take(method, place)
        return frozenset(Atom(Kind.CALL, method, "of a handle") for method in methods)

    def _of_module(self, module: Atom, names: Sequence[str] | None, target: Value, place: str) -> Value:
        found: set[Atom] = set()
        is_family_too = any(atom.kind is Kind.FAMILY and atom.name == module.name for atom in target)
        for name in names or ():
            call = f"{module.name}.{name}"
            if name in module.value and call in self.known.calls and not is_family_too:
                found |= self.take(call, place)
            elif name not in module.value and len(target) == 1:
                self.notes.absent.setdefault((module.name, name), []).append(place)
        return frozenset(found)

    def _ask(self, names: Sequence[str] | None, place: str, *, is_number: bool) -> None:
        """Note what is asked of something unknown: it might be a handle that has escaped."""
        if names is None:
            if not is_number:
                self.notes.asked_anything.append(place)
        else:
            for name in names:
                self.notes.asked.setdefault(name, []).append(place)


def _held(value: Value) -> Value:
    """Return what a variable holds of ``value``: a list or map may change later, so its content is not known then."""
    for atom in value:
        if atom.kind is not _CONTAINER:
            continue
        return frozenset(atom for atom in value if atom.kind is not _CONTAINER) | UNKNOWN
    return value
