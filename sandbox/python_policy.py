"""From Python source to restricted code: RestrictedPython's transformer, narrowed and widened where we have own guards.

- Text only, never bytes: a coding cookie would be obeyed.
- Narrower: imports of the modules in ``python_surface`` only, which become calls; no ``printed``.
- Wider, each through a guard of ``python_guards``: ``d[k] += v``, ``o.a += v`` and annotated assignments.
- Everything that turns a value into text goes through ``python_text``, so that no address shows.
- Whatever a compiler can throw at hostile source comes out as one ``SourceRefused`` with a line.
"""

from __future__ import annotations

import ast
import os
import re
import types
import warnings
from collections.abc import Iterable
from typing import TypeVar

import RestrictedPython
from RestrictedPython.compile import compile_restricted_exec
from RestrictedPython.transformer import (
    INSPECT_ATTRIBUTES,
    IOPERATOR_TO_STR,
    RestrictingNodeTransformer,
    copy_locations,
)

from protocol.errors import UnavailableError
from sandbox.python_surface import MODULES

Visited = ast.AST | Iterable[ast.AST] | None
Placed = TypeVar("Placed", ast.Assign, ast.Call, ast.Expr, ast.Name, ast.Pass)

_IMPORTABLE = f"what can be imported: {', '.join(sorted(MODULES))}; calls need no import"
_LINE = re.compile(r"^Line (?P<line>[0-9]+|None): (?P<message>.*)$", re.DOTALL)


class SourceRefused(Exception):
    """The source is not valid restricted Python. ``line`` counts from 1; None if no line is to blame."""

    def __init__(self, message: str, line: int | None) -> None:
        self.message = message
        self.line = line
        super().__init__(message)


def require_version() -> None:
    """Refuse to go on with a RestrictedPython whose known holes are open (9.0 closed the last ones) or unknown (10).

    Raises:
        UnavailableError: Another version than 9 is installed.
    """
    version = _installed_version()
    if version.split(".")[0] != "9":
        raise UnavailableError(f"Python scripts need RestrictedPython 9, not {version}")


def _installed_version() -> str:
    """Return the version by the name of the installed metadata; importlib.metadata would stay in every worker."""
    folder = os.path.dirname(os.path.dirname(RestrictedPython.__file__))
    found = [re.fullmatch(r"(?i)restrictedpython-([^-]+)\.dist-info", name) for name in os.listdir(folder)]
    versions = [match[1] for match in found if match]
    if len(versions) == 1:
        return versions[0]
    from importlib import metadata  # installed in some other way, or twice

    return metadata.version("RestrictedPython")


def compile_script(source: str, filename: str) -> types.CodeType:
    """Return restricted code.

    Raises:
        SourceRefused: Not valid, or not allowed; with the first line to blame.
        MemoryError: Too little memory to compile it.
    """
    tree = parse(source, filename)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # showing one would open the file to print its line
            compiled = compile_restricted_exec(tree, filename, policy=ScriptPolicy)
    except RecursionError:
        raise SourceRefused("the source is nested too deeply", None) from None
    except (SyntaxError, ValueError) as error:
        raise SourceRefused(*_told(error)) from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the transformer stumbles over some syntax; what it cannot check is not run
        raise SourceRefused("the source cannot be checked", None) from None
    if compiled.errors or compiled.code is None:
        match = _LINE.match(compiled.errors[0] if compiled.errors else "Line None: the source was refused")
        line = match["line"] if match else "None"
        message = match["message"] if match else compiled.errors[0]
        raise SourceRefused(message, None if line == "None" else int(line))
    return compiled.code


def parse(source: str, filename: str) -> ast.Module:
    """Return the syntax tree of ``source``, unrestricted.

    Raises:
        SourceRefused: Not Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, filename, "exec")
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL in the source, on 3.11
        raise SourceRefused(*_told(error)) from None
    except (RecursionError, MemoryError):  # the parser's word for too many nested brackets is MemoryError
        raise SourceRefused("the source is nested too deeply", None) from None


def _told(error: Exception) -> tuple[str, int | None]:
    if isinstance(error, SyntaxError):
        return error.msg, error.lineno
    return str(error), None


class ScriptPolicy(RestrictingNodeTransformer):
    """What a script may write, and which guard each construct goes through."""

    def visit_Name(self, node: ast.Name) -> Visited:
        """``print`` becomes the guarded printer; the collector that RestrictedPython would inject is not wanted."""
        if node.id == "__import__":
            self.error(node, f"__import__ is not available; {_IMPORTABLE}")
            return node
        if node.id == "print" and isinstance(node.ctx, ast.Load):
            return _placed(_name("_print_"), node)
        if node.id == "printed":
            self.error(node, '"printed" is a reserved name.')
            return node
        return super().visit_Name(node)

    def visit_Import(self, node: ast.Import) -> Visited:
        """``import math as m`` is ``m = _import_("math")``: no module of the interpreter's is ever in reach."""
        return [self._imported(node, alias, alias.name, None) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Visited:
        """``from math import pi as p`` is ``p = _getattr_(_import_("math"), "pi")``."""
        module = "." * node.level + (node.module or "")
        return [self._imported(node, alias, module, alias.name) for alias in node.names]

    def _imported(self, node: ast.stmt, alias: ast.alias, module: str, member: str | None) -> ast.stmt:
        if module not in MODULES:
            self.error(node, f"import is not available for {module}; {_IMPORTABLE}")
            return node
        if member is not None and member not in MODULES[module]:
            held = ", ".join(sorted(MODULES[module]))
            self.error(node, f"import is not available for {member} of {module}; it has {held}")
            return node
        target: ast.expr = self.visit(_placed(ast.Name(alias.asname or alias.name, ast.Store()), node))
        value = _call("_import_", [ast.Constant(module)])
        if member is not None:
            value = _call("_getattr_", [value, ast.Constant(member)])
        return _placed(ast.Assign(targets=[target], value=value), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Visited:
        """``x: int = 1`` is ``x = 1``; the annotation is not evaluated."""
        if node.value is None:
            return _placed(ast.Pass(), node)
        plain: Visited = self.visit(_placed(ast.Assign(targets=[node.target], value=node.value), node))
        return plain

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Visited:
        """Annotations are dropped unevaluated: ``list[int]`` would need items of a class, which scripts do not get."""
        node.returns = None
        return super().visit_FunctionDef(node)

    def visit_arg(self, node: ast.arg) -> Visited:
        """See ``visit_FunctionDef``."""
        node.annotation = None
        return super().visit_arg(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> Visited:
        """``d[k] += v`` and ``o.a += v`` become one guarded call; names go the way of RestrictedPython."""
        operator = ast.Constant(IOPERATOR_TO_STR[type(node.op)])
        target = node.target
        if isinstance(target, ast.Subscript):
            parts = [operator, self.visit(target.value), self.visit(target.slice), self.visit(node.value)]
            return _placed(ast.Expr(_call("_inplace_item_", parts)), node)
        if isinstance(target, ast.Attribute):
            self._check_attribute(target)
            parts = [operator, self.visit(target.value), ast.Constant(target.attr), self.visit(node.value)]
            return _placed(ast.Expr(_call("_inplace_attribute_", parts)), node)
        return super().visit_AugAssign(node)

    def _check_attribute(self, node: ast.Attribute) -> None:
        if node.attr.startswith("_") or node.attr.endswith("__roles__") or node.attr in INSPECT_ATTRIBUTES:
            self.error(node, f'"{node.attr}" is not an attribute that a script may change.')

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        """What an f-string shows goes through the guard that hides addresses, with its format specification."""
        node = self.node_contents_visit(node)
        given = [node.value, ast.Constant(node.conversion)]
        if node.format_spec is not None:
            given.append(node.format_spec)
        node.value = _placed(_call("_show_", given), node.value)
        node.conversion, node.format_spec = -1, None
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """``%`` formats when its left side is a string, so it is a guard too."""
        node = self.node_contents_visit(node)
        if isinstance(node.op, ast.Mod):
            return _placed(_call("_modulo_", [node.left, node.right]), node)
        return node


def _name(identifier: str) -> ast.Name:
    return ast.Name(identifier, ast.Load())


def _call(guard: str, arguments: list[ast.expr]) -> ast.Call:
    return ast.Call(func=_name(guard), args=arguments, keywords=[])


def _placed(new: Placed, old: ast.stmt | ast.expr) -> Placed:
    copy_locations(new, old)
    return new
