"""What no single attack shows: whatever source is let through, all that it does to a value goes through a guard.

The corpus is the standard library of the interpreter that runs this, statement by statement, and every attack of the
battery. It has no attack in mind, which is its use: it found syntax over which the transformer fell.
"""

from __future__ import annotations

import ast
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from technique import files, read

from sandbox.python_policy import ScriptPolicy, SourceRefused, compile_script, parse
from sandbox.python_surface import HOOKS

LIBRARY = Path(os.__file__).parent
DATES = "datetime" if sys.version_info < (3, 12) else "_pydatetime"  # where its source is
MODULES = (
    "_pydecimal", "argparse", "ast", "asyncio/base_events", "asyncio/streams", "bdb", "calendar", "configparser",
    "contextlib", "csv", "dataclasses", DATES, "difflib", "enum", "fractions", "functools", "heapq", "inspect",
    "ipaddress", "json/decoder", "pickle", "random", "shutil", "statistics", "string", "tarfile", "textwrap", "typing",
)  # fmt: skip
MAX_LINES = 25  # of one statement; the longer ones are made of shorter ones

ODD = (
    "x = [i for one in [1] for i in await one]", "class A(**{'metaclass': f}): pass", "x[f(y := 1):] += [1]",
    "x.a.b[c].d += 1", "with a as b[0], c.d as e: pass", "for a.b in c: pass", "for a[0] in c: pass",
    "[a for a.b in c]", "a, *b[0:1] = c", "(x): int = 3", "x.y: f() = 3", "print: int = 5", "f'{x!r:{y.z}}'",
    "f'{x.y=}'", "x @= y.z", "lambda a, /, b=c.d, *e, f=g.h, **i: a.j", "del a.b, c[0]", "assert a.b, c.d",
    "@a.b(c.d)\ndef f(x: y.z = a.b) -> c.d: return e.f", "try: pass\nexcept a.b as c: c.d",
    "match a.b:\n    case c.d: pass", "global a\na = b.c", "def f():\n    yield from a.b\n    x = yield a[0]",
    "x = {**a.b, c.d: e.f}", "a.b(*c.d, **e.f)", "x = a[b.c:d.e, ...]", "x = (a.b for c in d.e if f.g)", "a % b % c",
    "x = a.b if c.d else e.f", "raise a.b from c.d", "while a.b: c.d", "x = not a.b in c.d", "a.b = c.d = e[f.g]",
)  # fmt: skip
UNGUARDED = (
    "a.b", "a[b]", "a.__b__ = 1", "_getattr_ = 1", "def f(_write_): pass", "def f(a: b): pass", "a % b", "f'{a}'",
    "import a", "for a in b: pass", "[a for a in b]", "_b", "del __a__",
)  # fmt: skip


def _statements(module: str) -> Iterator[str]:
    tree = ast.parse((LIBRARY / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and (node.end_lineno or 0) - node.lineno < MAX_LINES:
            source = ast.unparse(node)
            yield f"def f():\n{textwrap.indent(source, '    ')}" if isinstance(node, ast.Return) else source


def _transformed(source: str) -> ast.Module | None:
    """Return what the policy makes of ``source``; None if it refuses it."""
    errors: list[str] = []
    try:
        tree = ScriptPolicy(errors, [], {}).visit(parse(source, "main.py"))
    except (SourceRefused, AttributeError):  # the latter is seen through compile_script, which must refuse it
        return None
    return None if errors else tree


def _unguarded(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ctx=ast.Load()) | ast.Subscript(ctx=ast.Load()):
                yield f"reads {ast.unparse(node)}"
            case ast.Attribute(attr=name) if name.startswith("__"):
                yield f"has the attribute {name}"
            case ast.Name(id=name, ctx=ast.Load()) if name.startswith("_") and name not in HOOKS | {"_"}:
                if not name.startswith("_tmp"):  # the transformer's own, which no script can write
                    yield f"reads the name {name}"
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in HOOKS or name.startswith("__"):
                yield f"binds the name {name}"
            case ast.arg(arg=name) if name in HOOKS or name.startswith("__"):
                yield f"binds the parameter {name}"
            case ast.arg(annotation=ast.expr()) | ast.FunctionDef(returns=ast.expr()):
                yield "evaluates an annotation"
            case ast.BinOp(op=ast.Mod()):
                yield "formats by %"
            case ast.FormattedValue(value=value) if not (
                isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "_show_"
            ):
                yield "shows a value"
            case ast.Import() | ast.ImportFrom() | ast.AsyncFunctionDef() | ast.Await() | ast.Match() | ast.Nonlocal():
                yield f"is a {type(node).__name__}"
            case ast.For(iter=iterable) | ast.comprehension(iter=iterable) if not isinstance(iterable, ast.Call):
                yield "iterates past the guard"


def _check(source: str) -> bool:
    """Hold one source against the rules; return whether it was let through."""
    try:
        compile_script(source, "main.py")
    except (SourceRefused, MemoryError):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = _transformed(source)
    assert tree is not None, f"compiled, but not transformed: {source}"
    assert not list(_unguarded(tree)), f"{list(_unguarded(tree))}: {source}"
    return True


@pytest.mark.parametrize("source", UNGUARDED)
def test_what_meets_no_guard_is_seen(source: str) -> None:
    """The rules below would hold everywhere if they saw nothing."""
    assert list(_unguarded(ast.parse(source)))


@pytest.mark.parametrize("module", MODULES)
def test_the_standard_library_meets_a_guard_in_every_statement(module: str) -> None:
    """And enough of it is let through, or this would prove nothing."""
    passed = [_check(source) for source in _statements(module)]
    assert sum(passed) > len(passed) / 5, f"{sum(passed)} of {len(passed)}"


@pytest.mark.parametrize("source", ODD)
def test_odd_syntax_meets_a_guard_or_is_refused(source: str) -> None:
    """Each kind of place in which an expression can stand."""
    _check(source)


def test_every_attack_meets_a_guard_or_is_refused() -> None:
    """Those that run are held by what the guards answer, never by luck."""
    for path in files("python"):
        _check(read(path, "python").source)
