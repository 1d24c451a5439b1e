"""``math`` and ``statistics`` as scripts have them, held to the interpreter's own."""

from __future__ import annotations

import math

import pytest
from languages import plainly, python


@pytest.mark.parametrize(
    "expression",
    [
        "[math.sqrt(2), math.pi, math.e, math.tau, math.inf > 1, math.isnan(math.nan)]",
        "[math.floor(1.5), math.ceil(1.5), math.trunc(-1.5), math.isqrt(17), math.fmod(7, 3), math.remainder(7, 4)]",
        "[math.gcd(12, 18), math.lcm(4, 6), math.prod([2, 3, 4]), math.fsum([0.1] * 10), math.hypot(3, 4)]",
        "[math.factorial(20), math.comb(50, 3), math.comb(3, 5), math.perm(5), math.perm(5, 2), math.perm(2, 5)]",
        "[math.log(8, 2), math.log2(8), math.log10(1000), math.log1p(1), math.exp2(3), math.cbrt(27)]",
        "[math.copysign(1, -0.0), math.frexp(8), math.modf(1.5), math.ldexp(1, 4), math.dist([0, 0], [3, 4])]",
        "[math.isclose(1, 1 + 1e-12), math.degrees(math.pi), math.radians(180), math.atan2(1, 1), math.ulp(1.0)]",
    ],
)
def test_math_is_the_interpreters(expression: str) -> None:
    """Authors know it by heart."""
    source = f"import math\nresult = {expression}"
    assert python(source).value == [list(x) if isinstance(x, tuple) else x for x in plainly(source)]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("math.factorial(10 ** 9)", "n must be from 0 to 100000"),
        ("math.factorial(-1)", "n must be from"),
        ("math.factorial(2.0)", "n must be int"),
        ("math.comb(10 ** 9, 5 * 10 ** 8)", "must be from 0 to 10000"),
        ("math.comb(10 ** 30, 2)", "n must be from"),
        ("math.perm(10 ** 9)", "n must be from"),
        ("math.perm(10 ** 9, 10 ** 8)", "k must be from"),
        ("math.ldexp(1.0, 10 ** 9)", "OverflowError"),
        ("math.exp(10 ** 6)", "OverflowError"),
    ],
)
def test_numbers_that_never_end_are_refused(expression: str, words: str) -> None:
    """An error that says why is worth more than a worker that was killed."""
    assert words in python(f"import math\nresult = {expression}").error


DATA = ["[1, 2, 3, 4]", "[3, 1, 2]", "[1.5, 2.25, 4.0, 4.0]", "[7]", "[1, 1, 2, 2, 3]", "[10 ** 15, 10 ** 15 + 1]"]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    "name",
    [
        "mean", "fmean", "median", "median_low", "median_high", "mode", "multimode", "pvariance", "pstdev",
        "geometric_mean", "harmonic_mean",
    ],
)  # fmt: skip
def test_statistics_of_one_sample_are_those_of_the_library(name: str, data: str) -> None:
    """To the last bit but one: the library counts in fractions, ours in floats with an exact sum."""
    source = f"import statistics\nresult = statistics.{name}({data})"
    assert python(source).value == pytest.approx(plainly(source), rel=1e-14)


@pytest.mark.parametrize(
    "expression",
    [
        "[s.variance(d), s.stdev(d), s.variance([1, 2, 4]), s.stdev([2.5, 3.5])]",
        "s.quantiles(d)",
        "s.quantiles(d, n=10)",
        "s.quantiles(d, n=4, method='inclusive')",
        "s.fmean([1, 2], weights=[3, 1])",
        "[s.covariance(d, [1, 2, 3, 5]), s.correlation(d, [1, 2, 3, 5])]",
        "[s.pvariance(d, mu=2), s.variance(d, xbar=2.5)]",
    ],
)
def test_statistics_of_spread_are_those_of_the_library(expression: str) -> None:
    """See above."""
    source = f"import statistics as s\nd = [1, 2.5, 7, 3]\nresult = {expression}"
    assert python(source).value == pytest.approx(plainly(source), rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("s.mean([])", "StatisticsError: at least 1 value is needed"),
        ("s.mode([])", "StatisticsError"),
        ("s.stdev([1])", "at least 2 values are needed"),
        ("s.mean(['1'])", "statistics need int or float, not str"),
        ("s.geometric_mean([0])", "above zero"),
        ("s.harmonic_mean([-1])", "not negative"),
        ("s.correlation([1, 1], [1, 2])", "constant"),
        ("s.covariance([1, 2], [1, 2, 3])", "same length"),
        ("s.fmean([1], [1, 2])", "same length"),
        ("s.fmean([1], [0])", "must not be zero"),
        ("s.quantiles([1, 2], n=10 ** 9)", "n must be from"),
        ("s.quantiles([1, 2], method='x')", "method must be"),
        ("s.mean(x for x in range(10 ** 7))", "more than 1000000 items"),
        ("s.fmean([10 ** 400])", "OverflowError"),
    ],
)
def test_what_statistics_refuse(expression: str, words: str) -> None:
    """Each with a reason."""
    assert words in python(f"import statistics as s\nresult = {expression}").error


def test_statistics_errors_are_value_errors() -> None:
    """Scripts catch them by either name."""
    source = "import statistics\ntry:\n    statistics.mean([])\nexcept {}:\n    result = 'caught'"
    assert python(source.format("ValueError")).value == "caught"
    assert python(source.format("statistics.StatisticsError")).value == "caught"


def test_means_of_integers_stay_integers() -> None:
    """As in the library."""
    value = python("from statistics import mean, pvariance\nresult = [mean([1, 2, 3]), pvariance([1, 3])]").value
    assert [type(item) for item in value] == [int, int]
    assert math.isclose(python("from statistics import mean\nresult = mean([1, 2])").value, 1.5)
