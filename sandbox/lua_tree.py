"""The syntax tree of a Lua chunk: small, with line numbers, and with every name bound to the local variable it means.

A chain of operators of one strength is one node and not a tower of them, so that a long sum is not a deep tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class Variable:
    """One local variable. Two of one name are two of these."""

    __slots__ = ("line", "name")

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line


@dataclass(slots=True)
class Node:
    """Anything in the tree."""

    line: int  # from 1


class Expression(Node):
    """Has a value."""

    __slots__ = ()


class Statement(Node):
    """Does something."""

    __slots__ = ()


@dataclass(slots=True)
class Constant(Expression):
    """``nil``, ``true``, ``false``, a numeral or a string."""

    value: bool | int | float | str | None  # a string holds bytes as latin-1


@dataclass(slots=True)
class OddNumber(Expression):
    """A numeral of a kind that only LuaJIT has, such as ``1ULL``."""


@dataclass(slots=True)
class Vararg(Expression):
    """``...``"""


@dataclass(slots=True)
class Name(Expression):
    """A name, read or assigned."""

    name: str
    variable: Variable | None  # None: global


@dataclass(slots=True)
class Index(Expression):
    """``object[key]``, and ``object.key`` with a constant key."""

    object: Expression
    key: Expression


@dataclass(slots=True)
class Call(Expression):
    """``function(arguments)``"""

    function: Expression
    arguments: list[Expression]


@dataclass(slots=True)
class Method(Expression):
    """``object:name(arguments)``"""

    object: Expression
    name: str
    arguments: list[Expression]


@dataclass(slots=True)
class Group(Expression):
    """``(expression)``: one value of it."""

    expression: Expression


@dataclass(slots=True)
class Unary(Expression):
    """``-x``, ``#x``, ``~x`` or ``not x``."""

    operator: str
    operand: Expression


@dataclass(slots=True)
class Binary(Expression):
    """``a + b - c``: operands, and the operators between them, all of one strength."""

    operands: list[Expression]
    operators: list[str]


@dataclass(slots=True)
class Table(Expression):
    """``{a, [k] = b, c = d}``: values with their keys; None where the key is the next number."""

    fields: list[tuple[Expression | None, Expression]]


@dataclass(slots=True)
class Function(Expression):
    """``function (parameters) body end``; a method's ``self`` is its first parameter."""

    parameters: list[Variable]
    has_vararg: bool
    body: Block


@dataclass(slots=True)
class Block:
    """Statements, in order."""

    statements: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class Local(Statement):
    """``local names = values``"""

    variables: list[Variable]
    values: list[Expression]
    attributes: list[str | None]  # ``const`` or ``close``


@dataclass(slots=True)
class LocalFunction(Statement):
    """``local function f() end``"""

    variable: Variable
    function: Function


@dataclass(slots=True)
class Assign(Statement):
    """``targets = values``; ``function a.b() end`` is one too."""

    targets: list[Expression]
    values: list[Expression]


@dataclass(slots=True)
class Do(Statement):
    """``do body end``, and a call that stands alone has its own node."""

    body: Block


@dataclass(slots=True)
class Evaluate(Statement):
    """A call as a statement."""

    call: Expression


@dataclass(slots=True)
class While(Statement):
    """``while condition do body end``"""

    condition: Expression
    body: Block


@dataclass(slots=True)
class Repeat(Statement):
    """``repeat body until condition``; the condition sees the locals of the body."""

    body: Block
    condition: Expression


@dataclass(slots=True)
class If(Statement):
    """``if condition then body elseif … else … end``"""

    branches: list[tuple[Expression, Block]]
    otherwise: Block | None


@dataclass(slots=True)
class Count(Statement):
    """``for variable = first, last, step do body end``"""

    variable: Variable
    bounds: list[Expression]
    body: Block


@dataclass(slots=True)
class ForEach(Statement):
    """``for variables in values do body end``"""

    variables: list[Variable]
    values: list[Expression]
    body: Block


@dataclass(slots=True)
class Return(Statement):
    """``return values``"""

    values: list[Expression]


@dataclass(slots=True)
class Jump(Statement):
    """``break``, ``goto name`` or ``::name::``: nothing is evaluated."""

    name: str


@dataclass(slots=True)
class Chunk:
    """A whole file."""

    body: Block
    own_environments: list[int]  # lines that declare a local _ENV, after which no global name means what it says
