"""What modules of scripts are made of."""

from __future__ import annotations

import pytest

from sandbox.python_proxies import MAX_ITEMS, integer_of, listed, module, plain_only, text_of, words


def test_a_module_is_frozen() -> None:
    """Not even we can change it by accident."""
    made = module("some", {"f": lambda: 5, "n": 1.5, "k": dict})
    assert (made.f(), made.n, made.k) == (5, 1.5, dict)  # type: ignore[attr-defined]  # made above
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.f = None  # type: ignore[attr-defined]  # made above
    with pytest.raises(AttributeError):
        made.other = None  # type: ignore[attr-defined]  # made above


class Text(str):
    """As a script could make it."""


@pytest.mark.parametrize("value", [object(), Text("x"), {}, {1}, [[1]], [object()], len, b"".join])
def test_only_plain_values_reach_the_library(value: object) -> None:
    """By exact type, one level deep."""
    with pytest.raises(TypeError, match="cannot be used here"):
        plain_only(len)(value)
    with pytest.raises(TypeError, match="cannot be used here"):
        plain_only(dict)(x=value)


def test_plain_values_reach_it() -> None:
    """Lists of them too; texts up to the bound."""
    assert plain_only(lambda *args, **named: (args, named))(1, "x", [b"y", None], k=1.5) == (
        (1, "x", [b"y", None]),
        {"k": 1.5},
    )
    assert plain_only(len, 3)("abc") == 3
    with pytest.raises(ValueError, match="more than 3 characters"):
        plain_only(len, 3)(["abcd"])


def test_texts_and_integers_are_exact() -> None:
    """A bool is no number of things."""
    assert text_of("x", "it") == "x"
    assert integer_of(3, "it", 0, 3) == 3
    with pytest.raises(TypeError, match="it must be str, not Text"):
        text_of(Text("x"), "it")
    with pytest.raises(TypeError, match="it must be int, not bool"):
        integer_of(True, "it", 0, 3)
    with pytest.raises(ValueError, match="it must be from 0 to 3"):
        integer_of(4, "it", 0, 3)


def test_lists_are_bounded() -> None:
    """One more is too many."""
    assert len(listed(range(MAX_ITEMS), "it")) == MAX_ITEMS
    with pytest.raises(ValueError, match="it would have more than 1000000 items"):
        listed(iter(int, 1), "it")


def test_words() -> None:
    """Any white space."""
    assert words(" a\n b ") == ["a", "b"]
