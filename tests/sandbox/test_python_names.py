"""Global names in Python scripts, with real scopes. The interpreter itself is the oracle."""

from __future__ import annotations

import ast
import contextlib
import random

import pytest

from sandbox.python_names import Import, names


def used(source: str) -> set[tuple[str, tuple[str, ...]]]:
    return {(use.name, use.path) for use in names(ast.parse(source)).uses}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.b.c", {("a", ("b", "c"))}),
        ("a.b().c", {("a", ("b",))}),
        ("(a).b", {("a", ("b",))}),
        ("a[0].b", {("a", ())}),
        ("getattr(a, 'b')", {("a", ("b",))}),
        ("getattr(a, b)", {("getattr", ()), ("a", ()), ("b", ())}),
        ("def f(x, *y, z=a, **w):\n    return x, y, z, w, b", {("a", ()), ("b", ())}),
        ("def f():\n    x = 1\n    return lambda: x", set()),
        ("def f():\n    del x\n    return x", set()),
        ("def f():\n    global x\n    x = 1\n    return x", {("x", ())}),
        ("def f():\n    global x\n    def g():\n        return x", {("x", ())}),
        ("class A:\n    x = 1\n    def f(self):\n        return x", {("x", ())}),
        ("[x for x in x]", {("x", ())}),
        ("[y for x in a for y in x]", {("a", ())}),
        ("{k: v for k, v in a}", {("a", ())}),
        ("with a as b:\n    pass", {("a", ())}),
        ("def f():\n    import x\n    return x", {("x", ())}),
        ("def f():\n    for x in a:\n        pass\n    return x", {("a", ())}),
        ("def f():\n    with a as (x, [y, *z]):\n        return x, y, z", {("a", ())}),
    ],
)
def test_uses(source: str, expected: set[tuple[str, tuple[str, ...]]]) -> None:
    """A name in doubt is global: one use too many is a question, one too few is a hole."""
    assert used(source) == expected


def test_imports_are_told_with_what_they_bind() -> None:
    """At any level of the script."""
    source = "import math, re as r\nfrom a.b import c, d as e\ndef f():\n    from . import *\n"
    found = names(ast.parse(source))
    assert found.imports == (
        Import("math", "math", None, 1),
        Import("r", "re", None, 1),
        Import("c", "a.b", "c", 2),
        Import("e", "a.b", "d", 2),
        Import("*", ".", "*", 4),
    )
    assert [use.name for use in found.assigned] == ["f"]


def test_every_global_that_runs_is_in_the_uses() -> None:
    """Random programs run with builtins that note what is read; nothing they see may be missing."""

    class Noting(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            seen.add(name)
            return lambda *_: []

    templates = [
        "{0} = {1}",
        "{0}({1})",
        "def {0}({1}):\n    {2} = {1}\n    return {0}, {2}\n{0}({2})",
        "def {0}():\n    def {1}():\n        return {2}\n    {2} = 1\n    return {1}()\n{0}()",
        "class C:\n    {0} = {1}\n    {2} = {0}",
        "def {0}():\n    {1} = 1\n    class C:\n        {2} = {1}\n        {1} = {2}\n{0}()",
        "[{0} for {0} in [{1}, {2}]]",
        "(lambda {0}: ({0}, {1}))({2})",
        "def {0}():\n    global {1}\n    {1} = {2}\n{0}()",
        "for {0} in [{1}]:\n    {2}",
    ]
    randomly = random.Random(5)
    for _ in range(1500):
        picked = [randomly.choice(templates) for _ in range(4)]
        source = "\n".join(part.format(*(randomly.choice("abcde") for _ in range(3))) for part in picked)
        seen: set[str] = set()
        code = compile(source, "x", "exec")
        with contextlib.suppress(Exception):
            exec(code, {"__builtins__": Noting(), "__name__": "x"})
        found = {use.name for use in names(ast.parse(source)).uses}
        assert {name for name in seen if len(name) == 1} <= found, source
