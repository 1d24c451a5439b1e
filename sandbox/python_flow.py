"""Reads the syntax tree of a Python script and tells ``flow`` what becomes of families, calls and constants.

Order and conditions are not looked at: every statement may run, any number of times. Syntax without a reader here is
reported as dynamic: what is not understood is never taken for harmless. Annotations are never evaluated, as
``python_policy`` drops them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sandbox import python_surface
from sandbox.flow import (
    NOTHING,
    UNKNOWN,
    Arguments,
    Atom,
    Flow,
    Kind,
    Value,
    calculated,
    chosen,
    concatenated,
    constant,
    joined,
    one,
    texts,
)  # fmt: skip
from sandbox.own_names import OwnNames
from sandbox.python_scopes import Comprehension, Function, Scope, Variable, around, parameters, scopes

_GLOBALS = (
    python_surface.STOCK
    | python_surface.GUARDED
    | python_surface.EXCEPTIONS
    | python_surface.CONSTANTS
    | {"HostError", "print"}
)
_BUILTINS = frozenset({"getattr", "hasattr"})
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.LShift: "<<",
}  # fmt: skip


class PythonReader:
    """Reads one file.

    Args:
        flow: Where everything is told.
        tree: The file.
        file: Its name.
        is_main: Whether it is what runs. What another file leaves in its globals is for others to take.
        free: Families that no other file names: the file may have variables of these names for its own.
    """

    def __init__(
        self, flow: Flow, tree: ast.Module, file: str, *, is_main: bool, free: frozenset[str] = frozenset()
    ) -> None:
        self._flow = flow
        self._names_of_its_own = OwnNames(flow, free - _deleted(tree))
        self._certain = frozenset(map(id, _certain_targets(tree)))  # nodes that bind for sure when the file is run
        self._tree = tree
        self._file = file
        self._is_main = is_main
        self._scopes = scopes(tree)
        self._scope = self._scopes[tree]
        self._bound_globally = self._scope.bound.union(*(scope.declared_global for scope in self._scopes.values()))
        self.line = 1  # where reading has come to, for whoever has to say where it could not go on

    def read(self) -> None:
        """Read the whole file once. ``RecursionError`` if it is nested too deeply to follow."""
        self._scope = self._scopes[self._tree]
        self._names_of_its_own.begin()
        self._statements(self._tree.body)
        if not self._is_main:
            self.leave()

    def leave(self) -> None:
        """Let all globals escape: whoever requires the file has them."""
        for name in sorted(self._bound_globally):
            self._flow.escape(self._flow.value(self._key((0, name))), self._file)

    def _place(self, node: ast.AST) -> str:
        self.line = getattr(node, "lineno", self.line)
        return f"{self._file}:{self.line}"

    @contextmanager
    def _inside(self, opener: ast.AST) -> Iterator[Scope]:
        before, self._scope = self._scope, self._scopes[opener]
        yield self._scope
        self._scope = before

    def _key(self, variable: Variable) -> tuple[str, int, str]:
        return self._file, *variable

    # Names

    def _read_name(self, name: str, place: str) -> Value:
        found: Value = NOTHING
        for variable in self._scope.variables(name):
            found |= self._flow.value(self._key(variable))
            if variable[0] == 0 and not (self._flow.known.is_family(name) and self._names_of_its_own.read(name)):
                found |= self._builtin(name, place)
        if not found and self._flow.has_read_once:
            return UNKNOWN  # bound by something that was not read as binding it: then nothing is known of it
        return found

    def _builtin(self, name: str, place: str) -> Value:
        if self._flow.known.is_family(name):
            return one(Kind.FAMILY, name) | (UNKNOWN if name in _GLOBALS else NOTHING)  # hex is both
        if name in self._flow.known.calls:
            return self._flow.take(name, place)
        if name in _GLOBALS:
            return one(Kind.BUILTIN, name) if name in _BUILTINS else UNKNOWN
        return NOTHING

    def _bind(self, name: str, value: Value, place: str, node: ast.AST | None = None) -> None:
        variable = self._scope.variable(name)
        self._flow.assign(self._key(variable), value)
        if self._scope.kind == "class" and variable[0] == self._scope.number:
            self._flow.escape(value, place)  # whoever has the class has its attributes
        elif variable[0] == 0 and self._flow.known.is_guarded(name):
            if self._names_of_its_own.store(name, place, is_certain=id(node) in self._certain):
                return
            is_same = bool(value) and all(atom.kind is Kind.MODULE and atom.name == name for atom in value)
            if not is_same:
                self._flow.note_dynamic(place, f"{name} is replaced", name)

    def _misled(self, node: ast.Attribute) -> None:
        """Note that what reads like a call of a family is a member of the script's own variable."""
        if isinstance(node.value, ast.Name) and self._scope.variables(node.value.id)[-1][0] == 0:
            self._names_of_its_own.take(node.value.id, (node.attr,))

    def _is_undefined(self, node: ast.expr, member: str | None) -> bool:
        """Note a name that nobody defines, with the member that is taken of it."""
        if not isinstance(node, ast.Name):
            return False
        variable = self._scope.variables(node.id)[-1]
        if variable[0] != 0 or node.id in self._bound_globally:
            return False
        place = self._place(node)
        if self._builtin(node.id, place):
            return False
        self._flow.notes.unknown.setdefault(node.id if member is None else f"{node.id}.{member}", []).append(place)
        return True

    # Statements

    def _statements(self, nodes: Sequence[ast.stmt]) -> None:
        for node in nodes:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        reader = _STATEMENTS.get(type(node))
        if reader is None:
            self._flow.note_dynamic(self._place(node), f"analysis does not know {type(node).__name__} statements")
        else:
            reader(self, node)

    def _expression_statement(self, node: ast.Expr) -> None:
        self._value(node.value)  # and dropped

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._store_of(target, node.value)

    def _store_of(self, target: ast.expr, source: ast.expr) -> None:
        """Store what ``source`` gives: item by item if both sides are written out."""
        if (
            isinstance(target, ast.Tuple | ast.List)
            and isinstance(source, ast.Tuple | ast.List)
            and len(target.elts) == len(source.elts)
            and not any(isinstance(item, ast.Starred) for item in (*target.elts, *source.elts))
        ):
            for inner, value in zip(target.elts, source.elts, strict=True):
                self._store_of(inner, value)
        else:
            self._store(target, self._value(source))

    def _store(self, target: ast.expr, value: Value) -> None:
        place = self._place(target)
        match target:
            case ast.Name():
                self._bind(target.id, value, place, target)
            case ast.Tuple() | ast.List():
                self._flow.escape(value, place)
                for item in target.elts:
                    self._store(item.value if isinstance(item, ast.Starred) else item, UNKNOWN)
            case ast.Attribute():
                self._misled(target)
                self._flow.escape(self._value(target.value), place)
                self._flow.escape(value, place)
            case ast.Subscript():
                self._flow.escape_all([self._value(target.value), self._value(target.slice), value], place)
            case _:
                self._flow.note_dynamic(place, f"analysis does not know {type(target).__name__} targets")

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._store_of(node.target, node.value)

    def _augmented(self, node: ast.AugAssign) -> None:
        place = self._place(node)
        self._flow.escape(self._value(node.value), place)
        match node.target:
            case ast.Name():
                self._flow.escape(self._read_name(node.target.id, place), place)
                self._bind(node.target.id, UNKNOWN, place)
            case ast.Attribute() | ast.Subscript():
                self._store(node.target, UNKNOWN)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self._store(target, UNKNOWN)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._loop(node.target, node.iter)
        self._statements([*node.body, *node.orelse])

    def _loop(self, target: ast.expr, source: ast.expr) -> None:
        items = _written_out(source)
        if items is None:
            self._flow.escape(self._value(source), self._place(source))
            self._store(target, UNKNOWN)
        for item in items or ():
            self._store_of(target, item)

    def _while(self, node: ast.While | ast.If) -> None:
        self._value(node.test)
        self._statements([*node.body, *node.orelse])

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            value = self._value(item.context_expr)
            handles = frozenset(atom for atom in value if atom.kind is Kind.HANDLE)  # each enters as itself
            self._flow.escape(value - handles, self._place(node))
            if item.optional_vars is not None:
                self._store(item.optional_vars, handles if handles and handles == value else handles | UNKNOWN)
        self._statements(node.body)

    def _try(self, node: ast.Try) -> None:
        self._statements(node.body)
        for handler in node.handlers:
            if handler.type is not None:
                self._flow.escape(self._value(handler.type), self._place(handler))
            if handler.name is not None:
                self._bind(handler.name, UNKNOWN, self._place(handler))
            self._statements(handler.body)
        self._statements([*node.orelse, *node.finalbody])

    def _return(self, node: ast.Return | ast.Raise | ast.Assert) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._flow.escape(self._value(child), self._place(node))

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            members = python_surface.MODULES.get(alias.name, frozenset())
            self._bind(alias.asname or alias.name, one(Kind.MODULE, alias.name, members), self._place(node))

    def _import_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            place, call = self._place(node), f"{node.module}.{alias.name}"
            value = self._flow.take(call, place) if call in self._flow.known.calls else UNKNOWN
            self._bind(alias.asname or alias.name, value, place)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        place = self._place(node)
        if getattr(node, "type_params", None):
            self._flow.note_dynamic(place, "analysis does not know parameters of types")
        self._function(node, node.body)
        for decorator in reversed(node.decorator_list):
            self._made(self._value(decorator), Arguments((UNKNOWN,)), self._place(decorator))
        self._bind(node.name, UNKNOWN, place, node)

    def _function(self, node: Function, body: Sequence[ast.stmt]) -> None:
        defaults = [*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)]
        for default in defaults:
            self._flow.escape(self._value(default), self._place(default))
        with self._inside(node):
            for parameter in parameters(node.args):
                self._bind(parameter.arg, UNKNOWN, self._place(parameter))
            self._statements(body)

    def _class(self, node: ast.ClassDef) -> None:
        place = self._place(node)
        if getattr(node, "type_params", None):
            self._flow.note_dynamic(place, "analysis does not know parameters of types")
        for base in [*node.bases, *(keyword.value for keyword in node.keywords)]:
            self._flow.escape(self._value(base), place)
        with self._inside(node):
            self._statements(node.body)
        for decorator in reversed(node.decorator_list):
            self._made(self._value(decorator), Arguments((UNKNOWN,)), self._place(decorator))
        self._bind(node.name, UNKNOWN, place)

    def _nothing(self, node: ast.stmt) -> None:
        """Nothing is evaluated."""

    # Expressions

    def _value(self, node: ast.expr) -> Value:
        reader = _EXPRESSIONS.get(type(node))
        if reader is None:
            self._flow.note_dynamic(self._place(node), f"analysis does not know {type(node).__name__} expressions")
            return UNKNOWN
        return reader(self, node)

    def _constant(self, node: ast.Constant) -> Value:
        if node.value is None or isinstance(node.value, bool | int | float | str | bytes):
            return constant(node.value)
        return UNKNOWN

    def _name(self, node: ast.Name) -> Value:
        if self._is_undefined(node, None):
            return UNKNOWN
        return self._read_name(node.id, self._place(node))

    def _attribute(self, node: ast.Attribute) -> Value:
        self._misled(node)
        if self._is_undefined(node.value, node.attr):
            return UNKNOWN
        return self._flow.member(self._value(node.value), [node.attr], self._place(node))

    def _escaping(self, node: ast.expr) -> Value:
        """Read an expression of which nothing is known but its parts."""
        place = self._place(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._flow.escape(self._value(child), place)
        return UNKNOWN

    def _slice(self, node: ast.Slice) -> Value:
        return self._escaping(node)

    def _sequence(self, node: ast.List | ast.Tuple | ast.Set) -> Value:
        values = [self._value(item) for item in node.elts]
        self._flow.escape_all(values, self._place(node))
        if any(isinstance(item, ast.Starred) for item in node.elts) or isinstance(node, ast.Set):
            return UNKNOWN
        return one(Kind.CONTAINER, "list", (tuple(values), ()))

    def _dict(self, node: ast.Dict) -> Value:
        place = self._place(node)
        named: list[tuple[str, Value]] = []
        for key, value_node in zip(node.keys, node.values, strict=True):
            value = self._value(value_node)
            self._flow.escape(value, place)
            if key is not None:
                of_key = self._value(key)
                self._flow.escape(of_key, place)
                named += [(name, value) for name in texts(of_key) or ()]
        is_plain = len(named) == len(node.keys)
        return one(Kind.CONTAINER, "table", ((), tuple(named))) if is_plain else UNKNOWN

    def _either(self, node: ast.BoolOp) -> Value:
        return chosen([self._value(value) for value in node.values], is_and=isinstance(node.op, ast.And))

    def _conditional(self, node: ast.IfExp) -> Value:
        self._value(node.test)
        return joined(self._value(node.body), self._value(node.orelse))

    def _walrus(self, node: ast.NamedExpr) -> Value:
        value = self._value(node.value)
        scope = self._scope
        while self._scope.kind == "comprehension" and self._scope.outer is not None:
            self._scope = self._scope.outer
        self._bind(node.target.id, value, self._place(node))
        self._scope = scope
        return value

    def _unary(self, node: ast.UnaryOp) -> Value:
        value = self._value(node.operand)
        if isinstance(node.op, ast.Not):
            return UNKNOWN
        self._flow.escape(value, self._place(node))
        if isinstance(node.op, ast.USub) and len(value) == 1:
            (atom,) = value
            if atom.kind is Kind.CONSTANT and atom.name in ("int", "float"):
                return constant(-atom.value)
        return UNKNOWN

    def _binary(self, node: ast.BinOp) -> Value:
        left, right, place = self._value(node.left), self._value(node.right), self._place(node)
        self._flow.escape_all([left, right], place)
        if isinstance(node.op, ast.Add) and (_is_text(left) or _is_text(right)):
            return concatenated(left, right) if _may_be_text(left) and _may_be_text(right) else UNKNOWN
        return calculated(_OPERATORS.get(type(node.op), "?"), left, right)

    def _f_string(self, node: ast.JoinedStr) -> Value:
        found = constant("")
        for part in node.values:
            value = self._value(part)
            self._flow.escape(value, self._place(node))
            found = concatenated(found, value)
        return found

    def _formatted(self, node: ast.FormattedValue) -> Value:
        value = self._value(node.value)
        self._flow.escape(value, self._place(node))
        if node.format_spec is not None:
            self._value(node.format_spec)
            return UNKNOWN
        return value if node.conversion in (-1, ord("s")) else UNKNOWN

    def _lambda(self, node: ast.Lambda) -> Value:
        self._function(node, ())
        with self._inside(node):
            self._flow.escape(self._value(node.body), self._place(node))
        return UNKNOWN

    def _comprehension(self, node: Comprehension) -> Value:
        first = node.generators[0]
        (source,) = around(node)
        items = _written_out(source)
        value = self._value(source) if items is None else NOTHING
        written = [self._value(item) for item in items or ()]
        with self._inside(node):
            if written and isinstance(first.target, ast.Name):
                for item in written:
                    self._bind(first.target.id, item, self._place(source))
            else:
                self._flow.escape_all([value, *written], self._place(source))
                self._store(first.target, UNKNOWN)
            for number, generator in enumerate(node.generators):
                if number:
                    self._loop(generator.target, generator.iter)
                for test in generator.ifs:
                    self._value(test)
            results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            self._flow.escape_all([self._value(result) for result in results], self._place(node))
        return UNKNOWN

    # Calls

    def _call(self, node: ast.Call) -> Value:
        place = self._place(node)
        called = self._value(node.func)
        positional = [self._value(item) for item in node.args]
        named = [(keyword.arg, self._value(keyword.value)) for keyword in node.keywords]
        starred = [number for number, item in enumerate(node.args) if isinstance(item, ast.Starred)]
        is_open = bool(starred) or any(name is None for name, _ in named)
        if starred:
            self._flow.escape_all(positional[starred[0] :], place)
            positional = positional[: starred[0]]
        self._flow.escape_all([value for name, value in named if name is None], place)
        plain = tuple((name, value) for name, value in named if name is not None)
        return self._made(called, Arguments(tuple(positional), plain, is_open), place)

    def _made(self, called: Value, arguments: Arguments, place: str) -> Value:
        """Return what calling ``called`` gives."""
        results = NOTHING
        values = [*arguments.positional, *(value for _, value in arguments.named)]
        is_other = not called
        for atom in called:
            if atom.kind is Kind.CALL:
                for value in values:
                    self._flow.escape(frozenset(item for item in value if item.kind is not Kind.HANDLE), place)
                results |= self._flow.make(atom.name, place, self._with_receiver(atom, arguments))
            elif atom.kind is Kind.BUILTIN and len(arguments.positional) >= 2 and not arguments.named:
                results |= self._looked_up(atom.name, arguments, place)
            else:
                is_other = True
        if is_other:
            self._flow.escape_all(values, place)
        return results | UNKNOWN if is_other and called else results

    @staticmethod
    def _with_receiver(call: Atom, arguments: Arguments) -> Arguments:
        """``t.write(data)`` is ``tty.write(t, data)``."""
        if call.value is None:
            return arguments
        return Arguments((UNKNOWN, *arguments.positional), arguments.named, arguments.is_open)

    def _looked_up(self, builtin: str, arguments: Arguments, place: str) -> Value:
        """``getattr(fs, "read")`` is ``fs.read``; ``hasattr`` takes nothing out."""
        target, name, *rest = arguments.positional
        self._flow.escape(name, place)
        self._flow.escape_all(rest, place)
        if builtin == "hasattr":
            return UNKNOWN
        if arguments.is_open:
            self._flow.escape(target, place)
            return UNKNOWN
        return self._flow.member(target, texts(name), place).union(*rest)


def _certain_targets(tree: ast.Module) -> Iterator[ast.AST]:
    """Give what binds a name whenever the file is run to there: plain assignments and functions of its outermost level.

    Not the names of ``a, b = b, a``, which are read here item by item and not after all of the right side.
    """
    for statement in tree.body:
        match statement:
            case ast.Assign():
                yield from (target for target in statement.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(), value=ast.expr()):
                yield statement.target
            case ast.FunctionDef():
                yield statement


def _deleted(tree: ast.Module) -> set[str]:
    """Return the names that are unbound somewhere, after which they stand for a family again."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}
    return found | {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}


def _written_out(node: ast.expr) -> list[ast.expr] | None:
    """Return what a loop over ``node`` goes through, if exactly that is written there."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set) and not any(
        isinstance(item, ast.Starred) for item in node.elts
    ):
        return node.elts
    return None


def _is_text(value: Value) -> bool:
    return bool(value) and all(
        atom.kind is Kind.TEXT or (atom.kind is Kind.CONSTANT and atom.name == "str") for atom in value
    )


def _may_be_text(value: Value) -> bool:
    return all(
        atom.kind in (Kind.TEXT, Kind.PARAMETER) or (atom.kind is Kind.CONSTANT and atom.name == "str")
        for atom in value
    )


_STATEMENTS: dict[type[ast.stmt], Callable[[PythonReader, Any], None]] = {
    ast.AnnAssign: PythonReader._annotated,
    ast.Assert: PythonReader._return,
    ast.Assign: PythonReader._assign,
    ast.AsyncFor: PythonReader._for,
    ast.AsyncFunctionDef: PythonReader._define,
    ast.AsyncWith: PythonReader._with,
    ast.AugAssign: PythonReader._augmented,
    ast.Break: PythonReader._nothing,
    ast.ClassDef: PythonReader._class,
    ast.Continue: PythonReader._nothing,
    ast.Delete: PythonReader._delete,
    ast.Expr: PythonReader._expression_statement,
    ast.For: PythonReader._for,
    ast.FunctionDef: PythonReader._define,
    ast.Global: PythonReader._nothing,
    ast.If: PythonReader._while,
    ast.Import: PythonReader._import,
    ast.ImportFrom: PythonReader._import_from,
    ast.Nonlocal: PythonReader._nothing,
    ast.Pass: PythonReader._nothing,
    ast.Raise: PythonReader._return,
    ast.Return: PythonReader._return,
    ast.Try: PythonReader._try,
    ast.While: PythonReader._while,
    ast.With: PythonReader._with,
}
_EXPRESSIONS: dict[type[ast.expr], Callable[[PythonReader, Any], Value]] = {
    ast.Attribute: PythonReader._attribute,
    ast.Await: PythonReader._escaping,
    ast.BinOp: PythonReader._binary,
    ast.BoolOp: PythonReader._either,
    ast.Call: PythonReader._call,
    ast.Compare: PythonReader._escaping,
    ast.Constant: PythonReader._constant,
    ast.Dict: PythonReader._dict,
    ast.DictComp: PythonReader._comprehension,
    ast.FormattedValue: PythonReader._formatted,
    ast.GeneratorExp: PythonReader._comprehension,
    ast.IfExp: PythonReader._conditional,
    ast.JoinedStr: PythonReader._f_string,
    ast.Lambda: PythonReader._lambda,
    ast.List: PythonReader._sequence,
    ast.ListComp: PythonReader._comprehension,
    ast.Name: PythonReader._name,
    ast.NamedExpr: PythonReader._walrus,
    ast.Set: PythonReader._sequence,
    ast.SetComp: PythonReader._comprehension,
    ast.Slice: PythonReader._slice,
    ast.Starred: PythonReader._escaping,
    ast.Subscript: PythonReader._escaping,
    ast.Tuple: PythonReader._sequence,
    ast.UnaryOp: PythonReader._unary,
    ast.Yield: PythonReader._escaping,
    ast.YieldFrom: PythonReader._escaping,
}
