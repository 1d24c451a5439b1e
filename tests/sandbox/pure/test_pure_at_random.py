"""Every local call meets random and hostile values: it returns a plain value within bounds, or refuses."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.pure import PURE
from sandbox.pure.declared import MAX_BYTES, MAX_DEPTH, MAX_ITEMS
from sandbox.runtimes import CallError
from sandbox.values import Caps, to_plain

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HOSTILE = st.sampled_from(
    [
        "",
        "\0",
        "a" * 5000,
        "[" * 3000,
        "{" * 3000,
        "<a>" * 100,
        "&a [*a]",
        "a.b.c",
        "1.0.0",
        "(a+)+$",
        "10.0.0.0/8",
        "%",
        "$",
        "http://[::1]:8/",
        "../..",
        "/",
        "é" * 100,
        "0" * 400,
        "1e999",
        "-",
        "#",
        "\ufeff",
        "\u2028",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXTS | HOSTILE | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
OUTER = Caps(depth=MAX_DEPTH + 2, items=MAX_ITEMS + 1, size_bytes=4 * MAX_BYTES + 1)


@given(st.sampled_from(sorted(PURE)), st.lists(VALUES, max_size=4), st.dictionaries(TEXTS, VALUES, max_size=1))
def test_values_or_refusals(name: str, args: list[Any], named: dict[str, Any]) -> None:
    _is_plain_or_refused(name, args, named)


@given(st.sampled_from(sorted(PURE)), st.lists(HOSTILE | TEXTS, min_size=1, max_size=3))
def test_texts(name: str, args: list[str]) -> None:
    """Most parameters take texts, so this goes deeper."""
    _is_plain_or_refused(name, args, {})


def _is_plain_or_refused(name: str, args: list[Any], named: dict[str, Any]) -> None:
    try:
        value = PURE[name]({}, args, named)
    except CallError as error:
        refused = error
    else:
        to_plain(value, OUTER.budget("the value"))
        return
    elsewhere = {"unavailable"} if refused.message.startswith("require:") else set()  # only runtimes have modules
    assert refused.code in {"invalid_argument", "too_large"} | elsewhere
    assert refused.message.startswith(f"{name}: ")
    assert len(refused.message) < 500
