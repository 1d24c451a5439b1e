"""``itertools`` for scripts: lists instead of lazy iterators, because deep nests of those crash the interpreter.

``count``, ``cycle`` and an endless ``repeat`` are generators that hold no other iterator, so they cannot be nested.
They raise after ``MAX_ITEMS`` steps, so that a loop that was to end by itself tells why it did not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sandbox.python_proxies import MAX_ITEMS, integer_of, listed


def _ended(name: str) -> ValueError:
    return ValueError(f"{name} has given {MAX_ITEMS} items, which is its end here")


def count(start: Any = 0, step: Any = 1) -> Iterator[Any]:
    """Give ``start``, ``start + step`` and so on."""
    if type(start) not in (int, float) or type(step) not in (int, float):
        raise TypeError("count needs int or float")
    return _counting(start, step)


def _counting(start: Any, step: Any) -> Iterator[Any]:
    for number in range(MAX_ITEMS):
        yield start + number * step
    raise _ended("count")


def cycle(iterable: Iterable[Any]) -> Iterator[Any]:
    """Give the items over and over."""
    return _cycling(listed(iterable, "cycle"), "cycle")


def _cycling(items: list[Any], name: str) -> Iterator[Any]:
    if not items:
        return
    for number in range(MAX_ITEMS):
        yield items[number % len(items)]
    raise _ended(name)


def repeat(item: Any, times: int | None = None) -> Any:
    """Give ``item`` ``times`` times, as a list; without ``times``, over and over."""
    if times is None:
        return _cycling([item], "repeat")
    return [item] * integer_of(max(times, 0), "times", 0, MAX_ITEMS)


class Chain:
    """``chain`` and ``chain.from_iterable``: a function that has an attribute."""

    __slots__ = ()

    def __call__(self, *iterables: Iterable[Any]) -> list[Any]:
        return listed(itertools.chain(*iterables), "chain")

    @staticmethod
    def from_iterable(iterables: Iterable[Iterable[Any]]) -> list[Any]:
        """Return the items of all iterables."""
        return listed((item for iterable in iterables for item in iterable), "chain")


def accumulate(iterable: Iterable[Any], func: Callable[..., Any] | None = None, *, initial: Any = None) -> list[Any]:
    """Return running totals, or what ``func`` makes of the one before and the next item."""
    return list(itertools.accumulate(listed(iterable, "accumulate"), func, initial=initial))


def batched(iterable: Iterable[Any], n: int) -> list[tuple[Any, ...]]:
    """Return the items in tuples of ``n``; the last may be shorter."""
    size, items = integer_of(n, "n", 1, MAX_ITEMS), listed(iterable, "batched")
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def compress(data: Iterable[Any], selectors: Iterable[Any]) -> list[Any]:
    """Return the items whose selector is true."""
    return listed(itertools.compress(data, selectors), "compress")


def dropwhile(predicate: Callable[[Any], Any], iterable: Iterable[Any]) -> list[Any]:
    """Return the items from the first on for which ``predicate`` is false."""
    return listed(itertools.dropwhile(predicate, iterable), "dropwhile")


def takewhile(predicate: Callable[[Any], Any], iterable: Iterable[Any]) -> list[Any]:
    """Return the items before the first for which ``predicate`` is false."""
    return listed(itertools.takewhile(predicate, iterable), "takewhile")


def filterfalse(predicate: Callable[[Any], Any] | None, iterable: Iterable[Any]) -> list[Any]:
    """Return the items for which ``predicate`` is false."""
    return listed(itertools.filterfalse(predicate, iterable), "filterfalse")


def groupby(iterable: Iterable[Any], key: Callable[[Any], Any] | None = None) -> list[tuple[Any, list[Any]]]:
    """Return pairs of a key and the list of neighbours that have it."""
    groups: list[tuple[Any, list[Any]]] = []
    for item in listed(iterable, "groupby"):
        found = item if key is None else key(item)
        if groups and groups[-1][0] == found:
            groups[-1][1].append(item)
        else:
            groups.append((found, [item]))
    return groups


def islice(iterable: Iterable[Any], *bounds: int | None) -> list[Any]:
    """Return the items from start to stop; takes no item past the stop."""
    return listed(itertools.islice(iterable, *bounds), "islice")


def pairwise(iterable: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return each item with the one after it."""
    return list(itertools.pairwise(listed(iterable, "pairwise")))


def starmap(function: Callable[..., Any], iterable: Iterable[Iterable[Any]]) -> list[Any]:
    """Return what ``function`` makes of each item, spread out as its arguments."""
    return listed(itertools.starmap(function, iterable), "starmap")


def tee(iterable: Iterable[Any], n: int = 2) -> tuple[list[Any], ...]:
    """Return ``n`` lists of the items."""
    items = listed(iterable, "tee")
    return tuple(list(items) for _ in range(integer_of(n, "n", 0, 1000)))


def zip_longest(*iterables: Iterable[Any], fillvalue: Any = None) -> list[tuple[Any, ...]]:
    """Return tuples of one item of each, filled up to the longest."""
    return listed(itertools.zip_longest(*iterables, fillvalue=fillvalue), "zip_longest")


# What grows by multiplication is counted before it is made.


def _bounded(number: int, what: str) -> None:
    if number > MAX_ITEMS:
        raise ValueError(f"{what} would have more than {MAX_ITEMS} items")


def product(*iterables: Iterable[Any], repeat: int = 1) -> list[tuple[Any, ...]]:
    """Return all tuples of one item of each."""
    pools = [listed(iterable, "product") for iterable in iterables]
    times = integer_of(repeat, "repeat", 0, 1000)
    total = 1
    for pool in pools * times:
        total *= len(pool)
        if total == 0:
            return []
        _bounded(total, "product")
    return list(itertools.product(*pools, repeat=times))


def permutations(iterable: Iterable[Any], r: int | None = None) -> list[tuple[Any, ...]]:
    """Return all arrangements of ``r`` items."""
    items = listed(iterable, "permutations")
    size = len(items) if r is None else integer_of(r, "r", 0, MAX_ITEMS)
    _bounded(_falling(len(items), size), "permutations")
    return list(itertools.permutations(items, size))


def combinations(iterable: Iterable[Any], r: int) -> list[tuple[Any, ...]]:
    """Return all choices of ``r`` items."""
    items, size = listed(iterable, "combinations"), integer_of(r, "r", 0, MAX_ITEMS)
    _bounded(_choices(len(items), size), "combinations")
    return list(itertools.combinations(items, size))


def combinations_with_replacement(iterable: Iterable[Any], r: int) -> list[tuple[Any, ...]]:
    """Return all choices of ``r`` items, each as often as wanted."""
    items, size = listed(iterable, "combinations_with_replacement"), integer_of(r, "r", 0, 1000)
    _bounded(_choices(len(items) + size - 1, size) if items else 0, "combinations_with_replacement")
    return list(itertools.combinations_with_replacement(items, size))


def _falling(n: int, k: int) -> int:
    """Return how many arrangements there are, or something above ``MAX_ITEMS``."""
    total = 1
    for factor in range(n, max(n - k, 0), -1):
        total *= factor
        if total > MAX_ITEMS:
            break
    return total if k <= n else 0


def _choices(n: int, k: int) -> int:
    """Return how many choices there are, or something above ``MAX_ITEMS``."""
    fewer = min(k, n - k)
    if fewer < 0:
        return 0
    return math.comb(n, fewer) if fewer <= 20 or n < 60 else MAX_ITEMS + 1


_FUNCTIONS: list[Callable[..., Any]] = [
    count, cycle, repeat, accumulate, batched, compress, dropwhile, takewhile, filterfalse, groupby, islice, pairwise,
    starmap, tee, zip_longest, product, permutations, combinations, combinations_with_replacement,
]  # fmt: skip

ITERTOOLS: dict[str, Any] = {function.__name__: function for function in _FUNCTIONS} | {"chain": Chain()}
