"""What the declaration of a call says: as annotations of Python, and in words that fit both languages. Pure.

From here come the reference, the stubs for editors, and what is said of results that a manifest's tests declare.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from stdlib import shapes
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.parameters import MAX_LIST_ITEMS, MAX_TEXT_CHARACTERS, Bounds, Length, Parameter

COMMAND = "python -m stdlib.reference"  # writes all that is generated from the declarations

_WORDS = {
    "str": "text", "bytes": "bytes", "int": "whole number", "float": "number", "bool": "boolean", "None": "nothing",
    "Any": "any value",
}  # fmt: skip


def result_of(spec: CallSpec) -> str:
    """Return the type of a call's result as a Python annotation; ``Stream[X]``, or the kind of a handle."""
    if spec.implementation is None:
        return spec.result
    if spec.gives == "handle":
        return spec.gives_kind if spec.gives_kind in kinds() else "Any"
    told = str(inspect.signature(spec.implementation).return_annotation)
    if spec.gives != "stream":
        return told
    inner = re.fullmatch(r"(?:Async)?(?:Iterator|Generator)\[(.*)\]", told)
    if inner is None:
        raise TypeError(f"{spec.name} must say what it yields, not {told}")
    item = ast.parse(inner[1], mode="eval").body
    first = item.elts[0] if isinstance(item, ast.Tuple) else item
    return f"Stream[{ast.unparse(_one_of_many(first))}]"


def _one_of_many(item: ast.expr) -> ast.expr:
    """Return the type of one item of a stream: a list or columns that are yielded stand for several of them."""
    if ast.unparse(item) == "Columns":
        return ast.parse("dict[str, Any]", mode="eval").body
    if isinstance(item, ast.Subscript) and ast.unparse(item.value) == "list":
        return item.slice
    return item


def kinds() -> set[str]:
    """Return the kinds of handles that have methods, which are the families of those names."""
    return {spec.gives_kind for spec in load() if spec.gives == "handle"} & {spec.family for spec in load()}


def allowed(spec: CallSpec, item: Parameter) -> str:
    """Return what a parameter takes, in words."""
    if spec.is_local and item.kind in ("text", "list of texts"):
        return item.kind
    if item.kind.startswith("data up to"):
        return "text or bytes" if spec.is_local else f"text or {item.kind.replace('data up to', 'bytes, at most')}"
    if item.kind == "text":
        return f"text, at most {_length(spec, item)} bytes"
    if item.kind == "list of texts":
        count = item.bounds or Bounds(0, MAX_LIST_ITEMS)
        told = f"{count.low:.0f} to {count.high:.0f}" if count.low else f"at most {count.high:.0f}"
        return f"list of {told} texts, each of at most {_length(spec, item)} bytes"
    if item.kind == "value":
        return "any value" if spec.is_local else "text, number or boolean"
    if ".." in item.kind:
        return _range(item.kind)
    if item.kind.startswith("'"):
        return "one of " + ", ".join(f"`{literal(choice)}`" for choice in item.kind.replace("'", "").split(" | "))
    if item.handle is not None:
        return f"handle of the kind `{item.handle}`"
    if item.kind.startswith("data "):
        return f"text or bytes, at most {item.kind.split()[3]} bytes"
    if item.kind == "map of texts":
        return f"map of at most {MAX_LIST_ITEMS} texts"
    return {
        "path": "absolute path",
        "list of paths": f"list of 1 to {MAX_LIST_ITEMS} absolute paths",
        "octal mode": 'permission bits as octal text, such as `"0644"`',
        "plain value": "any plain value",
        "host": "name or address of a host",
        "url": "http or https URL",
    }.get(item.kind, item.kind)


def _length(spec: CallSpec, item: Parameter) -> int:
    hints = get_type_hints(spec.implementation, include_extras=True) if spec.implementation is not None else {}
    for part in _flat(hints.get(item.name)):
        if isinstance(part, Length):
            return part.most
    return MAX_TEXT_CHARACTERS


def _flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _flat(part)
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__


def _range(kind: str) -> str:
    """Return a kind with a range, such as ``integer 0..15 bytes``, in words."""
    word, span, *unit = kind.split(" ")
    low, high = span.split("..")
    named = {"integer": "whole number", "number": "number"}[word]
    return f"{named}{f' of {unit[0]}' if unit else ''} from {low} to {high}"


def type_of(item: Parameter) -> str:
    """Return the Python annotation of a parameter."""
    word = item.kind.partition(" ")[0]
    if word.startswith("'"):
        told = f"Literal[{item.kind.replace(chr(39), chr(34)).replace(' | ', ', ')}]"
        return f"{told} | None" if not item.is_required and item.default is None else told
    named = {
        "path": "str", "text": "str", "boolean": "bool", "integer": "int", "number": "float", "value": "Any",
        "data": "Any" if item.is_private else "str | bytes", "map": "Mapping[str, Any]", "plain": "Any", "host": "str",
        "url": "str", "octal": "str",
        "list of texts": "list[str]", "list of paths": "list[str]", "map of texts": "Mapping[str, str]",
        "handle": item.handle if item.handle in kinds() else "Any",  # a kind without methods has no class
    }  # fmt: skip
    plain = named.get(item.kind) or named[word]
    return f"{plain} | None" if not item.is_required and item.default is None else plain


def by_family() -> list[CallSpec]:
    return sorted(load(), key=lambda spec: (spec.family, spec.name))


def signature(spec: CallSpec) -> str:
    """Return the call as one writes it, optional parameters in brackets."""
    required = ", ".join(item.name for item in spec.parameters if item.is_required)
    optional = "".join(f"[, {item.name}]" for item in spec.parameters if not item.is_required)
    return f"{spec.name}({required}{optional if required else optional.replace('[, ', '[', 1)})"


def in_words(node: ast.expr) -> str:
    """Return a Python annotation, or a shape, as both languages would say it."""
    if isinstance(node, ast.BinOp):
        return f"{in_words(node.left)} or {in_words(node.right)}"
    if isinstance(node, ast.Dict) or (isinstance(node, ast.Name) and node.id in shapes.NAMED):
        return "map"
    if isinstance(node, ast.List):
        return f"list of {in_words(node.elts[0]).replace('map', 'maps', 1)}"
    if not isinstance(node, ast.Subscript):
        name = ast.unparse(node)
        return f"handle `{name}`" if name in kinds() else _WORDS[name]
    if ast.unparse(node.value) == "Stream":
        return f"stream of {in_words(node.slice).replace('map', 'maps', 1)}"
    if isinstance(node.slice, ast.Tuple):  # dict; its keys are always texts
        value = in_words(node.slice.elts[1])
        return "map" if value == "any value" else f"map of {value}s"
    return f"list of {in_words(node.slice).replace('map', 'maps', 1)}"


def markdown(doc: str) -> str:
    return re.sub(r"(?::code:)?``?([^`]+)``?", r"`\1`", doc)


def literal(value: Any) -> str:
    """Return a default as both languages nearly write it; texts in double quotes."""
    text = value.decode("ascii") if isinstance(value, bytes) else value
    return f'"{text}"' if isinstance(text, str) else str(text)
