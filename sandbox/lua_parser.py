"""From Lua source to a syntax tree: section 9 of the Lua 5.4 manual, and LuaJIT 2.1 where it differs.

A recursive-descent parser over the tokens of ``lua_lexer``. It takes no longer than a constant for each token, holds no
more than ``MAX_TOKENS`` of them and no deeper nesting than ``MAX_DEPTH``, and raises nothing but ``LuaSyntaxError``.
Names are bound while they are read, since in Lua a name means what was declared before it.

It may accept what Lua refuses (a ``goto`` without its label): callers ask Lua itself first. It never reads something
else out of a source than Lua does.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.lua_lexer import END, KEYWORDS, NAME, NUMBER, STRING, LuaSyntaxError, Tokens, tokens
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
    Variable,
    While,
)  # fmt: skip

MAX_TOKENS = 200_000  # a source of 256 KiB that holds more is made to be slow; chosen without measurement
MAX_DEPTH = 200  # of nested brackets, functions and blocks together; as many levels as Lua's own parser goes down
MAX_SUFFIXES = 200  # of one name: each makes the tree deeper, and Lua knows no bound

#: Strength of the operators, weakest first (manual, 3.4.8); those of one strength stand together.
_LEVELS = (
    {"or"}, {"and"}, {"<", ">", "<=", ">=", "~=", "=="}, {"|"}, {"~"}, {"&"}, {"<<", ">>"}, {".."}, {"+", "-"},
    {"*", "/", "//", "%"},
)  # fmt: skip
_STRENGTH = {operator: level for level, operators in enumerate(_LEVELS, 1) for operator in operators}
_UNARY_STRENGTH = len(_LEVELS) + 1
_UNARY = frozenset({"-", "#", "~", "not"})
_BLOCK_END = frozenset({"end", "else", "elseif", "until", END})
_SUFFIXES = frozenset({".", "[", ":", "(", "{", STRING})
_CONSTANTS = {"nil": None, "true": True, "false": False}
_LEAVES = frozenset({NAME, NUMBER, STRING, *_CONSTANTS})  # an operand by itself, unless _GOES_ON follows
_GOES_ON = frozenset({*_STRENGTH, "^", *_SUFFIXES})
_CALLS = (Call, Method)  # what can stand alone
_TARGETS = (Name, Index)  # what can be assigned


def parse(source: str, flavour: str = "lua") -> Chunk:
    """Return the tree of ``source``.

    Args:
        source: Bytes decoded as latin-1.
        flavour: ``lua`` or ``luajit``.

    Raises:
        LuaSyntaxError: It is not Lua, or more than the bounds above; names the line.
    """
    found = tokens(source, flavour)
    if len(found.marks) > MAX_TOKENS:
        raise LuaSyntaxError(f"more than {MAX_TOKENS} words and symbols", found.lines[MAX_TOKENS])
    parser = _Parser(found, flavour)
    try:
        return parser.chunk()
    except RecursionError:  # the caller's own stack was deep already
        raise LuaSyntaxError("nested too deeply to follow", parser.line) from None


class _Parser:
    """Each method reads one production of the grammar."""

    def __init__(self, found: Tokens, flavour: str) -> None:
        self._marks, self._texts, self._lines = found
        self._at = 0  # index of the token to be read
        self._depth = 0
        self._is_jit = flavour == "luajit"
        self._visible: dict[str, Variable] = {}  # what each name means here, if it is not global
        self._hidden: list[list[tuple[str, Variable | None]]] = [[]]  # scope, innermost last -> what names meant before
        self._own_environments: list[int] = []

    # Tokens

    @property
    def line(self) -> int:
        """Line of the token to be read."""
        return self._lines[self._at]

    def _is(self, mark: str) -> bool:
        return self._marks[self._at] == mark

    def _accept(self, mark: str) -> bool:
        if self._marks[self._at] == mark:
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if self._marks[self._at] != mark:
            raise LuaSyntaxError(f"{mark!r} expected near {self._near()}", self.line)
        self._at += 1

    def _near(self) -> str:
        return repr(self._texts[self._at][:40])

    def _is_name(self, mark: str) -> bool:
        return mark == NAME or (self._is_jit and mark == "goto")

    def _next(self) -> str:
        return self._marks[min(self._at + 1, len(self._marks) - 1)]

    def _name(self) -> str:
        at = self._at
        if not self._is_name(self._marks[at]):
            raise LuaSyntaxError(f"name expected near {self._near()}", self.line)
        self._at = at + 1
        return self._texts[at]

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LuaSyntaxError(f"nested more than {MAX_DEPTH} deep", self.line)

    def _leave(self) -> None:
        self._depth -= 1

    # Scopes

    def _declare(self, name: str, line: int) -> Variable:
        if name == "_ENV":
            self._own_environments.append(line)
        variable = Variable(name, line)
        self._hidden[-1].append((name, self._visible.get(name)))
        self._visible[name] = variable
        return variable

    def _open(self) -> None:
        self._hidden.append([])

    def _close(self) -> None:
        for name, before in reversed(self._hidden.pop()):
            if before is None:
                del self._visible[name]
            else:
                self._visible[name] = before

    # Statements

    def chunk(self) -> Chunk:
        """Read the whole source."""
        block = Block()
        self._statements(block)
        if not self._is(END):
            raise LuaSyntaxError(f"end of file expected near {self._near()}", self.line)
        return Chunk(block, self._own_environments)

    def _block(self) -> Block:
        self._open()
        block = Block()
        self._statements(block)
        self._close()
        return block

    def _statements(self, block: Block) -> None:
        self._enter()
        while (mark := self._marks[self._at]) not in _BLOCK_END:
            if mark == ";":
                self._at += 1
            else:
                block.statements.append(self._statement(mark, self._lines[self._at]))
        self._leave()

    def _statement(self, mark: str, line: int) -> Statement:
        if mark == NAME:
            return self._assignment_or_call(line)
        reader = _READERS.get(mark)
        if reader is not None and not (mark == "goto" and self._is_jit and not self._is_name(self._next())):
            self._at += 1
            return reader(self, line)
        if mark in KEYWORDS and mark != "goto":
            raise LuaSyntaxError(f"unexpected {mark!r}", line)
        if self._accept("::"):
            name = self._name()
            self._expect("::")
            return Jump(line, name)
        return self._assignment_or_call(line)

    def _if(self, line: int) -> Statement:
        branches = [self._branch()]
        while self._accept("elseif"):
            branches.append(self._branch())
        otherwise = self._block() if self._accept("else") else None
        self._expect("end")
        return If(line, branches, otherwise)

    def _branch(self) -> tuple[Expression, Block]:
        condition = self._expression()
        self._expect("then")
        return condition, self._block()

    def _while(self, line: int) -> Statement:
        condition = self._expression()
        self._expect("do")
        body = self._block()
        self._expect("end")
        return While(line, condition, body)

    def _do(self, line: int) -> Statement:
        body = self._block()
        self._expect("end")
        return Do(line, body)

    def _for(self, line: int) -> Statement:
        names = [(self._name(), line)]
        while self._accept(","):
            names.append((self._name(), self.line))
        is_count = len(names) == 1 and self._accept("=")
        if not is_count:
            self._expect("in")
        values = self._expressions()
        self._expect("do")
        self._open()
        variables = [self._declare(name, where) for name, where in names]
        body = Block()
        self._statements(body)
        self._close()
        self._expect("end")
        return Count(line, variables[0], values, body) if is_count else ForEach(line, variables, values, body)

    def _repeat(self, line: int) -> Statement:
        self._open()  # the condition still sees the locals of the body
        body = Block()
        self._statements(body)
        self._expect("until")
        condition = self._expression()
        self._close()
        return Repeat(line, body, condition)

    def _function(self, line: int) -> Statement:
        target = self._bound_name()
        is_method = False
        while not is_method and (self._is(".") or self._is(":")):
            is_method = self._marks[self._at] == ":"
            self._at += 1
            where = self.line
            target = Index(where, target, Constant(where, self._name()))
        return Assign(line, [target], [self._body(line, is_method=is_method)])

    def _local(self, line: int) -> Statement:
        if self._accept("function"):
            variable = self._declare(self._name(), line)  # before the body, which may call itself
            return LocalFunction(line, variable, self._body(line, is_method=False))
        named = [self._attributed_name()]
        while self._accept(","):
            named.append(self._attributed_name())
        values = self._expressions() if self._accept("=") else []
        variables = [self._declare(name, line) for name, _ in named]  # only now: the right side does not see them
        return Local(line, variables, values, [attribute for _, attribute in named])

    def _attributed_name(self) -> tuple[str, str | None]:
        name, attribute = self._name(), None
        if self._accept("<"):
            attribute = self._name()
            self._expect(">")
        return name, attribute

    def _return(self, line: int) -> Statement:
        mark = self._marks[self._at]
        is_bare = mark == ";" or mark in _BLOCK_END
        values = [] if is_bare else self._expressions()
        self._accept(";")
        return Return(line, values)

    def _break(self, line: int) -> Statement:
        return Jump(line, "break")

    def _goto(self, line: int) -> Statement:
        return Jump(line, self._name())

    def _assignment_or_call(self, line: int) -> Statement:
        first = self._suffixed()
        mark = self._marks[self._at]
        if mark != "=" and mark != ",":
            if not isinstance(first, _CALLS):
                raise LuaSyntaxError(f"unexpected {self._near()}", self.line)
            return Evaluate(line, first)
        targets = [first]
        while self._accept(","):
            targets.append(self._suffixed())
        self._expect("=")
        for target in targets:
            if not isinstance(target, _TARGETS):
                raise LuaSyntaxError("cannot assign to this", target.line)
        return Assign(line, targets, self._expressions())

    # Expressions

    def _expressions(self) -> list[Expression]:
        found = [self._expression()]
        while self._marks[self._at] == ",":
            self._at += 1
            found.append(self._expression())
        return found

    def _expression(self, weakest: int = 1) -> Expression:
        """Read operands joined by operators no weaker than ``weakest``."""
        at, marks = self._at, self._marks
        if (mark := marks[at]) in _LEAVES and marks[at + 1] not in _GOES_ON and self._depth < MAX_DEPTH:
            return self._leaf(mark, at)  # most are; what follows shows that nothing hangs on it
        self._enter()
        left = self._operand()
        while (strength := _STRENGTH.get(self._marks[self._at], 0)) >= weakest:
            left = self._operators(left, strength)
        self._leave()
        return left

    def _leaf(self, mark: str, at: int) -> Expression:
        """Read an operand of one token, the one at ``at``."""
        text, line = self._texts[at], self._lines[at]
        self._at = at + 1
        if mark == NAME:
            return Name(line, text, self._visible.get(text))
        if mark == NUMBER:
            value = _number(text)
            return OddNumber(line) if value is None else Constant(line, value)
        return Constant(line, text if mark == STRING else _CONSTANTS[mark])

    def _operators(self, left: Expression, strength: int) -> Expression:
        """Read all that follows with operators of one strength, as one node."""
        node = Binary(self.line, [left], [])
        while _STRENGTH.get(mark := self._marks[self._at]) == strength:
            self._at += 1
            node.operators.append(mark)
            node.operands.append(self._expression(strength + 1))
        return node

    def _operand(self) -> Expression:
        """Read an operand with its unary operators and its power, which is stronger than they are to its left."""
        mark, line = self._marks[self._at], self._lines[self._at]
        if mark in _UNARY:
            self._at += 1
            return Unary(line, mark, self._expression(_UNARY_STRENGTH))
        base = self._suffixed() if mark == NAME else self._simple(mark, line)
        if self._marks[self._at] == "^":
            self._at += 1
            return Binary(line, [base, self._expression(_UNARY_STRENGTH)], ["^"])
        return base

    def _simple(self, mark: str, line: int) -> Expression:
        if mark in _LEAVES:
            return self._leaf(mark, self._at)
        if mark == "function":
            self._at += 1
            return self._body(line, is_method=False)
        if mark == "...":
            self._at += 1
            return Vararg(line)
        if mark == "{":
            return self._table()
        return self._suffixed()

    def _bound_name(self) -> Expression:
        line, name = self.line, self._name()
        return Name(line, name, self._visible.get(name))

    def _suffixed(self) -> Expression:
        """Read a name or bracketed expression with the fields, indexes and calls that hang on it."""
        line = self.line
        found: Expression
        if self._is(NAME):
            found = self._leaf(NAME, self._at)
        elif self._accept("("):
            found = Group(line, self._expression())
            self._expect(")")
        else:
            found = self._bound_name()
        for _ in range(MAX_SUFFIXES):
            mark = self._marks[self._at]
            if mark not in _SUFFIXES:
                return found
            line = self.line
            if mark == ".":
                self._at += 1
                found = Index(line, found, Constant(line, self._name()))
            elif mark == "[":
                self._at += 1
                found = Index(line, found, self._expression())
                self._expect("]")
            elif mark == ":":
                self._at += 1
                name = self._name()
                found = Method(line, found, name, self._arguments())
            else:
                found = Call(line, found, self._arguments())
        raise LuaSyntaxError(f"more than {MAX_SUFFIXES} fields, indexes and calls of one value", line)

    def _arguments(self) -> list[Expression]:
        mark = self._marks[self._at]
        if mark == STRING:
            return [self._leaf(mark, self._at)]
        if mark == "{":
            return [self._table()]
        self._expect("(")
        if self._accept(")"):
            return []
        found = self._expressions()
        self._expect(")")
        return found

    def _table(self) -> Expression:
        self._enter()
        node = Table(self.line, [])
        self._expect("{")
        while not self._accept("}"):
            node.fields.append(self._field())
            if not (self._accept(",") or self._accept(";")):
                self._expect("}")
                break
        self._leave()
        return node

    def _field(self) -> tuple[Expression | None, Expression]:
        at = self._at
        key: Expression | None = None
        if self._accept("["):
            key = self._expression()
            self._expect("]")
            self._expect("=")
        elif self._is_name(self._marks[at]) and self._next() == "=":
            key = Constant(self._lines[at], self._texts[at])
            self._at += 2
        return key, self._expression()

    def _body(self, line: int, *, is_method: bool) -> Function:
        self._open()
        parameters = [self._declare("self", line)] if is_method else []
        has_vararg = False
        self._expect("(")
        while not self._accept(")"):
            if self._accept("..."):
                has_vararg = True
            else:
                parameters.append(self._declare(self._name(), self.line))
            if not self._accept(","):
                self._expect(")")
                break
        body = Block()
        self._statements(body)
        self._close()
        self._expect("end")
        return Function(line, parameters, has_vararg, body)


_READERS: dict[str, Callable[[_Parser, int], Statement]] = {
    "if": _Parser._if,
    "while": _Parser._while,
    "do": _Parser._do,
    "for": _Parser._for,
    "repeat": _Parser._repeat,
    "function": _Parser._function,
    "local": _Parser._local,
    "return": _Parser._return,
    "break": _Parser._break,
    "goto": _Parser._goto,
}


def _number(text: str) -> int | float | None:
    """Return the value of a numeral of Lua 5.4 (manual, 3.1); None for what only LuaJIT has."""
    if len(text) < 19 and text.isdecimal():  # most are
        return int(text)
    is_hex = text[:2] in ("0x", "0X")
    try:
        if is_hex and not any(letter in text for letter in ".pP"):
            wrapped = int(text, 16) & (1 << 64) - 1
            return wrapped - (1 << 64) if wrapped >> 63 else wrapped
        if is_hex:
            return float.fromhex(text)
        if text.isdecimal() and len(text) < 20:
            whole = int(text)
            return whole if whole < 1 << 63 else float(whole)
        return float(text)
    except (ValueError, OverflowError):
        return None
