"""Reads the syntax tree of a Lua chunk and tells ``flow`` what becomes of families, calls and constants.

Order and conditions are not looked at: every statement may run, any number of times. A metamethod may be behind every
operator, so what is powerful escapes wherever an operator would hand it to one; ``and``, ``or`` and ``not`` have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sandbox.flow import (
    NOTHING,
    SOME_NUMBER,
    UNKNOWN,
    Arguments,
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
from sandbox.lua_surface import SURFACES
from sandbox.lua_tree import (
    Assign,
    Binary,
    Block,
    Call,
    Chunk,
    Constant,
    Count,
    Do,
    Evaluate,
    Expression,
    ForEach,
    Function,
    Group,
    If,
    Index,
    Jump,
    Local,
    LocalFunction,
    Method,
    Name,
    OddNumber,
    Repeat,
    Return,
    Statement,
    Table,
    Unary,
    Vararg,
    While,
)  # fmt: skip
from sandbox.own_names import OwnNames

_ENVIRONMENTS = frozenset({"_G", "_ENV"})
_BUILTINS = frozenset({"pcall", "xpcall", "ipairs", "pairs"})
# A look at an enumeration costs ten times as much as a look at one of these.
_BUILTIN, _CALL, _CONTAINER, _ENVIRONMENT = Kind.BUILTIN, Kind.CALL, Kind.CONTAINER, Kind.ENVIRONMENT
_FAMILY, _HANDLE = Kind.FAMILY, Kind.HANDLE
_NIL = constant(None)
_SEVERAL = (Call, Method, Vararg)  # what may give more values than one, or none
_CALLS = (Call, Method)


class LuaReader:
    """Reads one file. Global variables are those of all files: whatever runs them may let them share.

    Args:
        flow: Where everything is told.
        chunk: The file.
        file: Its name.
        flavour: ``lua`` or ``luajit``.
        free: Families that no other file names: the file may have variables of these names for its own.
    """

    def __init__(self, flow: Flow, chunk: Chunk, file: str, flavour: str, free: frozenset[str] = frozenset()) -> None:
        self._flow = flow
        self._names_of_its_own = OwnNames(flow, free if not _has_labels(chunk) else frozenset())
        self._depth = 0  # of blocks; 1 is the chunk's own
        self._chunk = chunk
        self._file = file
        self._surface = SURFACES[flavour]
        self._names = self._surface.names
        self._ordinary: dict[str, bool] = {}  # global name -> as _is_ordinary; all of it is known beforehand
        self._gave_one = False  # whether the newest call that was read gives exactly one value
        self.line = 1  # where reading has come to, for whoever has to say where it could not go on
        self._here = f"{file}:1"  # that, with the file's name

    def read(self) -> None:
        """Read the whole file once. ``RecursionError`` if it is nested too deeply to follow."""
        self._names_of_its_own.begin()
        for line in self._chunk.own_environments:
            self._flow.note_dynamic(f"{self._file}:{line}", "_ENV is replaced")
        self._block(self._chunk.body)

    def _place(self, line: int) -> str:
        if line != self.line:
            self.line, self._here = line, f"{self._file}:{line}"
        return self._here

    # Statements

    def _block(self, block: Block) -> None:
        self._depth += 1
        for statement in block.statements:
            _STATEMENTS[type(statement)](self, statement)
        self._depth -= 1

    def _local(self, node: Local) -> None:
        values = self._values(node.values, len(node.variables))
        for variable, value in zip(node.variables, values, strict=True):
            self._flow.assign(variable, value)
        for value, attribute in zip(values, node.attributes, strict=True):
            if attribute == "close":  # its metamethod gets it
                self._flow.escape(value, self._place(node.line))

    def _local_function(self, node: LocalFunction) -> None:
        self._flow.assign(node.variable, UNKNOWN)
        self._function(node.function)

    def _assign(self, node: Assign) -> None:
        if len(node.targets) == len(node.values) == 1:  # most are
            (source,) = node.values
            self._store(node.targets[0], _single(_EXPRESSIONS[type(source)](self, source)))
            return
        values = self._values(node.values, len(node.targets))
        for target, value in zip(node.targets, values, strict=True):
            self._store(target, value)

    def _store(self, target: Expression, value: Value) -> None:
        place = self._place(target.line)
        if isinstance(target, Name):
            if target.variable is not None:
                self._flow.assign(target.variable, value)
            else:
                self._store_global(target.name, value, place, is_certain=self._depth == 1)
            return
        if not isinstance(target, Index):
            raise TypeError(f"cannot assign to {type(target).__name__}")
        names = self._key(target.key)
        self._misled(target.object, names)
        held = self._object(target.object)
        if any(atom.kind is _ENVIRONMENT for atom in held):
            if names is None:
                self._flow.note_dynamic(place, "a global is replaced under a computed name")
            for name in names or ():
                self._store_global(name, value, place)
        for name in names or ():
            self._flow.assign(("field", name), UNKNOWN)  # so that nobody is told that string.trim does not exist
        if not held or any(atom.kind is not _ENVIRONMENT for atom in held):
            self._flow.escape(value, place)

    def _misled(self, node: Expression, names: Sequence[str] | None) -> None:
        """Note that what reads like a call of a family is a member of the script's own variable."""
        if isinstance(node, Name) and node.variable is None:
            self._names_of_its_own.take(node.name, names or ())

    def _is_ordinary(self, name: str) -> bool:
        """Return whether a global is a variable like any other: nothing of ours, of Lua's, or that leads to others."""
        is_ordinary = self._ordinary.get(name)
        if is_ordinary is None:
            is_special = name in _ENVIRONMENTS or name in self._names or name == "load"
            is_ordinary = self._ordinary[name] = not (is_special or self._flow.known.is_ours(name))
        return is_ordinary

    def _store_global(self, name: str, value: Value, place: str, *, is_certain: bool = False) -> None:
        self._flow.assign(("global", name), value)
        if self._is_ordinary(name):
            return
        if self._names_of_its_own.store(name, place, is_certain=is_certain):
            return
        if name in _ENVIRONMENTS:
            self._flow.note_dynamic(place, f"{name} is replaced")
        elif self._flow.known.is_guarded(name):
            self._flow.note_dynamic(place, f"{name} is replaced", name)

    def _do(self, node: Do) -> None:
        self._block(node.body)

    def _evaluate(self, node: Evaluate) -> None:
        self._value(node.call)

    def _while(self, node: While) -> None:
        self._value(node.condition)
        self._block(node.body)

    def _repeat(self, node: Repeat) -> None:
        self._block(node.body)
        self._value(node.condition)

    def _if(self, node: If) -> None:
        for condition, body in node.branches:
            self._value(condition)
            self._block(body)
        if node.otherwise is not None:
            self._block(node.otherwise)

    def _count(self, node: Count) -> None:
        place = self._place(node.line)
        self._flow.escape_all([self._value(bound) for bound in node.bounds], place)
        self._flow.assign(node.variable, SOME_NUMBER)
        self._block(node.body)

    def _for_each(self, node: ForEach) -> None:
        place = self._place(node.line)
        items = self._items(node)
        if items is None:
            self._flow.escape_all(self._values(node.values, 4), place)
            items = [UNKNOWN] * len(node.variables)
        for number, variable in enumerate(node.variables):
            self._flow.assign(variable, items[number] if number < len(items) else _NIL)
        self._block(node.body)

    def _items(self, node: ForEach) -> list[Value] | None:
        """Return the values of the loop's variables if it goes through a list that is written out there."""
        call = node.values[0]
        if len(node.values) != 1 or not isinstance(call, Call) or len(call.arguments) != 1:
            return None
        iterator = self._value(call.function)
        names = {atom.name for atom in iterator if atom.kind is _BUILTIN}
        if len(iterator) != 1 or not names & {"ipairs", "pairs"}:
            return None
        index = SOME_NUMBER if "ipairs" in names else UNKNOWN
        table = call.arguments[0]
        if not isinstance(table, Table) or any(key is not None for key, _ in table.fields):
            self._flow.escape(self._value(table), self._place(call.line))
            return [index, UNKNOWN]
        item = NOTHING
        for _, element in table.fields:
            value = self._value(element)
            if isinstance(element, _SEVERAL):
                self._flow.escape(value, self._place(element.line))
                value = UNKNOWN
            item = joined(item, value)
        return [index, item]

    def _return(self, node: Return) -> None:
        place = self._place(node.line)
        self._flow.escape_all([self._value(value) for value in node.values], place)

    def _jump(self, node: Jump) -> None:
        """Nothing is evaluated."""

    # Expressions

    def _values(self, expressions: Sequence[Expression], count: int) -> list[Value]:
        """Return what ``count`` places get of a list of expressions; what is too much is evaluated all the same."""
        values: list[Value] = []
        for number, expression in enumerate(expressions):
            is_last = number == len(expressions) - 1
            if is_last and number < count - 1 and isinstance(expression, _SEVERAL):
                values += self._several(expression, count - number)
            else:
                values.append(_single(self._value(expression)))
        return (values + [_NIL] * count)[:count]

    def _several(self, expression: Expression, count: int) -> list[Value]:
        """Return what the places get that a last call fills."""
        found = self._value(expression)
        second: Value = UNKNOWN
        for atom in found:
            if atom.kind is _CONTAINER and atom.name == "results":  # whether it went well, then what it gave
                second |= atom.value
        return [_single(found), second, *[UNKNOWN] * count][:count]

    def _value(self, node: Expression) -> Value:
        return _EXPRESSIONS[type(node)](self, node)

    def _constant(self, node: Constant) -> Value:
        if type(node.value) is str:
            return constant(_text(node.value))
        return constant(node.value)

    def _unknown(self, node: Expression) -> Value:
        return UNKNOWN

    def _group(self, node: Group) -> Value:
        return _single(self._value(node.expression))

    def _name(self, node: Name) -> Value:
        if node.variable is not None:
            return self._flow.value(node.variable)
        value = self._global(node.name, self._place(node.line))
        if not value:
            self._flow.notes.unknown.setdefault(node.name, []).append(self._place(node.line))
            return UNKNOWN
        return value

    def _global(self, name: str, place: str) -> Value:
        """Return what a global name may stand for; nothing if nobody defines it."""
        assigned = self._flow.value(("global", name))
        if self._is_ordinary(name):
            return assigned or (UNKNOWN if self._flow.is_assigned(("global", name)) else NOTHING)
        if name in _ENVIRONMENTS:
            return assigned | one(Kind.ENVIRONMENT, name)
        if self._flow.known.is_family(name):
            if self._names_of_its_own.read(name):
                return assigned or UNKNOWN
            return assigned | one(Kind.FAMILY, name)
        if name in self._flow.known.calls:
            return assigned | self._flow.take(name, place)
        if name == "load":
            self._flow.note_dynamic(place, "load runs text that is not there yet")
        if name in self._names:
            return assigned | (one(Kind.BUILTIN, name) if name in _BUILTINS else UNKNOWN)
        return (assigned or UNKNOWN) if self._flow.is_assigned(("global", name)) else NOTHING

    def _object(self, node: Expression) -> Value:
        """Return the value of what something hangs on."""
        return _single(self._value(node))

    def _undefined(self, node: Expression, names: Sequence[str] | None) -> bool:
        """Note ``nosuch.member`` with the member, if nobody defines ``nosuch``, or the library has no such member."""
        if not isinstance(node, Name) or node.variable is not None:
            return False
        place = self._place(node.line)
        library = self._surface.libraries.get(node.name)
        if library is not None:
            is_own = self._flow.is_assigned(("global", node.name)) or self._flow.known.is_ours(node.name)
            for name in names or ():
                if name not in library and not is_own and not self._flow.is_assigned(("field", name)):
                    self._flow.notes.absent.setdefault((node.name, name), []).append(place)
            return False
        if self._global(node.name, place):
            return False
        for name in names or ("",):
            self._flow.notes.unknown.setdefault(f"{node.name}.{name}".rstrip("."), []).append(place)
        return True

    def _key(self, node: Expression) -> list[str] | None:
        """Return all that a key can be, where those are texts; it is evaluated, and what is powerful in it escapes."""
        if type(node) is Constant and type(node.value) is str:
            return [node.value]
        value = _single(self._value(node))
        self._flow.escape(value, self._place(node.line))
        return texts(value)

    def _index(self, node: Index) -> Value:
        names = self._key(node.key)
        self._misled(node.object, names)
        if self._undefined(node.object, names):
            return UNKNOWN
        key_is_number = names is None and isinstance(node.key, Name) and self._value(node.key) <= SOME_NUMBER
        held = self._object(node.object)
        return self._member(held, names, self._place(node.line), is_number=key_is_number)

    def _member(self, held: Value, names: list[str] | None, place: str, *, is_number: bool = False) -> Value:
        environments = [atom for atom in held if atom.kind is _ENVIRONMENT]
        if not environments:
            return self._flow.member(held, names, place, is_number=is_number)
        if names is None:
            self._flow.escape(frozenset(environments), place)
            return UNKNOWN
        found: Value = self._flow.member(held.difference(environments), names, place)
        for name in names:
            found |= self._global(name, place)
        return found

    def _function(self, node: Function) -> Value:
        for parameter in node.parameters:
            self._flow.assign(parameter, UNKNOWN)
        self._block(node.body)
        return UNKNOWN

    def _table(self, node: Table) -> Value:
        items: list[Value] = []
        named: list[tuple[str, Value]] = []
        is_plain = True
        for key, value_node in node.fields:
            value = self._value(value_node)
            self._flow.escape(value, self._place(value_node.line))
            if key is None:
                items.append(_single(value))
                is_plain = is_plain and not isinstance(value_node, _SEVERAL)
            else:
                names = self._key(key)
                named += [(name, value) for name in names or ()]
                is_plain = is_plain and names is not None and len(names) == 1
        return one(Kind.CONTAINER, "table", (tuple(items), tuple(named))) if is_plain else UNKNOWN

    def _unary(self, node: Unary) -> Value:
        value = _single(self._value(node.operand))
        if node.operator == "not":
            return UNKNOWN
        self._flow.escape(value, self._place(node.line))
        if node.operator == "-" and len(value) == 1:
            (atom,) = value
            if atom.kind is Kind.CONSTANT and atom.name in ("int", "float"):
                return constant(-atom.value)
        return UNKNOWN

    def _binary(self, node: Binary) -> Value:
        values = [_single(_EXPRESSIONS[type(operand)](self, operand)) for operand in node.operands]
        if node.operators[0] in ("and", "or"):
            return chosen(values, is_and=node.operators[0] == "and")
        self._flow.escape_all(values, self._place(node.line))
        found = values[0]
        for operator, value in zip(node.operators, values[1:], strict=True):
            found = concatenated(found, value) if operator == ".." else calculated(operator, found, value)
        return found

    # Calls

    def _call(self, node: Call) -> Value:
        if self._undefined(node.function, None):
            called: Value = UNKNOWN
        else:
            called = self._object(node.function)
        arguments, is_open = self._arguments(node.arguments)
        return self._made(called, arguments, is_open, self._place(node.line))

    def _arguments(self, nodes: Sequence[Expression]) -> tuple[list[Value], bool]:
        """Return the values of arguments, and whether there may be more of them than are written."""
        values = [_single(self._value(node)) for node in nodes[:-1]]
        if not nodes:
            return values, False
        last = self._value(nodes[-1])
        is_open = isinstance(nodes[-1], Vararg) or (isinstance(nodes[-1], _CALLS) and not self._gave_one)
        if is_open:
            self._flow.escape(last, self._place(nodes[-1].line))
        return [*values, _single(last)], is_open

    def _made(self, called: Value, arguments: list[Value], is_open: bool, place: str) -> Value:
        """Return what calling ``called`` gives."""
        results = NOTHING
        is_other = not called
        for atom in called:
            if atom.kind is _CALL:
                self._escape_given(arguments, place)
                maps = self._flow.known.maps.get(atom.name, frozenset())
                results |= self._flow.make(atom.name, place, given(arguments, is_open, maps))
            elif atom.kind is _BUILTIN and atom.name in ("pcall", "xpcall") and arguments:
                results |= self._protected(atom.name, arguments, is_open, place)
            else:
                is_other = True
        if is_other:
            self._flow.escape_all(arguments, place)
        self._gave_one = all(atom.kind is _CALL and atom.name not in self._flow.known.streams for atom in called)
        return results | UNKNOWN if is_other and called else results

    def _escape_given(self, arguments: list[Value], place: str) -> None:
        """A call of ours hands what it is given to the host: a handle does not get out of sight by that."""
        for value in arguments:
            self._flow.escape(frozenset(atom for atom in value if atom.kind is not _HANDLE), place)

    def _protected(self, name: str, arguments: list[Value], is_open: bool, place: str) -> Value:
        """``pcall(f, ...)`` is ``f(...)``, ``xpcall(f, handler, ...)`` calls the handler besides."""
        function, rest = arguments[0], arguments[1:]
        if name == "xpcall":
            self._made(rest[0] if rest else NOTHING, [UNKNOWN], True, place)
            rest = rest[1:]
        result = self._made(function, rest, is_open, place)
        return one(Kind.CONTAINER, "results", result)

    def _method(self, node: Method) -> Value:
        place = self._place(node.line)
        self._misled(node.object, [node.name])
        if self._undefined(node.object, [node.name]):
            held: Value = UNKNOWN
        else:
            held = self._object(node.object)
        arguments, is_open = self._arguments(node.arguments)
        powerful = [atom for atom in held if atom.kind is _FAMILY]
        for family in powerful:
            wrong = f"{family.name}:{node.name}(...) passes {family.name} itself; write {family.name}.{node.name}(...)"
            self._flow.notes.remarks.append((place, wrong))
        called = self._member(held, [node.name], place)
        receiver = frozenset(atom for atom in held if atom.kind not in (Kind.FAMILY, Kind.CONSTANT, Kind.TEXT))
        if powerful:
            self._flow.escape_all(arguments, place)
            for atom in called:
                if atom.kind is _CALL:
                    self._flow.make(atom.name, place, Arguments(is_open=True))
            self._gave_one = False
            return UNKNOWN
        return self._made(called, [receiver, *arguments], is_open, place)


def _has_labels(chunk: Chunk) -> bool:
    """Tell whether a jump can skip statements of the chunk's own block."""
    return any(isinstance(statement, Jump) for statement in chunk.body.statements)


def given(arguments: list[Value], is_open: bool, maps: frozenset[int]) -> Arguments:
    """Return the arguments of a call of ours: a last map holds the named ones (``lua_runtime``).

    Args:
        arguments: What is passed.
        is_open: More may follow.
        maps: Places of the arguments that are maps by themselves.
    """
    if not arguments or is_open or len(arguments) - 1 in maps:
        return Arguments(tuple(arguments), (), is_open)
    last = arguments[-1]
    for atom in last:
        if atom.kind is _CONTAINER and atom.name == "table" and len(last) == 1:
            items, named = atom.value
            return Arguments(tuple(arguments[:-1]), named) if named and not items else Arguments(tuple(arguments))
    may_be_map = any(atom.kind in (Kind.UNKNOWN, Kind.CONTAINER) for atom in last)
    return Arguments(tuple(arguments), (), may_be_map)


def _single(value: Value) -> Value:
    """Return the first of several results: that of a protected call says only whether it went well."""
    if value is UNKNOWN:
        return value
    for atom in value:
        if atom.kind is _CONTAINER and atom.name == "results":
            return frozenset(atom for atom in value if atom.kind is not _CONTAINER) | UNKNOWN
    return value


def _text(held: str) -> str | bytes:
    """Return the text that bytes are, or the bytes if they are none."""
    if held.isascii():
        return held
    try:
        return held.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return held.encode("latin-1")


_STATEMENTS: dict[type[Statement], Callable[[LuaReader, Any], None]] = {
    Assign: LuaReader._assign,
    Count: LuaReader._count,
    Do: LuaReader._do,
    Evaluate: LuaReader._evaluate,
    ForEach: LuaReader._for_each,
    If: LuaReader._if,
    Jump: LuaReader._jump,
    Local: LuaReader._local,
    LocalFunction: LuaReader._local_function,
    Repeat: LuaReader._repeat,
    Return: LuaReader._return,
    While: LuaReader._while,
}
_EXPRESSIONS: dict[type[Expression], Callable[[LuaReader, Any], Value]] = {
    Binary: LuaReader._binary,
    Call: LuaReader._call,
    Constant: LuaReader._constant,
    Function: LuaReader._function,
    Group: LuaReader._group,
    Index: LuaReader._index,
    Method: LuaReader._method,
    Name: LuaReader._name,
    OddNumber: LuaReader._unknown,
    Table: LuaReader._table,
    Unary: LuaReader._unary,
    Vararg: LuaReader._unknown,
}
