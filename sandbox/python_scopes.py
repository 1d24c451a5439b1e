"""Which variable a name of a Python script means: section 4.2 of the language reference. Pure.

A name bound anywhere in a function is local to all of it unless declared otherwise; class bodies are not seen from the
functions in them; what a comprehension binds is its own, except by ``:=``, which binds around it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

Variable = tuple[int, str]  # number of the scope (0 is the module) and name


@dataclass(slots=True)
class Scope:
    """One module, class body, function or comprehension."""

    number: int
    kind: str  # ``module``, ``class``, ``function`` or ``comprehension``
    outer: Scope | None
    bound: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)

    def variables(self, name: str) -> list[Variable]:
        """Return all that ``name`` may mean when it is read here; the last is the global one if that is possible.

        More than one only in class bodies: until a name is bound there, it means the global one.
        """
        if name in self.declared_global:
            return [(0, name)]
        if self.kind == "class" and name in self.bound and name not in self.declared_nonlocal:
            return [(self.number, name), (0, name)]
        return [self.variable(name)]

    def variable(self, name: str) -> Variable:
        """Return what ``name`` means when it is bound here."""
        if name in self.declared_global:
            return 0, name
        if name in self.bound and name not in self.declared_nonlocal:
            return self.number, name
        scope = self.outer
        while scope is not None:
            if scope.kind != "class":
                if name in scope.declared_global:
                    return 0, name
                if name in scope.bound and name not in scope.declared_nonlocal:
                    return scope.number, name
            scope = scope.outer
        return 0, name


def scopes(tree: ast.Module) -> dict[ast.AST, Scope]:
    """Return the scope that each module, class, function and comprehension of ``tree`` opens."""
    found: dict[ast.AST, Scope] = {}
    _open(found, tree, None)
    return found


def _open(found: dict[ast.AST, Scope], node: ast.AST, outer: Scope | None) -> None:
    """Enter the scope of ``node`` and, one after the other, those inside it; no recursion, so any depth will do."""
    pending: list[tuple[ast.AST, Scope | None]] = [(node, outer)]
    while pending:
        opener, around = pending.pop()
        scope = Scope(len(found), _kind(opener), around)
        found[opener] = scope
        pending += [(inner, scope) for inner in _bind(scope, _inside(opener))]


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef):
        return "class"
    if isinstance(node, _COMPREHENSIONS):
        return "comprehension"
    return "function" if isinstance(node, _FUNCTIONS) else "module"


def _inside(node: ast.AST) -> list[ast.AST]:
    """Return what is evaluated in the scope that ``node`` opens; the rest of it belongs to the scope around."""
    if isinstance(node, ast.Lambda):
        return [*_parameters(node.args), node.body]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*_parameters(node.args), *node.body]
    if isinstance(node, ast.ClassDef):
        return list(node.body)
    if isinstance(node, ast.Module):
        return list(node.body)
    if isinstance(node, ast.DictComp):
        return [*_generators(node.generators), node.key, node.value]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return [*_generators(node.generators), node.elt]
    raise TypeError(f"{type(node).__name__} opens no scope")


def _generators(generators: list[ast.comprehension]) -> Iterator[ast.AST]:
    for number, generator in enumerate(generators):
        yield generator.target
        yield from generator.ifs
        if number:  # the first one is evaluated in the scope around
            yield generator.iter


def _parameters(arguments: ast.arguments) -> list[ast.AST]:
    """Return the parameters without their annotations."""
    return [ast.Name(argument.arg, ast.Store()) for argument in parameters(arguments)]


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """Return all parameters."""
    extra = [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def around(node: ast.AST) -> list[ast.expr]:
    """Return what of a class, function or comprehension is evaluated in the scope around it."""
    if isinstance(node, _FUNCTIONS):
        arguments = node.args
        defaults = [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]
        return defaults if isinstance(node, ast.Lambda) else [*node.decorator_list, *defaults]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, _COMPREHENSIONS):
        return [node.generators[0].iter]
    raise TypeError(f"{type(node).__name__} opens no scope")


def _bind(scope: Scope, nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """Note what ``nodes`` bind in ``scope``; return the openers of scopes among them."""
    openers: list[ast.AST] = []
    pending = list(nodes)
    while pending:
        node = pending.pop()
        match node:
            case ast.Name(ctx=ast.Store() | ast.Del()):
                scope.bound.add(node.id)
            case ast.NamedExpr():
                _walrus(scope, node.target.id)
                pending.append(node.value)
                continue
            case ast.ExceptHandler(name=str(name)):
                scope.bound.add(name)
            case ast.Global():
                scope.declared_global.update(node.names)
            case ast.Nonlocal():
                scope.declared_nonlocal.update(node.names)
            case ast.Import() | ast.ImportFrom():
                scope.bound.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.bound.add(node.name)
        if isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)):
            openers.append(node)
            pending.extend(around(node))
        else:
            pending.extend(ast.iter_child_nodes(node))
    return openers


def _walrus(scope: Scope, name: str) -> None:
    """``:=`` binds in the nearest scope around that is no comprehension (PEP 572)."""
    while scope.kind == "comprehension" and scope.outer is not None:
        scope = scope.outer
    scope.bound.add(name)
