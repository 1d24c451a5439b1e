"""The shapes of results: each call has one, what calls really give fits, and no field is there that nobody gives.

What any other test of this folder performs is held against them as well (``running.perform``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exemplary import ON_MADE_HOST, exemplary
from running import perform

from protocol.errors import OutriderError
from stdlib import shapes
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.reference import result_of

#: Calls that only look, with what they need; all others of these families are made without arguments.
ARGUMENTS: dict[str, list[Any]] = {
    "fs.stat": ["/etc/passwd"], "fs.lstat": ["/etc/passwd"], "fs.list": ["/etc"], "fs.space": ["/"],
    "fs.walk": ["/etc/default"], "fs.glob": [["etc/host*"]], "fs.largest": ["/etc/default"],
    "fs.disk_usage": ["/etc/default"], "fs.tail": ["/etc/passwd"], "fs.grep": [["/etc/passwd"], "root"],
    "proc.get": [1], "proc.tree": [1], "proc.cgroup": [1], "net.counters": ["lo"], "sys.user": ["mia"],
    "sys.group": ["adm"], "sys.service": ["cron"], "sys.smart": ["sda"], "sys.disk_io": ["sda"],
}  # fmt: skip
TABLES = ("net.counters", "net.interfaces", "net.listeners", "net.neighbours", "net.routes", "net.sockets")
LOOKING = sorted(
    spec.name for spec in load()
    if (spec.family in ("fs", "proc", "sys") or spec.name in TABLES) and not spec.changes and not spec.is_method
    and (spec.name in ARGUMENTS or not any(item.is_required for item in spec.parameters))
)  # fmt: skip


@pytest.mark.parametrize("name", LOOKING)
async def test_what_a_call_gives_fits(name: str, tmp_path: Path) -> None:
    """``perform`` raises if it does not: a test whose results were copied from a real run must pass."""
    made = exemplary(tmp_path)
    on_made = name in ON_MADE_HOST | {"sys.user", "sys.group", "sys.users", "sys.containers"}
    try:
        await perform(name, *ARGUMENTS.get(name, []), host=made.host if on_made else None)
    except OutriderError as error:
        if error.code not in ("unavailable", "not_found"):
            raise
        pytest.skip(f"this host has no such thing: {error.message}")


async def test_what_does_not_fit_is_found_by_perform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the tests above would hold nothing."""
    monkeypatch.setitem(shapes.NAMED, "STATUS", "{size: str}")
    shapes.named.cache_clear()
    with pytest.raises(AssertionError, match="must be text, not a whole number"):
        await perform("fs.stat", "/etc/passwd")
    monkeypatch.undo()
    shapes.named.cache_clear()


def with_maps() -> list[CallSpec]:
    """The calls that give maps or handles with fields, other than those of the sandbox itself."""
    return [spec for spec in load() if not spec.is_local and ("dict[" in result_of(spec) or spec.gives == "handle")]


def test_each_call_that_gives_maps_has_a_shape_and_no_other() -> None:
    """A new call cannot escape it."""
    assert {spec.name for spec in with_maps()} == set(shapes.SHAPES)


def fields(shape: ast.expr) -> Iterator[str]:
    """The names of all fields in a shape, of those in named ones too."""
    for node in ast.walk(shape):
        if isinstance(node, ast.Dict):
            for name, held in shapes.fields_of(node).items():
                yield from () if name is ... else (name,)
                yield from fields(held)
        elif isinstance(node, ast.Name) and node.id in shapes.NAMED:
            yield from fields(shapes.named(node.id))


#: Where the text of a call speaks of the fields together or names their source.
NOT_WORD_FOR_WORD = frozenset({
    "net.mysql_status", "net.counters", "sys.hardware", "net.http_status_page", "fs.copy", "fs.fetch", "fs.patch",
})  # fmt: skip


@pytest.mark.parametrize("spec", with_maps(), ids=lambda spec: spec.name)
def test_the_text_of_a_call_tells_of_each_field(spec: CallSpec) -> None:
    """A field in the shape that no text names would be one that nobody gives."""
    shape = shapes.shape_of(spec.name)
    assert shape is not None
    if spec.name in NOT_WORD_FOR_WORD:
        return
    told = " ".join(_texts(spec.name, 3))
    for name in fields(shape):
        assert re.search(rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])", told), name


def _texts(call: str, levels: int) -> Iterator[str]:
    spec = load().find(call)
    if spec is None or not levels:
        return
    yield spec.doc
    for other in set(re.findall(r"\b([a-z]+\.[a-z_]+)\b", spec.doc)) - {call}:
        yield from _texts(other, levels - 1)


def test_every_name_in_a_shape_is_known() -> None:
    """A misspelt type would be found only by who declares a result for that field."""
    known = {"str", "bytes", "int", "float", "bool", "None", "Any", *shapes.NAMED}
    for call in shapes.SHAPES:
        shape = shapes.shape_of(call)
        assert shape is not None
        for _, held in _leaves(shape):
            assert ast.unparse(held) in known, (call, ast.unparse(held))


def _leaves(shape: ast.expr, name: Any = None) -> Iterator[tuple[Any, ast.expr]]:
    match shape:
        case ast.Dict():
            for inner, held in shapes.fields_of(shape).items():
                yield from _leaves(held, inner)
        case ast.List(elts=[item]):
            yield from _leaves(item, name)
        case ast.BinOp(left=left, right=right):
            yield from _leaves(left, name)
            yield from _leaves(right, name)
        case _:
            yield name, shape


def test_fields_are_taken_over_and_keys_of_the_host_are_any() -> None:
    shape = shapes.shape_of("proc.tree")
    assert isinstance(shape, ast.Dict)
    assert list(shapes.fields_of(shape))[-1] == "depth"
    assert {"pid", "rss", "depth"} <= set(shapes.fields_of(shape))
    listed = shapes.shape_of("fs.xattr")
    assert isinstance(listed, ast.Dict)
    assert list(shapes.fields_of(listed)) == [...]
    assert shapes.shape_of("fs.exists") is None
