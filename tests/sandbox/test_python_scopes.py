"""Which variable a name means, held to the compiler's own tables."""

from __future__ import annotations

import ast
import glob
import os
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.python_scopes import Scope, scopes

SOURCES = [
    "x = 1\ndef f():\n    return x",
    "def f():\n    x = 1\n    def g():\n        return x\n    return g",
    "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n    return g",
    "def f():\n    global x\n    x = 1\n    def g():\n        return x",
    "def f():\n    x = 1\n    class A:\n        y = x\n        def m(self):\n            return x, y",
    "def f():\n    x = 1\n    class A:\n        y = x\n        x = 2",
    "class A:\n    x = 1\n    y = [x for z in [x]]\n    def m(self):\n        return x",
    "def f():\n    return [(y := x) for x in [1]], y",
    "[(y := x) for x in [1] if (q := x)]\ny",
    "def f(a, *b, c=1, **d):\n    return lambda e, f=a: (a, b, c, d, e, f)",
    "def f():\n    try:\n        pass\n    except ValueError as e:\n        return e",
    "def f():\n    import a.b, c as d\n    from e import f as g\n    return a, d, g",
    "def f():\n    with a as b, c as (d, *e):\n        return b, d, e",
    "def f():\n    for i, (j, k) in []:\n        pass\n    return i, j, k",
    "def f():\n    x: int = 1\n    del x\n    y: int\n    return x, y",
    "def f():\n    return {k: v for k, v in x for x in k if v}",
    "def f(x=[y for y in z]):\n    y = 1\n    return x",
    "@d\nclass A(b, metaclass=c):\n    def f(self, x=y):\n        pass",
    "def f():\n    def g():\n        global x\n        x = 1\n    x = 2\n    return x",
    "def f():\n    x = 1\n    def g():\n        class B:\n            nonlocal x\n            x = 3\n        return x",
]


def libraries() -> list[str]:
    """Return files of the standard library: what real code does with scopes. Scripts cannot have match statements."""
    folder = os.path.dirname(os.__file__)
    found = [Path(path).read_text(encoding="utf-8") for path in sorted(glob.glob(f"{folder}/[c-e]*.py"))[:40]]
    return [text for text in found if not any(isinstance(node, ast.Match) for node in ast.walk(ast.parse(text)))]


class _Uninlined(ast.NodeTransformer):
    """Makes generator expressions of all comprehensions: their scopes are the same, and no compiler inlines them."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.GeneratorExp(node.elt, node.generators), node)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        pair = ast.copy_location(ast.Tuple([node.key, node.value], ast.Load()), node)
        return ast.copy_location(ast.GeneratorExp(pair, node.generators), node)


def comparable(source: str) -> str:
    """Return the source as the compiler's tables tell the truth about it.

    From Python 3.12 on they show the names of an inlined comprehension (PEP 709) as those of what is around it.
    """
    return source if sys.version_info < (3, 12) else ast.unparse(_Uninlined().visit(ast.parse(source)))


def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        if child.get_type() in ("function", "class"):  # and not those of annotations
            yield from tables(child)


def owners(source: str) -> list[tuple[int, str, str]]:
    """Return what the compiler says about each name of each scope: local, global or free."""
    found = []
    for table in tables(symtable.symtable(source, "x.py", "exec")):
        for symbol in table.get_symbols():
            if symbol.get_name().startswith((".", "_")):  # made by the compiler, or mangled; scripts have none
                continue
            kind = "global" if symbol.is_global() or table.get_type() == "module" else "local"
            found.append((table.get_lineno(), symbol.get_name(), "free" if symbol.is_free() else kind))
    return sorted(found)


def ours(source: str) -> list[tuple[int, str, str]]:
    """Return the same, asked of our scopes for the names that the compiler lists."""
    tree = ast.parse(source)
    held = list(scopes(tree).items())
    found = []
    for table in tables(symtable.symtable(source, "x.py", "exec")):
        scope = matching(held, table)
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if name.startswith((".", "_")):
                continue
            number, _ = scope.variable(name)
            kind = "local" if number == scope.number and number else "global" if number == 0 else "free"
            found.append((table.get_lineno(), name, kind))
    return sorted(found)


def matching(held: list[tuple[ast.AST, Scope]], table: symtable.SymbolTable) -> Scope:
    """Return our scope for a table: of one line and one name, the one that is not taken yet."""
    names = {ast.Lambda: "lambda", ast.ListComp: "listcomp", ast.SetComp: "setcomp", ast.DictComp: "dictcomp",
             ast.GeneratorExp: "genexpr", ast.Module: "top"}  # fmt: skip
    for number, (node, scope) in enumerate(held):
        name = getattr(node, "name", names.get(type(node), ""))
        lines = {getattr(node, "lineno", 0), *(item.lineno for item in getattr(node, "decorator_list", []))}
        if name == table.get_name() and table.get_lineno() in lines:
            held.pop(number)
            return scope
    raise LookupError(f"{table.get_name()} of line {table.get_lineno()}")


@pytest.mark.parametrize("source", [*SOURCES, *libraries()], ids=lambda source: source[:40].replace("\n", " "))
def test_names_mean_what_the_compiler_says(source: str) -> None:
    """Several lambdas on one line may be confused here, so lines and names are compared as a bag."""
    source = comparable(source)
    assert ours(source) == owners(source)


def test_in_a_class_body_a_bound_name_may_still_be_the_global_one() -> None:
    tree = ast.parse("class A:\n    x = x\n    y")
    scope = scopes(tree)[tree.body[0]]
    assert scope.variables("x") == [(scope.number, "x"), (0, "x")]
    assert scope.variables("y") == [(0, "y")]
