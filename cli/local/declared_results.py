"""Whether the results that a manifest's test declares for a call have the form of what the call gives. Pure.

The form is the call's declared type (``wording.result_of``), and for the maps in it their shape (``stdlib.shapes``):
which fields there are and what they hold, down to the last. Any field may be missing, as a test declares what its
script looks at. Text stands for bytes, as a manifest has none.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from cli.local.fixtures import is_with_summary, results_of
from protocol.document import Path
from stdlib import shapes
from stdlib.call_specs import CallSpec
from stdlib.wording import in_words, result_of

Misfit = tuple[Path, str]

MOST = 20  # misfits of one call that are told
_ONE_AFTER_THE_OTHER = "a list of results is used one after the other, so a result that is a list has a list around it"


def misfits(spec: CallSpec, given: Any) -> Iterator[Misfit]:
    """Give what does not fit in what a test declares for a call: the path to it within that, and what is wrong."""
    if spec.is_local:
        yield (), f"{spec.name} is carried out in the sandbox: a declared result is never used"
        return
    results, is_sequence = results_of(given, is_stream=spec.gives == "stream")
    if not results:
        yield (), f"declares no result; {_ONE_AFTER_THE_OTHER}"
    yield from islice(_of_results(spec, given, results, is_sequence=is_sequence), MOST)


def _of_results(spec: CallSpec, given: Any, results: list[Any], *, is_sequence: bool) -> Iterator[Misfit]:
    form = form_of(spec)
    fit = Fit(spec.name)
    for number, result in enumerate(results):
        path: Path = (number,) if is_sequence else ()
        if spec.gives == "stream" and is_with_summary(result):
            result, path = result["items"], (*path, "items")
        for place, told in fit.misfits(result, form, path):
            is_outer = isinstance(given, list) and len(place) <= 1 and _is_list(form) and spec.gives == "value"
            yield place, f"{told}; {_ONE_AFTER_THE_OTHER}" if is_outer else told


def form_of(spec: CallSpec) -> ast.expr:
    """Return the form of one result: its type with the shape of the maps in it; for a stream a list of its items."""
    shape = shapes.shape_of(spec.name)
    if spec.gives == "handle":
        return shape if shape is not None else ast.parse("dict[str, Any]", mode="eval").body
    text = result_of(spec)
    if spec.gives == "stream":
        text = text.replace("Stream[", "list[", 1)
    form: ast.expr = _Shaped(shape).visit(ast.parse(text, mode="eval").body)
    return form


class _Shaped(ast.NodeTransformer):
    """Puts the shape of a call's maps in the place of ``dict[...]``."""

    def __init__(self, shape: ast.expr | None) -> None:
        self._shape = shape

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if _is_list(node):
            return ast.List([self.visit(node.slice)], ast.Load())
        return node if self._shape is None else self._shape


def _is_list(form: ast.expr) -> bool:
    return isinstance(form, ast.List) or (isinstance(form, ast.Subscript) and ast.unparse(form.value) == "list")


class Fit:
    """Holds values against the form of what one call gives.

    Args:
        call: Its name, for what is told.
    """

    def __init__(self, call: str) -> None:
        self._call = call

    def misfits(self, value: Any, form: ast.expr, path: Path) -> Iterator[Misfit]:
        """Give each place in a value that is not as the form has it, and what is expected there."""
        match form:
            case ast.BinOp():
                yield from self._of_choices(value, list(_choices(form)), form, path)
            case ast.List(elts=[item]):
                yield from self._of_list(value, item, form, path)
            case ast.Dict():
                yield from self._of_map(value, form, path)
            case ast.Subscript():  # a map that has no shape
                if not isinstance(value, Mapping):
                    yield path, _told(value, form)
            case ast.Name(id=name) if name in shapes.NAMED:
                yield from self.misfits(value, shapes.named(name), path)
            case _:
                if not _fits(value, ast.unparse(form)):
                    yield path, _told(value, form)

    def _of_choices(self, value: Any, choices: list[ast.expr], form: ast.expr, path: Path) -> Iterator[Misfit]:
        found = [list(self.misfits(value, choice, path)) for choice in choices]
        if [] in found:
            return
        inner = [each for each in found if all(len(place) > len(path) for place, _ in each)]
        yield from inner[0] if inner else [(path, _told(value, form))]

    def _of_list(self, value: Any, item: ast.expr, form: ast.expr, path: Path) -> Iterator[Misfit]:
        if not isinstance(value, list):
            yield path, _told(value, form)
            return
        for number, each in enumerate(value):
            yield from self.misfits(each, item, (*path, number))

    def _of_map(self, value: Any, form: ast.Dict, path: Path) -> Iterator[Misfit]:
        if not isinstance(value, Mapping):
            yield path, _told(value, form)
            return
        fields = shapes.fields_of(form)
        for name, held in value.items():
            inner = fields.get(name, fields.get(...))
            if inner is None:
                yield (*path, name), self._unknown(name, fields, path)
            else:
                yield from self.misfits(held, inner, (*path, name))

    def _unknown(self, name: Any, fields: Mapping[Any, ast.expr], path: Path) -> str:
        near = difflib.get_close_matches(str(name), fields, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        fields_here = [step for step in path if isinstance(step, str)]
        place = f" in {'.'.join(fields_here)}" if fields_here else ""
        return f"{self._call} gives no field {name!r:.60}{place}{meant} (there are: {', '.join(fields)})"


def _choices(form: ast.expr) -> Iterator[ast.expr]:
    if isinstance(form, ast.BinOp):
        yield from _choices(form.left)
        yield from _choices(form.right)
    else:
        yield form


def _fits(value: Any, name: str) -> bool:
    match name:
        case "Any":
            return True
        case "str" | "bytes":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "None":
            return value is None
    raise ValueError(f"the type {name} of a result is not known here")


def _told(value: Any, form: ast.expr) -> str:
    return f"must be {in_words(form)}, not {_kind(value)}"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    return "text" if isinstance(value, str) else "a map" if isinstance(value, Mapping) else "a list"
