"""Text of values without addresses; everything else as Python says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from languages import python

from sandbox import python_text

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
    | st.sets(st.integers()) | st.frozensets(st.text()),
    max_leaves=10,
)  # fmt: skip


@given(plain)
def test_plain_values_look_as_in_python(value: Any) -> None:
    """A guard that changes honest output would be switched off by its users."""
    assert python_text.text(value) == str(value)
    assert python_text.shown(value) == repr(value)


@pytest.mark.parametrize(
    "value", [{1: 2}.keys(), {1: 2}.values(), {1: 2}.items(), range(3), ..., NotImplemented, set()]
)
def test_other_builtin_values_look_as_in_python(value: Any) -> None:
    """Views and constants."""
    assert python_text.shown(value) == repr(value)


@pytest.mark.parametrize(
    "error", [ValueError(), ValueError("x"), ValueError("x", 1), KeyError("k"), ZeroDivisionError("division by zero")]
)
def test_exceptions_look_as_in_python(error: Exception) -> None:
    """Text and repr alike."""
    assert python_text.text(error) == str(error)
    assert python_text.shown(error) == repr(error)


def test_what_has_an_address_shows_its_type_only() -> None:
    """Also inside containers."""
    assert python_text.text([print, {"a": (object(),)}]) == "[<builtin_function_or_method>, {'a': (<object>,)}]"


def test_an_error_that_quotes_an_object_shows_no_address() -> None:
    """As one of a library does; neither as text nor as it is, nor inside of something."""
    error = ValueError(f"{object()} is none")
    told = "<object object at 0x> is none"
    assert python_text.text(error) == told
    assert python_text.shown([error]) == f"[ValueError('{told}')]"


def test_cycles_and_depth_end() -> None:
    """A script can build both."""
    loop: list[Any] = []
    loop.append(loop)
    assert python_text.shown(loop) == "[...]"
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    assert python_text.shown(deep).count("[") == 32


@pytest.mark.parametrize(
    ("left", "right"),
    [("%s", "x"), ("%s %r", ("x", "y")), ("%(a)s", {"a": 1}), ("%5.1f", 2.25), (7, 3), (b"%a", "x"), ("%s", [1, "x"])],
)
def test_modulo_formats_as_in_python(left: Any, right: Any) -> None:
    """Numbers too."""
    assert python_text.modulo(left, right) == left % right


@pytest.mark.parametrize(("value", "spec"), [(1.5, ".3f"), ("x", ">5"), (5, "x"), ([1], ""), (None, "")])
def test_format_is_as_in_python(value: Any, spec: str) -> None:
    """Specifications apply to plain values."""
    assert python_text.format_value(value, spec) == format(value, spec)


def test_addresses_are_taken_out_of_messages() -> None:
    """Some built-in errors quote a repr."""
    assert python_text.without_addresses("<f at 0x7fb53dfff5f0> is not in list 0xff") == "<f at 0x> is not in list 0xff"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("f'{3.14159:.2f}|{5:>{4}}|{\"x\":_<3}|{[1]:>5}'", "3.14|   5|x__|  [1]"),
        ("f'{d:%Y}|{d!s:>30}|{d!r:.8}|{d.date():%d}'", "2024|           2024-01-02 03:04:05|datetime|02"),
        ("f'{math.pi:.{2}f}' + f'{math}'", "3.14<module 'math'>"),
        ("format(d, '%H') + format(d) + format(5, '03')", "032024-01-02 03:04:05005"),
    ],
)
def test_specifications_reach_the_value_through_the_guard(source: str, value: str) -> None:
    """The interpreter would hand them to the value itself."""
    head = "import math\nfrom datetime import datetime\nd = datetime(2024, 1, 2, 3, 4, 5)\n"
    assert python(f"{head}result = {source}").value == value
