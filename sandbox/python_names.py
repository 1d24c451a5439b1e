"""Which global names a Python script uses, and what it takes out of them, with real scopes.

Follows section 4.2 of the language reference: a name bound anywhere in a function is local to all of it unless declared
global; class bodies are not seen from the functions in them, and a name bound in a class body falls back to the global.
Where this reader is in doubt it says "global": a use too many is a question to the author, one too few is a hole.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Use:
    """One appearance of a global name with the attributes taken from it: ``fs.space`` has path ``("space",)``."""

    name: str
    path: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Import:
    """One name that an import binds: ``from math import pi as p`` is ``Import("p", "math", "pi", 1)``."""

    name: str
    module: str
    member: str | None  # absent if the name stands for the module itself
    line: int


@dataclass(frozen=True, slots=True)
class Names:
    """What a script does with global names.

    A name that an import binds in a function counts as a global one all the same: what is imported is the same
    wherever that stands.
    """

    uses: tuple[Use, ...]
    assigned: tuple[Use, ...]  # names that the script itself binds at its top level, with an empty path
    imports: tuple[Import, ...]  # names that imports bind, at any level


@dataclass(slots=True)
class _Scope:
    """Names of one function, comprehension or class body."""

    bound: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    is_class: bool = False


def names(tree: ast.Module) -> Names:
    """Return the global names of ``tree``. ``RecursionError`` if it is nested too deeply to follow."""
    reader = _Reader()
    for statement in tree.body:
        reader.visit(statement)
    return Names(tuple(reader.uses), tuple(reader.assigned), tuple(reader.imports))


class _Reader(ast.NodeVisitor):
    """Walks the tree once, scopes innermost last."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.assigned: list[Use] = []
        self.imports: list[Import] = []
        self._scopes: list[_Scope] = []

    def _is_global(self, name: str) -> bool:
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.declared_global:
                return True
            if scope.is_class:
                if depth == 0 and name in scope.bound:
                    return True  # until it is bound in the class body, the name means the global one
            elif name in scope.bound:
                return False
        return True

    # Names

    def visit_Name(self, node: ast.Name) -> None:
        self._note(node.id, (), node.lineno, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            path.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._note(inner.id, tuple(reversed(path)), inner.lineno, ast.Load())
        else:
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        """``getattr(fs, "space")`` is ``fs.space``; with anything but a constant it is a use of bare ``fs``."""
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) >= 2:
            target, wanted = node.args[0], node.args[1]
            if isinstance(target, ast.Name) and isinstance(wanted, ast.Constant) and isinstance(wanted.value, str):
                self._note(target.id, (wanted.value,), node.lineno, ast.Load())
                self._visit_all([*node.args[2:], *node.keywords])
                return
        self.generic_visit(node)

    def _note(self, name: str, path: tuple[str, ...], line: int, context: ast.expr_context) -> None:
        if not self._is_global(name):
            return
        if isinstance(context, ast.Load):
            self.uses.append(Use(name, path, line))
        elif not (self._scopes and self._scopes[-1].is_class):
            self.assigned.append(Use(name, (), line))

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += [Import(one.asname or one.name, one.name, None, node.lineno) for one in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self.imports += [Import(one.asname or one.name, module, one.name, node.lineno) for one in node.names]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self._note(node.name, (), node.lineno, ast.Store())
        self.generic_visit(node)

    # Scopes

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._note(node.name, (), node.lineno, ast.Store())
        self._visit_all(node.decorator_list)
        self._enter_function(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._note(node.name, (), node.lineno, ast.Store())
        self._visit_all(node.decorator_list)
        self._enter_function(node, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._enter_function(node, [node.body])

    def _enter_function(self, node: _Function, body: Sequence[ast.AST]) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        defaults = [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]
        annotations = [argument.annotation for argument in every if argument.annotation is not None]
        self._visit_all([*defaults, *annotations])  # in the scope around the function
        scope = _bindings(body)
        scope.bound |= {argument.arg for argument in every}
        self._visit_in(scope, body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._note(node.name, (), node.lineno, ast.Store())
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        scope = _bindings(node.body)
        scope.is_class = True
        self._visit_in(scope, node.body)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._enter_comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._enter_comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._enter_comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._enter_comprehension(node, [node.key, node.value])

    def _enter_comprehension(self, node: _Comprehension, results: Sequence[ast.expr]) -> None:
        first, *others = node.generators
        self.visit(first.iter)  # in the scope around it
        scope = _Scope()
        for generator in node.generators:
            scope.bound |= _bindings([generator.target]).bound
        inner: list[ast.AST] = [first.target, *first.ifs, *others, *results]
        self._visit_in(scope, inner)

    def _visit_in(self, scope: _Scope, nodes: Iterable[ast.AST]) -> None:
        self._scopes.append(scope)
        self._visit_all(nodes)
        self._scopes.pop()

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)


def _bindings(body: Iterable[ast.AST]) -> _Scope:
    """Return what ``body`` binds in its own scope, without looking into scopes inside it."""
    scope = _Scope()
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.bound.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name is not None:
            scope.bound.add(node.name)
        elif isinstance(node, ast.Global):
            scope.declared_global.update(node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.bound.add(node.name)
            continue
        elif isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue  # a walrus in there would bind here; unseen, the name counts as global, which is the safe side
        pending.extend(ast.iter_child_nodes(node))
    scope.bound -= scope.declared_global
    return scope
