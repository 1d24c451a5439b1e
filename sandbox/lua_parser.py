"""From Lua source to a syntax tree: section 9 of the Lua 5.4 manual, and LuaJIT 2.1 where it differs.

A recursive-descent parser over the tokens of ``lua_lexer``. It takes no longer than a constant for each token, holds no
more than ``MAX_TOKENS`` of them and no deeper nesting than ``MAX_DEPTH``, and raises nothing but ``LuaSyntaxError``.
Names are bound while they are read, since in Lua a name means what was declared before it.

It may accept what Lua refuses (a ``goto`` without its label): callers ask Lua itself first. It never reads something
else out of a source than Lua does.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.lua_lexer import Kind, LuaSyntaxError, Token, tokens
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
_BLOCK_END = frozenset({"end", "else", "elseif", "until"})
_CONSTANTS = {"nil": None, "true": True, "false": False}
_SPELLED = (Kind.SYMBOL, Kind.KEYWORD)


def parse(source: str, flavour: str = "lua") -> Chunk:
    """Return the tree of ``source``.

    Args:
        source: Bytes decoded as latin-1.
        flavour: ``lua`` or ``luajit``.

    Raises:
        LuaSyntaxError: It is not Lua, or more than the bounds above; names the line.
    """
    found = tokens(source, flavour)
    if len(found) > MAX_TOKENS:
        raise LuaSyntaxError(f"more than {MAX_TOKENS} words and symbols", found[MAX_TOKENS].line)
    parser = _Parser(found, flavour)
    try:
        return parser.chunk()
    except RecursionError:  # the caller's own stack was deep already
        raise LuaSyntaxError("nested too deeply to follow", parser.line) from None


class _Parser:
    """Each method reads one production of the grammar."""

    def __init__(self, found: list[Token], flavour: str) -> None:
        self._tokens = found
        self._at = 0  # index of the token to be read
        self._depth = 0
        self._is_jit = flavour == "luajit"
        self._scopes: list[dict[str, Variable]] = [{}]  # innermost last
        self._own_environments: list[int] = []

    # Tokens

    @property
    def line(self) -> int:
        """Line of the token to be read."""
        return self._tokens[self._at].line

    def _is(self, text: str) -> bool:
        token = self._tokens[self._at]
        return token.text == text and token.kind in _SPELLED

    def _accept(self, text: str) -> bool:
        token = self._tokens[self._at]
        if token.text == text and token.kind in _SPELLED:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            token = self._tokens[self._at]
            raise LuaSyntaxError(f"{text!r} expected near {token.text[:40]!r}", token.line)

    def _is_name(self, token: Token) -> bool:
        return token.kind is Kind.NAME or (self._is_jit and token.text == "goto" and token.kind is Kind.KEYWORD)

    def _next(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def _name(self) -> str:
        token = self._tokens[self._at]
        if not self._is_name(token):
            raise LuaSyntaxError(f"name expected near {token.text[:40]!r}", token.line)
        self._at += 1
        return token.text

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
        self._scopes[-1][name] = variable
        return variable

    def _find(self, name: str) -> Variable | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    # Statements

    def chunk(self) -> Chunk:
        """Read the whole source."""
        block = Block()
        self._statements(block)
        token = self._tokens[self._at]
        if token.kind is not Kind.END:
            raise LuaSyntaxError(f"end of file expected near {token.text[:40]!r}", token.line)
        return Chunk(block, self._own_environments)

    def _block(self) -> Block:
        self._scopes.append({})
        block = Block()
        self._statements(block)
        self._scopes.pop()
        return block

    def _statements(self, block: Block) -> None:
        self._enter()
        while True:
            token = self._tokens[self._at]
            if token.kind is Kind.END or (token.kind is Kind.KEYWORD and token.text in _BLOCK_END):
                break
            if not self._accept(";"):
                block.statements.append(self._statement(token))
        self._leave()

    def _statement(self, token: Token) -> Statement:
        if token.kind is Kind.KEYWORD and not (
            self._is_jit and token.text == "goto" and not self._is_name(self._next())
        ):
            reader = _READERS.get(token.text)
            if reader is None:
                raise LuaSyntaxError(f"unexpected {token.text!r}", token.line)
            self._at += 1
            return reader(self, token.line)
        if self._accept("::"):
            name = self._name()
            self._expect("::")
            return Jump(token.line, name)
        return self._assignment_or_call(token.line)

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
        self._scopes.append({})
        variables = [self._declare(name, where) for name, where in names]
        body = self._block()
        self._scopes.pop()
        self._expect("end")
        return Count(line, variables[0], values, body) if is_count else ForEach(line, variables, values, body)

    def _repeat(self, line: int) -> Statement:
        self._scopes.append({})  # the condition still sees the locals of the body
        body = Block()
        self._statements(body)
        self._expect("until")
        condition = self._expression()
        self._scopes.pop()
        return Repeat(line, body, condition)

    def _function(self, line: int) -> Statement:
        target = self._bound_name()
        is_method = False
        while not is_method and (self._is(".") or self._is(":")):
            is_method = self._tokens[self._at].text == ":"
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
        token = self._tokens[self._at]
        is_bare = self._is(";") or token.kind is Kind.END or (token.kind is Kind.KEYWORD and token.text in _BLOCK_END)
        values = [] if is_bare else self._expressions()
        self._accept(";")
        return Return(line, values)

    def _break(self, line: int) -> Statement:
        return Jump(line, "break")

    def _goto(self, line: int) -> Statement:
        return Jump(line, self._name())

    def _assignment_or_call(self, line: int) -> Statement:
        first = self._suffixed()
        if not (self._is("=") or self._is(",")):
            if not isinstance(first, Call | Method):
                token = self._tokens[self._at]
                raise LuaSyntaxError(f"unexpected {token.text[:40]!r}", token.line)
            return Evaluate(line, first)
        targets = [first]
        while self._accept(","):
            targets.append(self._suffixed())
        self._expect("=")
        for target in targets:
            if not isinstance(target, Name | Index):
                raise LuaSyntaxError("cannot assign to this", target.line)
        return Assign(line, targets, self._expressions())

    # Expressions

    def _expressions(self) -> list[Expression]:
        found = [self._expression()]
        while self._accept(","):
            found.append(self._expression())
        return found

    def _expression(self, weakest: int = 1) -> Expression:
        """Read operands joined by operators no weaker than ``weakest``."""
        self._enter()
        left = self._operand()
        while True:
            token = self._tokens[self._at]
            strength = _STRENGTH.get(token.text, 0) if token.kind in _SPELLED else 0
            if strength < weakest or not strength:
                break
            left = self._operators(left, strength)
        self._leave()
        return left

    def _operators(self, left: Expression, strength: int) -> Expression:
        """Read all that follows with operators of one strength, as one node."""
        node = Binary(self.line, [left], [])
        while True:
            token = self._tokens[self._at]
            if token.kind not in _SPELLED or _STRENGTH.get(token.text) != strength:
                return node
            self._at += 1
            node.operators.append(token.text)
            node.operands.append(self._expression(strength + 1))

    def _operand(self) -> Expression:
        """Read an operand with its unary operators and its power, which is stronger than they are to its left."""
        token = self._tokens[self._at]
        if token.text in _UNARY and token.kind in _SPELLED:
            self._at += 1
            return Unary(token.line, token.text, self._expression(_UNARY_STRENGTH))
        base = self._simple(token)
        if self._accept("^"):
            return Binary(token.line, [base, self._expression(_UNARY_STRENGTH)], ["^"])
        return base

    def _simple(self, token: Token) -> Expression:
        kind, text, line = token
        if kind is Kind.STRING:
            self._at += 1
            return Constant(line, text)
        if kind is Kind.NUMBER:
            self._at += 1
            value = _number(text)
            return OddNumber(line) if value is None else Constant(line, value)
        if kind is Kind.KEYWORD and text in _CONSTANTS:
            self._at += 1
            return Constant(line, _CONSTANTS[text])
        if kind is Kind.KEYWORD and text == "function":
            self._at += 1
            return self._body(line, is_method=False)
        if kind is Kind.SYMBOL and text == "...":
            self._at += 1
            return Vararg(line)
        if kind is Kind.SYMBOL and text == "{":
            return self._table()
        return self._suffixed()

    def _bound_name(self) -> Expression:
        line, name = self.line, self._name()
        return Name(line, name, self._find(name))

    def _suffixed(self) -> Expression:
        """Read a name or bracketed expression with the fields, indexes and calls that hang on it."""
        line = self.line
        if self._accept("("):
            found: Expression = Group(line, self._expression())
            self._expect(")")
        else:
            found = self._bound_name()
        for _ in range(MAX_SUFFIXES):
            kind, text, line = self._tokens[self._at]
            if kind is Kind.STRING or (kind is Kind.SYMBOL and text in "({"):
                found = Call(line, found, self._arguments())
            elif kind is not Kind.SYMBOL:
                return found
            elif text == ".":
                self._at += 1
                found = Index(line, found, Constant(line, self._name()))
            elif text == "[":
                self._at += 1
                found = Index(line, found, self._expression())
                self._expect("]")
            elif text == ":":
                self._at += 1
                name = self._name()
                found = Method(line, found, name, self._arguments())
            else:
                return found
        raise LuaSyntaxError(f"more than {MAX_SUFFIXES} fields, indexes and calls of one value", line)

    def _arguments(self) -> list[Expression]:
        kind, text, line = self._tokens[self._at]
        if kind is Kind.STRING:
            self._at += 1
            return [Constant(line, text)]
        if self._is("{"):
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
        token, after = self._tokens[self._at], self._next()
        key: Expression | None = None
        if self._accept("["):
            key = self._expression()
            self._expect("]")
            self._expect("=")
        elif self._is_name(token) and after.kind is Kind.SYMBOL and after.text == "=":
            key = Constant(token.line, token.text)
            self._at += 2
        return key, self._expression()

    def _body(self, line: int, *, is_method: bool) -> Function:
        self._scopes.append({})
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
        body = self._block()
        self._scopes.pop()
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
