"""``math`` and ``statistics`` for scripts.

``math`` is the interpreter's own, without what came after Python 3.11 and with bounds where a small argument asks for a
number that never ends. ``statistics`` is our own, on floats with an exact sum: the library's would bring fractions,
decimals and random numbers into every worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.python_proxies import integer_of, listed, words

MAX_FACTORIAL = 100_000  # its factorial has 456574 digits and takes a tenth of a second
MAX_CHOSEN = 10_000  # of comb and perm: as many factors of at most 64 bits
_MAX_CHOICES = 2**63 - 1


def _factorial(n: int, /) -> int:
    return math.factorial(integer_of(n, "n", 0, MAX_FACTORIAL))


def _comb(n: int, k: int, /) -> int:
    n, k = integer_of(n, "n", 0, _MAX_CHOICES), integer_of(k, "k", 0, _MAX_CHOICES)
    if k <= n:
        integer_of(min(k, n - k), "the smaller of k and n - k", 0, MAX_CHOSEN)
    return math.comb(n, k)


def _perm(n: int, k: int | None = None, /) -> int:
    if k is None:
        return _factorial(n)
    n, k = integer_of(n, "n", 0, _MAX_CHOICES), integer_of(k, "k", 0, _MAX_CHOICES)
    return math.perm(n, integer_of(k, "k", 0, MAX_CHOSEN)) if k <= n else 0


_OWN_MATH = {"factorial": _factorial, "comb": _comb, "perm": _perm}
_OF_MATH = """acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh degrees dist e erf erfc exp exp2 expm1
    fabs floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p
    log2 modf nan nextafter pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp"""

MATH: dict[str, Any] = _OWN_MATH | {name: getattr(math, name) for name in words(_OF_MATH)}


# statistics


class StatisticsError(ValueError):
    """There are too few values, or none that could be the answer."""


def _numbers(data: Iterable[Any], least: int = 1) -> list[Any]:
    values = listed(data, "the data")
    for value in values:
        if type(value) not in (int, float, bool):
            raise TypeError(f"statistics need int or float, not {type(value).__name__}")
    if len(values) < least:
        raise StatisticsError(f"at least {least} value{'s are' if least > 1 else ' is'} needed")
    return values


def _quotient(total: Any, count: int) -> Any:
    """Return ``total / count``, as an int where that is exact and ``total`` is one."""
    return total // count if type(total) is int and total % count == 0 else total / count


def _sum(values: list[Any]) -> Any:
    return math.fsum(values) if any(type(value) is float for value in values) else sum(values)


def mean(data: Iterable[Any]) -> Any:
    """Return the arithmetic mean."""
    values = _numbers(data)
    return _quotient(_sum(values), len(values))


def fmean(data: Iterable[Any], weights: Iterable[Any] | None = None) -> float:
    """Return the arithmetic mean as a float."""
    values = _numbers(data)
    if weights is None:
        return math.fsum(values) / len(values)
    shares = _numbers(weights)
    if len(shares) != len(values):
        raise StatisticsError("data and weights must be of the same length")
    total = math.fsum(shares)
    if total == 0:
        raise StatisticsError("the sum of the weights must not be zero")
    return math.fsum(value * share for value, share in zip(values, shares, strict=True)) / total


def geometric_mean(data: Iterable[Any]) -> float:
    """Return the geometric mean of values above zero."""
    values = _numbers(data)
    if any(value <= 0 for value in values):
        raise StatisticsError("a geometric mean needs values above zero")
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def harmonic_mean(data: Iterable[Any]) -> float:
    """Return the harmonic mean of values that are not negative."""
    values = _numbers(data)
    if any(value < 0 for value in values):
        raise StatisticsError("a harmonic mean needs values that are not negative")
    if not all(values):
        return 0.0
    return len(values) / math.fsum(1 / value for value in values)


def median(data: Iterable[Any]) -> Any:
    """Return the middle value; between two, their mean."""
    values = sorted(_numbers(data))
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def median_low(data: Iterable[Any]) -> Any:
    """Return the middle value; of two, the lower one."""
    values = sorted(_numbers(data))
    return values[(len(values) - 1) // 2]


def median_high(data: Iterable[Any]) -> Any:
    """Return the middle value; of two, the higher one."""
    values = sorted(_numbers(data))
    return values[len(values) // 2]


def _counted(data: Iterable[Any]) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for value in listed(data, "the data"):
        counts[value] = counts.get(value, 0) + 1
    return counts


def mode(data: Iterable[Any]) -> Any:
    """Return the most common value; of several, the one met first."""
    counts = _counted(data)
    if not counts:
        raise StatisticsError("at least 1 value is needed")
    return max(counts, key=lambda value: counts[value])


def multimode(data: Iterable[Any]) -> list[Any]:
    """Return all values that are the most common, in the order in which they were met."""
    counts = _counted(data)
    most = max(counts.values(), default=0)
    return [value for value, count in counts.items() if count == most]


def _spread(values: list[Any], middle: Any, divisor: int) -> Any:
    """Return the sum of squared distances from ``middle`` (None: their mean) by ``divisor``; ints are exact."""
    if any(type(value) is float for value in values) or middle is not None:
        centre = _quotient(_sum(values), len(values)) if middle is None else middle
        return math.fsum((value - centre) ** 2 for value in values) / divisor
    total = sum(values)
    return _quotient(sum(value * value for value in values) * len(values) - total * total, len(values) * divisor)


def variance(data: Iterable[Any], xbar: float | None = None) -> Any:
    """Return the variance of a sample of at least two values."""
    values = _numbers(data, 2)
    return _spread(values, xbar, len(values) - 1)


def pvariance(data: Iterable[Any], mu: float | None = None) -> Any:
    """Return the variance of a whole population."""
    values = _numbers(data)
    return _spread(values, mu, len(values))


def stdev(data: Iterable[Any], xbar: float | None = None) -> float:
    """Return the standard deviation of a sample of at least two values."""
    return math.sqrt(variance(data, xbar))


def pstdev(data: Iterable[Any], mu: float | None = None) -> float:
    """Return the standard deviation of a whole population."""
    return math.sqrt(pvariance(data, mu))


def quantiles(data: Iterable[Any], *, n: int = 4, method: str = "exclusive") -> list[float]:
    """Return the ``n - 1`` values that cut the data into ``n`` parts of equal share."""
    values, n = sorted(_numbers(data, 2)), integer_of(n, "n", 1, 10_000)
    count = len(values)
    if method not in ("exclusive", "inclusive"):
        raise ValueError("method must be exclusive or inclusive")
    cuts = []
    for part in range(1, n):
        if method == "inclusive":
            low, share = divmod(part * (count - 1), n)
            low += 1
        else:
            low = max(1, min(part * (count + 1) // n, count - 1))
            share = part * (count + 1) - low * n
        cuts.append((values[low - 1] * (n - share) + values[low] * share) / n)
    return cuts


def _pairs(first: Iterable[Any], second: Iterable[Any]) -> tuple[list[float], list[float]]:
    """Return the distances of both from their means."""
    left, right = _numbers(first, 2), _numbers(second, 2)
    if len(left) != len(right):
        raise StatisticsError("both must be of the same length")
    middles = math.fsum(left) / len(left), math.fsum(right) / len(right)
    return [value - middles[0] for value in left], [value - middles[1] for value in right]


def _products(left: list[float], right: list[float]) -> float:
    return math.fsum(one * other for one, other in zip(left, right, strict=True))


def covariance(x: Iterable[Any], y: Iterable[Any], /) -> float:
    """Return the covariance of two samples."""
    left, right = _pairs(x, y)
    return _products(left, right) / (len(left) - 1)


def correlation(x: Iterable[Any], y: Iterable[Any], /) -> float:
    """Return Pearson's coefficient, from -1 to 1."""
    left, right = _pairs(x, y)
    spread = math.sqrt(_products(left, left) * _products(right, right))
    if spread == 0:
        raise StatisticsError("one of the samples is constant")
    return _products(left, right) / spread


_OF_STATISTICS: list[Callable[..., Any]] = [
    mean, fmean, geometric_mean, harmonic_mean, median, median_low, median_high, mode, multimode, variance, pvariance,
    stdev, pstdev, quantiles, covariance, correlation,
]  # fmt: skip

STATISTICS: dict[str, Any] = {function.__name__: function for function in _OF_STATISTICS} | {
    "StatisticsError": StatisticsError
}
