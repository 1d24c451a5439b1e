"""``itertools`` as scripts have it: lists, held to the interpreter's own."""

from __future__ import annotations

import pytest
from languages import alone, plainly, python

EXPRESSIONS = [
    "list(accumulate([1, 2, 3]))",
    "list(accumulate([1, 2, 3], lambda a, b: a * b, initial=2))",
    "list(chain([1], 'ab', (2,)))",
    "list(chain.from_iterable([[1], [2, 3]]))",
    "list(combinations('abcd', 2))",
    "list(combinations([1], 2))",
    "list(combinations_with_replacement('ab', 2))",
    "list(combinations_with_replacement([], 2))",
    "list(compress('abc', [1, 0, 1]))",
    "list(islice(count(5, 2), 3))",
    "list(islice(count(0.5), 1, 6, 2))",
    "list(islice(cycle('ab'), 5))",
    "list(islice(cycle([]), 5))",
    "list(dropwhile(lambda x: x < 3, [1, 3, 2]))",
    "list(takewhile(lambda x: x < 3, count()))",
    "list(filterfalse(lambda x: x % 2, range(5)))",
    "list(filterfalse(None, [0, 1]))",
    "[(k, list(g)) for k, g in groupby('aabca')]",
    "[(k, list(g)) for k, g in groupby([1, 3, 2, 4], key=lambda x: x % 2)]",
    "list(pairwise('abc'))",
    "list(permutations('abc', 2))",
    "list(permutations('abc'))",
    "list(permutations('a', 2))",
    "list(product('ab', [1, 2]))",
    "list(product([0, 1], repeat=3))",
    "list(product('ab', [], repeat=9))",
    "list(repeat('x', 3))",
    "list(repeat('x', -1))",
    "list(zip('ab', repeat(5)))",
    "list(starmap(pow, [(2, 3), (3, 2)]))",
    "[list(x) for x in tee([1, 2])]",
    "list(zip_longest('ab', [1], fillvalue='-'))",
    "[x for x, y in zip(count(), 'abc')]",
]
NAMES = (
    "accumulate, chain, combinations, combinations_with_replacement, compress, count, cycle, dropwhile, filterfalse, "
    "groupby, islice, pairwise, permutations, product, repeat, starmap, takewhile, tee, zip_longest"
)


def _lists(value: object) -> object:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_it_gives_what_the_library_gives(expression: str) -> None:
    """As a list or, where it may be endless, as a generator."""
    source = f"from itertools import {NAMES}\nresult = {expression}"
    assert python(source).value == _lists(plainly(source))


def test_batches_are_there_on_every_version() -> None:
    """The library has them from Python 3.12 on."""
    assert python("from itertools import batched\nresult = batched('abcde', 2)").value == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


def test_results_are_lists() -> None:
    """Deep nests of lazy iterators crash the interpreter."""
    source = (
        "import itertools as i\nresult = [isinstance(x, list) for x in (i.chain([1]), i.tee([1])[0], i.product([1]))]"
    )
    assert python(source).value == [True] * 3


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("list(count())", "count has given 1000000 items"),
        ("list(cycle('ab'))", "cycle has given"),
        ("list(repeat(1))", "repeat has given"),
        ("chain(count())", "count has given"),
        ("chain.from_iterable([range(10 ** 6), [1]])", "more than 1000000 items"),
        ("chain.from_iterable(count())", "not iterable"),
        ("islice(count(), None)", "count has given"),
        ("product(range(10 ** 4), repeat=2)", "product would have more than"),
        ("product(range(2), repeat=10 ** 9)", "repeat must be from"),
        ("permutations(range(30))", "permutations would have more than"),
        ("permutations(range(10 ** 6))", "permutations would have more than"),
        ("combinations(range(10 ** 6), 5 * 10 ** 5)", "combinations would have more than"),
        ("combinations(range(100), 20)", "combinations would have more than"),
        ("combinations_with_replacement(range(1000), 1000)", "more than"),
        ("repeat(1, 10 ** 12)", "times must be from"),
        ("tee([1], 10 ** 9)", "n must be from"),
        ("count('x')", "count needs int or float"),
        ("chain.from_iterable.x", "has no attribute"),
        ("chain.x", "has no attribute"),
        ("count().gi_frame", "gi_frame"),
        ("getattr(count(), 'gi_frame')", "has no attribute"),
        ("getattr(chain, '__call__')", "has no attribute"),
    ],
)
def test_what_is_endless_or_huge_ends(expression: str, words: str) -> None:
    """With a reason, and before it is made."""
    assert words in python(f"from itertools import {NAMES}\nresult = {expression}").error


@pytest.mark.parametrize(
    "source",
    [
        "x = [0]\nfor i in range(100000):\n    x = chain(x)\nresult = len(x)",
        "x = cycle([0])\nfor i in range(1000):\n    x = cycle(islice(x, 5))\nresult = next(x)",
        "def g(x):\n    for i in x:\n        yield i\n"
        "x = count()\nfor i in range(100000):\n    x = g(x)\nresult = next(x)",
        "x = repeat([1])\nfor i in range(100):\n    x = repeat(x)\nresult = 1",
        "def g():\n    yield from starmap(max, zip(g()))\nresult = list(g())",
        "x = accumulate([1], lambda a, b: 1)\nresult = accumulate([[0]] * 20, lambda a, b: a + a)",
    ],
)
def test_deep_nests_do_not_crash(source: str) -> None:
    """They are lists inside, so there is no depth to overflow; what is left is an ordinary error."""
    outcome = alone("python", f"from itertools import {NAMES}\n{source}")
    assert outcome.startswith(("ok: ", "error: ")), outcome
