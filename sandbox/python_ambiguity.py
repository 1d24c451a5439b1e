"""Finds regular expressions that a backtracking matcher can need exponential time for, before they run.

The matcher of ``re`` tries every way in which a repetition can match a text. If there are two ways through a repetition
for the same text, their number doubles with each round. That is a property of the pattern that can be decided (Weber
and Seidl, "On the degree of ambiguity of finite automata", 1991: EDA): the pattern is made an automaton with one state
for each character that it consumes, and two walks from one state back to it that read the same text are looked for.

- Repetitions that are bounded but large count as endless, and so do those inside them and those around endless ones:
  ``(.*,){11}`` is a text's length to the power of eleven, which is no better.
- Characters are compared on an alphabet of all of ASCII, every character that the pattern names and some of each kind.
- What is left may still take time that grows with a power of the text's length; texts are bounded for that.
- Whatever is not understood here, or too large to decide, is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from re import _constants as code  # type: ignore[attr-defined] # there is no public way to a parsed pattern
from re import _parser as parser  # type: ignore[attr-defined] # see above; the tests hold it on every version
from typing import Any

MAX_STATES = 2_000  # of one pattern; with the pairs below this bounds the decision to about a tenth of a second
MAX_PAIRS = 40_000
MAX_UNROLLED = 10  # rounds of a bounded repetition that are written out, or left alone outside of others

_SAMPLES = "éÉß٣\u2003—中"  # a letter in both cases, one with one case, a digit, a space, punctuation, no case at all
_NO_CHOICE = {code.LITERAL, code.NOT_LITERAL, code.ANY, code.IN, code.AT}
_KINDS = {
    code.CATEGORY_DIGIT: (str.isdecimal, True),
    code.CATEGORY_NOT_DIGIT: (str.isdecimal, False),
    code.CATEGORY_SPACE: (str.isspace, True),
    code.CATEGORY_NOT_SPACE: (str.isspace, False),
    code.CATEGORY_WORD: (lambda one: one.isalnum() or one == "_", True),
    code.CATEGORY_NOT_WORD: (lambda one: one.isalnum() or one == "_", False),
}


class Ambiguous(Exception):
    """The pattern may need exponential time; the text says so to its author."""


def check(pattern: str, flags: int) -> None:
    """Accept ``pattern`` or say why not.

    Args:
        pattern: What to compile.
        flags: As for ``re.compile``.

    Raises:
        Ambiguous: It can take exponential time, or is too complicated to tell.
        re.error: It is no pattern.
        RecursionError: It is nested too deeply.
    """
    tree = parser.parse(pattern, flags)
    if not _has_choice_in_repetition(tree):
        return
    automaton = _Automaton(_alphabet(tree))
    automaton.build(tree, tree.state.flags, in_loop=False, rounds=1)
    automaton.decide()


def _alphabet(tree: Any) -> list[str]:
    named: set[int] = set()
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple, parser.SubPattern)):
            pending.extend(item)
        elif type(item) is int and 0 <= item < 0x110000:  # repetition counts are among them, which does no harm
            named |= {item, max(item - 1, 0), min(item + 1, 0x10FFFF)}
    return sorted({*map(chr, range(128)), *_SAMPLES, *map(chr, named)})


@dataclass(slots=True)
class _Part:
    """A piece of the pattern: in how many ways it is empty, starts with a state, ends with one. Two stands for more."""

    empty: int = 1
    first: Counter[int] = field(default_factory=Counter)
    last: Counter[int] = field(default_factory=Counter)


class _Automaton:
    """States of one pattern, what each reads, and in how many ways one follows another."""

    def __init__(self, alphabet: list[str]) -> None:
        self._alphabet = alphabet
        self._reads: list[int] = []  # state -> set of letters, as bits
        self._after: list[Counter[int]] = []  # state -> state that may follow -> number of ways, up to 2
        self._known: dict[Any, int] = {}  # part of a pattern with its flags -> the letters it reads

    # From tree to automaton

    def build(self, tree: Any, flags: int, *, in_loop: bool, rounds: int) -> _Part:
        """Return the part for a sequence.

        Args:
            tree: Parsed pattern.
            flags: In force here.
            in_loop: Whether it is inside a repetition that counts as endless.
            rounds: Product of the bounded repetitions around it.
        """
        return self._row(self._item(kind, value, flags, in_loop, rounds) for kind, value in tree)

    def _item(self, kind: Any, value: Any, flags: int, in_loop: bool, rounds: int) -> _Part:
        if kind in (code.LITERAL, code.NOT_LITERAL, code.ANY, code.IN):
            return self._state(self._letters(kind, value, flags))
        if kind is code.AT:
            return _Part()
        if kind is code.SUBPATTERN:
            _, added, removed, inner = value
            return self.build(inner, (flags | added) & ~removed, in_loop=in_loop, rounds=rounds)
        if kind is code.ATOMIC_GROUP:
            return self.build(value, flags, in_loop=in_loop, rounds=rounds)
        if kind is code.BRANCH:
            return _either([self.build(inner, flags, in_loop=in_loop, rounds=rounds) for inner in value[1]])
        if kind in (code.ASSERT, code.ASSERT_NOT):
            self.build(value[1], flags, in_loop=in_loop, rounds=rounds)
            return _Part()
        if kind in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
            return self._repeat(value, flags, in_loop, rounds)
        if kind is code.GROUPREF and not in_loop:
            return _Part()
        if kind is code.FAILURE:
            return _Part(empty=0)
        raise Ambiguous("this pattern has a part whose time cannot be told, such as a reference inside a repetition")

    def _state(self, letters: int) -> _Part:
        if len(self._reads) >= MAX_STATES:
            raise Ambiguous("this pattern is too complicated to tell how long it can take")
        self._reads.append(letters)
        self._after.append(Counter())
        number = len(self._reads) - 1
        return _Part(0, Counter({number: 1}), Counter({number: 1}))

    def _follow(self, ends: Counter[int], starts: Counter[int]) -> None:
        for end, ways in ends.items():
            after = self._after[end]
            for start, more in starts.items():
                after[start] = min(2, after[start] + ways * more)

    def _joined(self, left: _Part, right: _Part) -> _Part:
        self._follow(left.last, right.first)
        return _Part(
            min(2, left.empty * right.empty),
            _sum(left.first, _times(right.first, left.empty)),
            _sum(right.last, _times(left.last, right.empty)),
        )

    def _repeat(self, value: Any, flags: int, in_loop: bool, rounds: int) -> _Part:
        least, most, inner = value

        def once(is_loop: bool, more: int = 1) -> _Part:
            return self.build(inner, flags, in_loop=is_loop, rounds=rounds * more)

        if most is not code.MAXREPEAT:
            if least == most and _has_no_choice(inner):
                return self._row(once(in_loop) for _ in range(most if in_loop else min(most, 1)))
            if in_loop and most <= MAX_UNROLLED:
                return self._unrolled(least, [once(in_loop) for _ in range(most)])
            if not in_loop and rounds * most <= MAX_UNROLLED and not _has_endless(inner):
                return _optional(once(False, max(most, 1)))
        part = once(True)
        self._follow(part.last, part.first)
        if part.empty and least > 1:
            self._follow(part.last, part.first)  # which of the rounds that must be are empty is a choice
        # An empty round ends a repetition, so it is one more way out, but not one more way round.
        return _Part(min(2, part.empty + (least == 0)), part.first, _times(part.last, 1 + part.empty))

    def _row(self, parts: Iterable[_Part]) -> _Part:
        whole = _Part()
        for part in parts:
            whole = self._joined(whole, part)
        return whole

    def _unrolled(self, least: int, parts: list[_Part]) -> _Part:
        """``x{1,3}`` is ``x(x(x)?)?``: there is one way to match it so often."""
        tail = _Part()
        for part in reversed(parts[least:]):
            tail = _optional(self._joined(part, tail))
        return self._joined(self._row(parts[:least]), tail)

    # Letters

    def _letters(self, kind: Any, value: Any, flags: int) -> int:
        key = (kind, tuple(value) if kind is code.IN else value, flags)
        if key not in self._known:
            self._known[key] = sum(
                1 << place for place, letter in enumerate(self._alphabet) if _matches(letter, kind, value, flags)
            )
        return self._known[key]

    # The decision

    def decide(self) -> None:
        """Raise ``Ambiguous`` if there are two ways from a state back to it for one text."""
        for states in self._loops():
            inside = {state: [other for other in self._after[state] if other in states] for state in states}
            if any(self._after[state][other] > 1 for state, others in inside.items() for other in others):
                raise _ambiguous()
            self._walk_in_pairs(inside)

    def _walk_in_pairs(self, inside: dict[int, list[int]]) -> None:
        """Two walks start in one state and read the same; if they part and meet again, there are two ways."""
        starts = [(state, state) for state in inside]
        pending, seen = list(starts), set(starts)
        while pending:
            one, other = pending.pop()
            for left in inside[one]:
                for right in inside[other]:
                    if not self._reads[left] & self._reads[right]:
                        continue
                    if left == right and one != other:
                        raise _ambiguous()
                    pair = (min(left, right), max(left, right))
                    if pair not in seen:
                        seen.add(pair)
                        pending.append(pair)
                        if len(seen) > MAX_PAIRS:
                            raise Ambiguous("this pattern is too complicated to tell how long it can take")

    def _loops(self) -> list[set[int]]:
        """Return the sets of states that are reached from each other (Kosaraju)."""
        order: list[int] = []
        seen: set[int] = set()
        for state in range(len(self._after)):
            _visit(state, self._after, seen, order)
        before: list[list[int]] = [[] for _ in self._after]
        for state, others in enumerate(self._after):
            for other in others:
                before[other].append(state)
        found, seen = [], set()
        for state in reversed(order):
            group: list[int] = []
            _visit(state, before, seen, group)
            if len(group) > 1 or (group and state in self._after[state]):
                found.append(set(group))
        return found


def _visit(start: int, edges: Any, seen: set[int], done: list[int]) -> None:
    """Append to ``done`` what is reached from ``start`` and was not seen, each after what is reached from it."""
    if start in seen:
        return
    seen.add(start)
    pending = [(start, iter(edges[start]))]
    while pending:
        state, others = pending[-1]
        for other in others:
            if other not in seen:
                seen.add(other)
                pending.append((other, iter(edges[other])))
                break
        else:
            done.append(state)
            pending.pop()


def _ambiguous() -> Ambiguous:
    return Ambiguous(
        "this pattern can take exponential time: a repetition can match the same text in more than one way"
    )


def _either(parts: list[_Part]) -> _Part:
    whole = _Part(empty=0)
    for part in parts:
        whole = _Part(min(2, whole.empty + part.empty), _sum(whole.first, part.first), _sum(whole.last, part.last))
    return whole


def _optional(part: _Part) -> _Part:
    return _Part(min(2, part.empty + 1), part.first, part.last)


def _times(ways: Counter[int], factor: int) -> Counter[int]:
    return Counter({state: min(2, count * factor) for state, count in ways.items()} if factor else {})


def _sum(one: Counter[int], other: Counter[int]) -> Counter[int]:
    return Counter({state: min(2, one[state] + other[state]) for state in {**one, **other}})


def _has_choice_in_repetition(tree: Any) -> bool:
    """Return whether the automaton is worth making: most patterns have nothing in it that could be ambiguous."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple, parser.SubPattern)):
            if len(item) == 3 and isinstance(item[2], parser.SubPattern) and not _has_no_choice(item[2]):
                return True
            pending.extend(item)
    return False


def _has_endless(tree: Any) -> bool:
    """Return whether there is a repetition in ``tree`` that counts as endless by itself."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple, parser.SubPattern)):
            if len(item) == 3 and isinstance(item[1], int) and isinstance(item[2], parser.SubPattern):
                least, most, _ = item
                if most > max(least, MAX_UNROLLED):
                    return True
            pending.extend(item)
    return False


def _has_no_choice(tree: Any) -> bool:
    for kind, value in tree:
        if kind is code.SUBPATTERN:
            if not _has_no_choice(value[3]):
                return False
        elif kind not in _NO_CHOICE:
            return False
    return True


def _matches(letter: str, kind: Any, value: Any, flags: int) -> bool:
    if kind is code.ANY:
        return bool(flags & re.DOTALL) or letter != "\n"
    forms = {letter}
    if flags & re.IGNORECASE:
        forms |= {one for one in (letter.lower(), letter.upper()) if len(one) == 1}
    if kind is code.IN:
        return _in_set(forms, value, flags)
    return any(ord(one) == value for one in forms) == (kind is code.LITERAL)


def _in_set(forms: set[str], items: Any, flags: int) -> bool:
    is_negated = bool(items) and items[0][0] is code.NEGATE
    found = any(_in_item(one, kind, value, flags) for one in forms for kind, value in items[is_negated:])
    return found != is_negated


def _in_item(letter: str, kind: Any, value: Any, flags: int) -> bool:
    if kind is code.LITERAL:
        return ord(letter) == int(value)
    if kind is code.RANGE:
        return int(value[0]) <= ord(letter) <= int(value[1])
    if kind is code.CATEGORY and value in _KINDS:
        belongs, wanted = _KINDS[value]
        return (belongs(letter) and (not flags & re.ASCII or letter.isascii())) is wanted
    raise Ambiguous("this pattern has a part whose time cannot be told")
