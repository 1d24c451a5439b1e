"""What analysis knows of the calls, from rows of plain data, and what it has to say about the arguments of one.

A row is what ``stdlib.catalogue.Catalogue.tables`` gives: ``name``, ``tier`` (its word), ``local`` (the worker carries
it out itself), ``gives`` (``value``, ``stream`` or ``handle``), ``handle`` (the kind that it gives), and
``parameters``, each with ``name``, ``kind``, ``required``, ``map`` and, where the kind has them, ``low``, ``high``,
``choices``, ``form`` and ``told`` (a pattern for the whole of a text, of each in a list or of each name in a map, and
what to say of one that it does not match) and ``role`` (``path``, ``command`` or ``target``: what needs and policies
narrow). Only what is certainly wrong is said: an argument of which every value that it may have is refused. The gate
remains the judge.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from protocol.tiers import Tier
from sandbox.flow import Arguments, Atom, Kind, Known, Value

MAX_SUGGESTED = 50  # names that one analysis looks for something similar to


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a call."""

    name: str
    kind: str  # the first word of what the reference shows decides what is checked
    is_required: bool = False
    low: float | None = None  # of a number, or of how many items a list has
    high: float | None = None
    choices: tuple[str, ...] = ()
    role: str | None = None  # path, command or target
    below: bool | str = False  # of a path, whether all below it is meant: always, or where this parameter is true
    form: re.Pattern[str] | None = None  # that texts have, or the names in a map
    told: str = ""  # of one that has it not
    is_map: bool = False  # in Lua a map in last place is its value, and no table of options


@dataclass(frozen=True, slots=True)
class Table:
    """One call."""

    name: str
    tier: Tier
    parameters: tuple[Parameter, ...] | None = None  # None: nothing is known of them
    gives: str = "value"
    handle: str = ""
    is_local: bool = False  # the worker carries it out itself

    @property
    def family(self) -> str:
        """The first word; empty for a bare word."""
        return self.name.rpartition(".")[0]

    @property
    def is_method(self) -> bool:
        """Whether it is a method of the handle that is its first parameter."""
        first = (self.parameters or (None,))[0]
        return first is not None and first.kind == f"handle {self.family}"


@dataclass(frozen=True)
class Tables:
    """All calls, by name."""

    calls: Mapping[str, Table]
    families: Mapping[str, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        families: dict[str, set[str]] = {}
        for table in self.calls.values():
            if table.family:
                families.setdefault(table.family, set()).add(table.name)
        object.__setattr__(self, "families", {name: frozenset(calls) for name, calls in families.items()})

    @cached_property
    def known(self) -> Known:
        """Return what following values needs to know."""
        opens = {name: table.handle for name, table in self.calls.items() if table.gives == "handle"}
        streams = frozenset(name for name, table in self.calls.items() if table.gives == "stream")
        inner = frozenset(
            name for name, calls in self.families.items() if all(self.calls[call].is_local for call in calls)
        )
        maps = {
            name: frozenset(
                place
                for place, item in enumerate(table.parameters or ())
                if item.is_map or (table.is_local and item.is_required)  # as ``sandbox.pure.declared`` binds them
            )
            for name, table in self.calls.items()
        }
        hidden = frozenset(
            name for name, calls in self.families.items() if all(self.calls[call].is_method for call in calls)
        )
        return Known(frozenset(self.calls), self.families, opens, streams, maps, hidden, inner)

    def tier_of_family(self, family: str | None) -> Tier:
        """Return what all calls of a family together need; of all families, for None or what is no family."""
        calls: Iterable[str] = ()
        if family is not None:
            calls = [family] if family in self.calls else self.families.get(family, ())
        return max((self.calls[name].tier for name in calls or self.calls), default=Tier.COMPUTE)


def from_tiers(tiers: Mapping[str, Tier]) -> Tables:
    """Return tables that know names and tiers only."""
    return Tables({name: Table(name, tier) for name, tier in tiers.items()})


def from_plain(rows: Iterable[Mapping[str, Any]]) -> Tables:
    """Return the tables that rows of plain data describe."""
    return Tables({row["name"]: _table(row) for row in rows})


def _table(row: Mapping[str, Any]) -> Table:
    parameters = tuple(
        Parameter(
            item["name"], item["kind"], item["required"], item.get("low"), item.get("high"),
            tuple(item.get("choices") or ()), item.get("role"), item.get("below", False),
            re.compile(item["form"]) if "form" in item else None, item.get("told", ""), item.get("map", False),
        )
        for item in row["parameters"]
    )  # fmt: skip
    return Table(
        row["name"], Tier.parse(row["tier"]), parameters, row.get("gives", "value"), row.get("handle", ""),
        row.get("local", False),
    )  # fmt: skip


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among ``known`` that is most like ``name``, if one is like it at all."""
    found = difflib.get_close_matches(name, known, 1, 0.7)
    return found[0] if found else None


# Arguments


def bound(table: Table, arguments: Arguments) -> dict[str, Value]:
    """Return the values of the parameters that are given, as far as it is certain which is which."""
    names = [parameter.name for parameter in table.parameters or ()]
    return dict(zip(names, arguments.positional, strict=False)) | {
        name: value for name, value in arguments.named if name in names
    }


def reaches_below(table: Table, parameter: Parameter, arguments: Arguments) -> bool:
    """Tell whether a call may reach what lies below a path; it does unless that is certainly not asked for."""
    if not isinstance(parameter.below, str):
        return parameter.below
    asked = bound(table, arguments).get(parameter.below)
    if asked is not None:
        return not asked or any(atom.kind is not Kind.CONSTANT or atom.value not in (False, None) for atom in asked)
    required = sum(item.is_required for item in table.parameters or ())
    rest = arguments.positional[required:]  # in Lua the last one may be the table of options
    return arguments.is_open or (bool(rest) and (not rest[-1] or any(atom.kind not in _SHOWN for atom in rest[-1])))


def wrong(table: Table, arguments: Arguments) -> Iterator[str]:
    """Yield what is certainly wrong about the arguments of a call, each as one sentence."""
    if table.parameters is None:
        return
    names = [parameter.name for parameter in table.parameters]
    most = len(names) + (1 if arguments.is_open else 0)  # the last one may be the table of options
    if len(arguments.positional) > most:
        yield f"{table.name} takes at most {len(names)} arguments, not {len(arguments.positional)}"
        return
    given = names[: len(arguments.positional)]
    for name, _ in arguments.named:
        if name not in names:
            like = nearest(name, names)
            hint = f"did you mean {like!r}?" if like else f"known: {', '.join(names) or 'none'}"
            yield f"{table.name} has no parameter {name!r:.60} ({hint})"
        elif name in given:
            yield f"{table.name}: {name} is given twice"
    values = bound(table, arguments)
    for number, parameter in enumerate(table.parameters):
        is_last_of_open = arguments.is_open and number == len(arguments.positional) - 1
        if parameter.name in values and not is_last_of_open:
            problem = _problem(parameter, values[parameter.name])
            if problem:
                yield f"{table.name}: {parameter.name} {problem}"
        elif parameter.is_required and parameter.name not in values and not arguments.is_open:
            yield f"{table.name}: {parameter.name} is missing"


def _problem(parameter: Parameter, value: Value) -> str | None:
    """Return what is wrong with a value if every one that it may be is wrong."""
    problems = [_problem_of(parameter, atom) for atom in sorted(value, key=repr)]
    return problems[0] if problems and all(problems) else None


def _problem_of(parameter: Parameter, atom: Atom) -> str | None:
    if atom.kind is Kind.CONSTANT and atom.value is None and not parameter.is_required:
        return None  # which stands for the default of many
    match parameter.kind.split(" ")[0].rstrip(","):
        case "path":
            return _path_problem(atom)
        case "text" | "host" | "url":
            return _no_text(atom) or _form_problem(parameter, atom)
        case "octal":
            return _mode_problem(atom)
        case "map":
            return _map_problem(parameter, atom)
        case "boolean":
            return None if _is_a(atom, "bool") else _not("true or false", atom)
        case "integer":
            return _number_problem(parameter, atom, is_whole=True)
        case "number":
            return _number_problem(parameter, atom, is_whole=False)
        case "data":
            return None if _is_a(atom, "str", "bytes") else _not("text or bytes", atom)
        case "list":
            return _list_problem(parameter, atom)
        case "handle":
            return None if atom.kind in (Kind.HANDLE, Kind.CONTAINER) or not _is_certain(atom) else _not("it", atom)
    if parameter.choices and _is_certain(atom):
        is_one = atom.kind is Kind.CONSTANT and atom.value in parameter.choices
        return None if is_one or atom.kind is Kind.TEXT else f"must be one of {', '.join(parameter.choices)}"
    return None


def _is_certain(atom: Atom) -> bool:
    """Return whether it is known what ``atom`` is. A handle may stand for a text: that of a secret does."""
    return atom.kind in (Kind.CONSTANT, Kind.TEXT, Kind.CONTAINER, Kind.CALL, Kind.NUMBER)


def _is_a(atom: Atom, *types: str) -> bool:
    """Return whether ``atom`` may be of one of these types."""
    if not _is_certain(atom):
        return True
    if atom.kind is Kind.CONSTANT:
        return atom.name in types
    if atom.kind is Kind.TEXT:
        return "str" in types
    return atom.kind is Kind.NUMBER and "int" in types


def _no_text(atom: Atom) -> str | None:
    if not _is_a(atom, "str", "bytes"):
        return _not("text", atom)
    return "must not hold a NUL" if atom.kind is Kind.CONSTANT and atom.name == "str" and "\0" in atom.value else None


def _form_problem(parameter: Parameter, atom: Atom) -> str | None:
    if parameter.form is None or atom.kind is not Kind.CONSTANT or atom.name != "str":
        return None
    return None if parameter.form.fullmatch(atom.value) else parameter.told


def _mode_problem(atom: Atom) -> str | None:
    is_known = atom.kind is Kind.CONSTANT and atom.name == "str"
    is_wrong = is_known and not re.fullmatch(r"0?[0-7]{3}|[01][0-7]{3}", atom.value)
    return "must be octal text such as '0644'" if is_wrong or not _is_a(atom, "str") else None


def _path_problem(atom: Atom) -> str | None:
    if not _is_a(atom, "str", "bytes"):
        return _not("an absolute path", atom)
    start = atom.value if atom.kind is Kind.CONSTANT else atom.value[0] if atom.kind is Kind.TEXT else None
    if type(start) is str and not start.startswith("/"):
        return f"must be an absolute path, not {start!r:.60}"
    return _no_text(atom)


def _number_problem(parameter: Parameter, atom: Atom, *, is_whole: bool) -> str | None:
    if not _is_a(atom, "int", "float"):
        return _not("a whole number" if is_whole else "a number", atom)
    if atom.kind is not Kind.CONSTANT:
        return None
    value = atom.value
    if not math.isfinite(value) or (is_whole and value != int(value)):
        return "must be a whole number" if is_whole else "must be finite"
    low, high = parameter.low, parameter.high
    if low is not None and high is not None and not low <= value <= high:
        return f"must be {low:.12g} to {high:.12g}, not {value:.12g}"
    return None


def _map_problem(parameter: Parameter, atom: Atom) -> str | None:
    if not _is_certain(atom):
        return None
    if atom.kind is not Kind.CONTAINER:
        return _not("a map", atom)
    form = parameter.form
    names = [name for name, _ in atom.value[1] if form is not None and not form.fullmatch(name)]
    return f"has an item {names[0]!r:.60} that {parameter.told}" if names else None


def _list_problem(parameter: Parameter, atom: Atom) -> str | None:
    if not _is_certain(atom):
        return None
    if atom.kind is not Kind.CONTAINER:
        return _not("a list", atom)
    items, named = atom.value
    if named:
        return "must be a list, not a map"
    if atom.name == "table":  # of Lua, where nothing at the end is no item
        items = tuple(
            item for item in items if not any(one.kind is Kind.CONSTANT and one.value is None for one in item)
        )
    low, high = parameter.low, parameter.high
    are_there = atom.name == "list" or all(one.kind is Kind.CONSTANT for item in items for one in item)
    if low is not None and high is not None and (len(items) < low or (len(items) > high and are_there)):
        return f"must have {low:.0f} to {high:.0f} items, not {len(items)}"
    of_paths = "path" in parameter.kind
    for item in items:
        problems = [_path_problem(one) if of_paths else _no_text(one) or _form_problem(parameter, one) for one in item]
        if problems and all(problems):
            return f"has an item that {problems[0]}"
    return None


_TOLD = {"str": "text", "bytes": "bytes", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _not(wanted: str, atom: Atom) -> str:
    if atom.kind is Kind.CONSTANT:
        told = "nothing" if atom.value is None else _TOLD.get(atom.name, atom.name)
    else:
        told = {Kind.CONTAINER: "a table", Kind.CALL: "a call", Kind.HANDLE: "a handle"}.get(atom.kind, "that")
        told = "a list" if atom.kind is Kind.CONTAINER and atom.name == "list" else told
    return f"must be {wanted}, not {told}"


# What of an argument can be shown


def shown(atom: Atom) -> str | None:
    """Return a text as a reader knows it, parameters in braces; None if it is no text or not known."""
    if atom.kind is Kind.CONSTANT and atom.name == "str":
        return str(atom.value)
    if atom.kind is Kind.PARAMETER:
        return f"{{{atom.name}}}"
    if atom.kind is Kind.TEXT:
        return "".join(piece if type(piece) is str else f"{{{piece.name}}}" for piece in atom.value)
    return None


def plain(value: Value) -> dict[str, Any]:
    """Return what is known of an argument as plain data: ``kind`` and, where it is known, the possible ``values``.

    The kind is ``constant``, ``parameter`` (the run's parameter decides, wholly or in part) or ``unknown``.
    """
    atoms = sorted(value, key=repr)
    if not atoms or any(atom.kind not in _SHOWN for atom in atoms):
        return {"kind": "unknown"}
    values = [_plain_atom(atom) for atom in atoms]
    if any(item is _UNSHOWN for item in values):
        return {"kind": "unknown"}
    is_parameter = any(atom.kind in (Kind.PARAMETER, Kind.TEXT) for atom in atoms)
    return {"kind": "parameter" if is_parameter else "constant", "values": values}


_SHOWN = frozenset({Kind.CONSTANT, Kind.PARAMETER, Kind.TEXT, Kind.CONTAINER})
_UNSHOWN = object()


def _plain_atom(atom: Atom) -> Any:
    if atom.kind is Kind.CONTAINER:
        items, named = atom.value
        inner = [_plain_one(item) for item in items]
        mapped = {name: _plain_one(item) for name, item in named}
        if any(item is _UNSHOWN for item in (*inner, *mapped.values())):
            return _UNSHOWN
        return mapped or inner
    if atom.kind is Kind.CONSTANT and atom.name != "str":
        if atom.name == "bytes":
            return atom.value.decode("utf-8", "backslashreplace")
        is_odd = atom.name == "float" and not math.isfinite(atom.value)
        return str(atom.value) if is_odd else atom.value
    return shown(atom)


def _plain_one(value: Value) -> Any:
    return _plain_atom(next(iter(value))) if len(value) == 1 and next(iter(value)).kind in _SHOWN else _UNSHOWN


def texts_of(values: Sequence[Value]) -> tuple[list[str], bool]:
    """Return the texts that arguments certainly are, lists item by item, and whether that is all they can be."""
    found: list[str] = []
    is_all = True
    pending = list(values)
    while pending:
        value = pending.pop()
        is_all = is_all and bool(value)
        for atom in value:
            if atom.kind is Kind.CONTAINER and not atom.value[1]:
                pending.extend(atom.value[0])
            elif atom.kind is Kind.CONSTANT and atom.name == "str":
                found.append(atom.value)
            else:
                is_all = False
                told = shown(atom)
                found += [told] if told is not None else []
    return sorted(set(found)), is_all
