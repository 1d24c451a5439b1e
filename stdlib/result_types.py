"""The types of what calls give, for editors: each map of a known shape becomes a record with a name. Pure.

``python -m stdlib.reference`` writes them into the stubs. A type is an annotation of Python in which a record is a name
that begins with an underscore, as a script cannot use it: ``_Status`` for what ``shapes.NAMED`` has, ``_FsList`` for
what ``fs.list`` gives, ``_FsListEntries`` for what its field ``entries`` holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from stdlib import shapes
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.wording import result_of


@dataclass(frozen=True, slots=True)
class Record:
    """One map with known fields, and the type of each."""

    name: str
    fields: Mapping[str, ast.expr]


@dataclass
class Results:
    """The types of all results, and the records that they are made of."""

    records: dict[str, Record] = field(default_factory=dict)  # those within others before them
    of_calls: dict[str, ast.expr] = field(default_factory=dict)  # the result of each call
    of_kinds: dict[str, dict[str, ast.expr]] = field(default_factory=dict)  # what handles of a kind tell

    def add(self, spec: CallSpec) -> None:
        """Take in what a call gives."""
        told = ast.parse(result_of(spec), mode="eval").body
        shape = shapes.shape_of(spec.name)
        if shape is not None and spec.gives == "handle":
            fields = self._fields(shapes.fields_of(_map(shape)), _record_name(spec.name))
            self.of_kinds.setdefault(spec.gives_kind, {}).update(fields)
        elif shape is not None:
            told = _WithShape(self._annotation(shape, _record_name(spec.name))).visit(told)
        self.of_calls[spec.name] = told

    def _annotation(self, shape: ast.expr, name: str) -> ast.expr:
        """Return the type of a shape; maps in it become records called ``name`` and more."""
        match shape:
            case ast.Name(id=known) if known in shapes.NAMED:
                return self._annotation(shapes.named(known), f"_{known.title()}")
            case ast.BinOp(left=left, right=right):
                return ast.BinOp(self._annotation(left, name), ast.BitOr(), self._annotation(right, name))
            case ast.List(elts=[item]):
                return _of("list", self._annotation(item, name))
            case ast.Dict():
                fields = shapes.fields_of(shape)
                if ... in fields:
                    return _of("dict", ast.Tuple([ast.Name("str"), self._annotation(fields[...], name)]))
                return self._record(name, fields)
        return shape

    def _record(self, name: str, fields: Mapping[str, ast.expr]) -> ast.expr:
        record = Record(name, self._fields(fields, name))
        known = self.records.setdefault(name, record)
        if list(known.fields) != list(record.fields):
            raise TypeError(f"two shapes would be called {name}")
        return ast.Name(name)

    def _fields(self, fields: Mapping[str, ast.expr], name: str) -> dict[str, ast.expr]:
        return {key: self._annotation(held, f"{name}{_title(key)}") for key, held in fields.items()}


class _WithShape(ast.NodeTransformer):
    """Puts the type of a shape in the place of the map that an annotation names."""

    def __init__(self, shape: ast.expr) -> None:
        self._shape = shape

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        """Replace ``dict[...]``; look into all else."""
        return self._shape if ast.unparse(node.value) == "dict" else self.generic_visit(node)


@cache
def results() -> Results:
    """Return the types of the results of all calls."""
    found = Results()
    for spec in sorted(load(), key=lambda one: one.name):
        found.add(spec)
    return found


def names_in(annotation: ast.expr) -> Iterator[str]:
    """Yield every name in a type."""
    return (node.id for node in ast.walk(annotation) if isinstance(node, ast.Name))


def _map(shape: ast.expr) -> ast.Dict:
    if not isinstance(shape, ast.Dict):
        raise TypeError(f"a handle tells fields, not {ast.unparse(shape)}")
    return shape


def _of(outer: str, inner: ast.expr) -> ast.Subscript:
    return ast.Subscript(ast.Name(outer), inner)


def _record_name(call: str) -> str:
    return "_" + "".join(_title(part) for part in call.split("."))


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
