"""Values that people type."""

from __future__ import annotations

import pytest

from cli.values import bounded, labels, pairs, segment, typed
from protocol.errors import ArgumentError


@pytest.mark.parametrize(
    ("text", "path"), [("web-1", "web-1"), ("a b", "a%20b"), ("a?b#c", "a%3Fb%23c"), ("%2F", "%252F")]
)
def test_name_becomes_one_segment(text: str, path: str) -> None:
    assert segment(text) == path


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../x", "/"])
def test_name_that_would_reach_another_path(text: str) -> None:
    with pytest.raises(ArgumentError, match="neither a name nor an id"):
        segment(text)


def test_pairs() -> None:
    assert pairs(["a=1", "b=x=y", "c="], where="--arg") == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("given", "said"), [(["a"], "'a' is not"), (["=1"], "'=1' is not"), (["a=1", "a=2"], "given twice")]
)
def test_bad_pairs_name_where(given: list[str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as raised:
        labels(given, where="K=V")
    assert raised.value.where == "K=V"


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1.0), ("1m", 60.0), ("2m", 120.0)])
def test_duration_within_bounds(text: str, seconds: float) -> None:
    assert bounded(text, 1.0, 120.0, where="--every") == seconds


@pytest.mark.parametrize("text", ["999ms", "121s"])
def test_duration_out_of_bounds_names_both(text: str) -> None:
    with pytest.raises(ArgumentError, match=rf"--every: {text} is out of range \(1s to 2m\)"):
        bounded(text, 1.0, 120.0, where="--every")


def test_typed_arrays() -> None:
    """As the server shows their declaration, with what each item must be."""
    numbers, texts = ({"type": "array", "items": {"type": kind}} for kind in ("number", "string"))
    declared = {"of": numbers, "paths": texts}
    assert typed({"of": "0.25,3", "paths": "/,/var"}, declared) == {"of": [0.25, 3.0], "paths": ["/", "/var"]}
    assert typed({"of": "[1, 2.5]", "paths": ""}, declared) == {"of": [1, 2.5], "paths": []}
    for text in ("1,x", "[1", '["x"]'):
        with pytest.raises(ArgumentError, match="'of"):
            typed({"of": text}, declared)


def test_typed_parameters() -> None:
    declared = {"n": {"type": "integer"}, "loud": {"type": "boolean"}}
    assert typed({"n": "5", "loud": "true"}, declared) == {"n": 5, "loud": True}
    with pytest.raises(ArgumentError, match=r"no parameter 'm' \(known: loud, n\)"):
        typed({"m": "1"}, declared)
