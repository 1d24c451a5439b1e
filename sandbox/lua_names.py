"""Which global names a Lua chunk uses, and what it takes out of them, with real scopes.

A recursive-descent parser over the grammar of section 9 of the Lua 5.4 manual that builds no tree: it keeps the stack
of local names and notes every name that is not local. Operators need no precedence here. Source that does not fit the
grammar raises ``LexError``; nothing is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.lua_lexer import Kind, LexError, Token, tokens

_BINARY = frozenset(
    {"+", "-", "*", "/", "//", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "&", "|", "~", "<<", ">>", "and", "or"}
)
_UNARY = frozenset({"-", "#", "~", "not"})
_BLOCK_END = frozenset({"end", "else", "elseif", "until"})


@dataclass(frozen=True, slots=True)
class Use:
    """One appearance of a global name with the constant fields taken from it: ``fs.space`` has path ``("space",)``."""

    name: str
    path: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Names:
    """What a chunk does with global names."""

    uses: tuple[Use, ...]
    assigned: tuple[Use, ...]  # names that the chunk itself sets, with an empty path
    own_environments: tuple[int, ...]  # lines that declare a local _ENV, after which no global name means what it says


def names(source: str) -> Names:
    """Return the global names of ``source``.

    Raises:
        LexError: It is not Lua 5.4, or nested too deeply to follow.
    """
    reader = _Reader(list(tokens(source)))
    try:
        reader.chunk()
    except RecursionError:
        raise LexError("nested too deeply to follow", reader.line) from None
    return Names(tuple(reader.uses), tuple(reader.assigned), tuple(reader.own_environments))


class _Reader:
    """Walks the tokens once. Each method reads one production of the grammar."""

    def __init__(self, listed: list[Token]) -> None:
        self._tokens = listed
        self._at = 0  # index of the token to be read
        self._scopes: list[set[str]] = [set()]  # local names, innermost last
        self.uses: list[Use] = []
        self.assigned: list[Use] = []
        self.own_environments: list[int] = []

    # Tokens

    @property
    def line(self) -> int:
        """Line of the token to be read."""
        return self._tokens[self._at].line

    def _peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _is(self, text: str, ahead: int = 0) -> bool:
        token = self._peek(ahead)
        return token.text == text and token.kind in (Kind.SYMBOL, Kind.KEYWORD)

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise LexError(f"{text!r} expected near {self._peek().text!r}", self.line)

    def _name(self) -> str:
        token = self._take()
        if token.kind is not Kind.NAME:
            raise LexError(f"name expected near {token.text!r}", token.line)
        return token.text

    # Scopes

    def _declare(self, name: str) -> None:
        if name == "_ENV":
            self.own_environments.append(self.line)
        self._scopes[-1].add(name)

    def _is_local(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes)

    # Statements

    def chunk(self) -> None:
        """Read the whole source."""
        self._statements()
        if self._peek().kind is not Kind.END:
            raise LexError(f"end of file expected near {self._peek().text!r}", self.line)

    def _block(self, *declared: str) -> None:
        self._scopes.append(set())
        for name in declared:
            self._declare(name)
        self._statements()
        self._scopes.pop()

    def _statements(self) -> None:
        while not (self._peek().kind is Kind.END or (self._peek().kind is Kind.KEYWORD and self._at_block_end())):
            self._statement()

    def _at_block_end(self) -> bool:
        return self._peek().text in _BLOCK_END

    def _statement(self) -> None:
        token = self._peek()
        if token.kind is Kind.KEYWORD:
            self._at += 1
            self._keyword(token)
        elif self._accept("::"):
            self._name()
            self._expect("::")
        elif not self._accept(";"):
            self._assignment_or_call()

    def _keyword(self, token: Token) -> None:
        readers = {
            "if": self._if,
            "while": self._while,
            "do": self._do,
            "for": self._for,
            "repeat": self._repeat,
            "function": self._function,
            "local": self._local,
            "return": self._return,
            "break": self._break,
            "goto": self._goto,
        }
        if token.text not in readers:
            raise LexError(f"unexpected {token.text!r}", token.line)
        readers[token.text]()

    def _if(self) -> None:
        self._expression()
        self._expect("then")
        self._block()
        while self._accept("elseif"):
            self._expression()
            self._expect("then")
            self._block()
        if self._accept("else"):
            self._block()
        self._expect("end")

    def _while(self) -> None:
        self._expression()
        self._expect("do")
        self._block()
        self._expect("end")

    def _do(self) -> None:
        self._block()
        self._expect("end")

    def _for(self) -> None:
        declared = [self._name()]
        while self._accept(","):
            declared.append(self._name())
        if not self._accept("in"):
            self._expect("=")
        self._expressions()
        self._expect("do")
        self._block(*declared)
        self._expect("end")

    def _repeat(self) -> None:
        self._scopes.append(set())  # the condition still sees the locals of the body
        self._statements()
        self._expect("until")
        self._expression()
        self._scopes.pop()

    def _function(self) -> None:
        line, name = self.line, self._name()
        path: list[str] = []
        is_method = False
        while self._is(".") or self._is(":"):
            is_method = self._take().text == ":"
            path.append(self._name())
        if not self._is_local(name):
            (self.uses if path else self.assigned).append(Use(name, tuple(path), line))
        self._body("self" if is_method else None)

    def _local(self) -> None:
        if self._accept("function"):
            self._declare(self._name())
            self._body(None)
            return
        declared = [self._attributed_name()]
        while self._accept(","):
            declared.append(self._attributed_name())
        if self._accept("="):
            self._expressions()
        for name in declared:  # only now: the right side does not see them
            self._declare(name)

    def _attributed_name(self) -> str:
        name = self._name()
        if self._accept("<"):
            self._name()
            self._expect(">")
        return name

    def _return(self) -> None:
        if not (self._is(";") or self._peek().kind is Kind.END or self._at_block_end()):
            self._expressions()
        self._accept(";")

    def _break(self) -> None:
        """Nothing follows."""

    def _goto(self) -> None:
        self._name()

    def _assignment_or_call(self) -> None:
        targets = [self._suffixed()]
        while self._accept(","):
            targets.append(self._suffixed())
        bare = [use for use in targets if use is not None]
        if self._accept("="):
            self.assigned.extend(bare)
            self._expressions()
        else:
            self.uses.extend(bare)

    # Expressions

    def _expressions(self) -> None:
        self._expression()
        while self._accept(","):
            self._expression()

    def _expression(self) -> None:
        while True:
            while self._peek().text in _UNARY and self._peek().kind in (Kind.SYMBOL, Kind.KEYWORD):
                self._at += 1
            self._simple()
            if not (self._peek().text in _BINARY and self._peek().kind in (Kind.SYMBOL, Kind.KEYWORD)):
                return
            self._at += 1

    def _simple(self) -> None:
        token = self._peek()
        if token.kind in (Kind.NUMBER, Kind.STRING) or any(self._is(word) for word in ("nil", "true", "false", "...")):
            self._at += 1
        elif self._is("{"):
            self._table()
        elif self._accept("function"):
            self._body(None)
        else:
            bare = self._suffixed()
            if bare is not None:
                self.uses.append(bare)

    def _suffixed(self) -> Use | None:
        """Read a name or bracketed expression with all that hangs on it.

        Returns:
            The use of a global name on which nothing hangs, not noted yet: it may be about to be assigned.
        """
        if self._accept("("):
            self._expression()
            self._expect(")")
            self._suffixes()
            return None
        line, name = self.line, self._name()
        if self._is_local(name):
            self._suffixes()
            return None
        path = self._constant_path()
        use = Use(name, path, line)
        if self._suffixes() or path:
            self.uses.append(use)
            return None
        return use

    def _constant_path(self) -> tuple[str, ...]:
        path: list[str] = []
        while True:
            if self._accept("."):
                path.append(self._name())
            elif self._is("[") and self._peek(1).kind is Kind.STRING and self._peek(1).is_exact and self._is("]", 2):
                path.append(self._peek(1).text)
                self._at += 3
            elif self._is(":"):
                return (*path, self._peek(1).text)  # the call itself is read with the other suffixes
            else:
                return tuple(path)

    def _suffixes(self) -> bool:
        """Read fields, indexes and calls; return whether there was any."""
        start = self._at
        while True:
            if self._accept("."):
                self._name()
            elif self._accept("["):
                self._expression()
                self._expect("]")
            elif self._accept(":"):
                self._name()
                self._arguments()
            elif self._is("(") or self._is("{") or self._peek().kind is Kind.STRING:
                self._arguments()
            else:
                return self._at > start

    def _arguments(self) -> None:
        if self._peek().kind is Kind.STRING:
            self._at += 1
        elif self._is("{"):
            self._table()
        else:
            self._expect("(")
            if not self._accept(")"):
                self._expressions()
                self._expect(")")

    def _table(self) -> None:
        self._expect("{")
        while not self._accept("}"):
            if self._accept("["):
                self._expression()
                self._expect("]")
                self._expect("=")
            elif self._peek().kind is Kind.NAME and self._is("=", 1):
                self._at += 2
            self._expression()
            if not (self._accept(",") or self._accept(";")):
                self._expect("}")
                return

    def _body(self, first: str | None) -> None:
        declared = [first] if first else []
        self._expect("(")
        while not self._accept(")"):
            if not self._accept("..."):
                declared.append(self._name())
            if not self._accept(","):
                self._expect(")")
                break
        self._block(*declared)
        self._expect("end")
