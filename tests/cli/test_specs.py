"""What people type for a forward, and what it means."""

from __future__ import annotations

import pytest

from cli.forwarding.specs import Place, Spec, parse, parse_listen
from protocol.errors import ArgumentError

DB = Place("db", 5432)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("5432:db:5432", Spec(Place("127.0.0.1", 5432), DB)),
        ("L:db:5432", Spec(Place("127.0.0.1", 5432), DB, may_move=True)),
        ("0:DB.:5432", Spec(Place("127.0.0.1", 0), DB)),
        ("0.0.0.0:80:db:5432", Spec(Place("0.0.0.0", 80), DB)),
        ("*:80:db:5432", Spec(Place("0.0.0.0", 80), DB)),
        ("localhost:80:db:5432", Spec(Place("127.0.0.1", 80), DB)),
        ("[::1]:80:[2001:db8::1]:443", Spec(Place("::1", 80), Place("2001:db8::1", 443))),
    ],
)
def test_forms(text: str, spec: Spec) -> None:
    assert parse(text, where="x") == spec


def test_forms_of_socks() -> None:
    assert parse_listen("1080", where="-D") == Spec(Place("127.0.0.1", 1080), None)
    assert parse_listen("[::1]:1080", where="-D") == Spec(Place("::1", 1080), None)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "5432", "5432:db", "a:b:c:d:e", "5432:db:x", "5432:db:0", "5432:db:65536", "65536:db:1", "-1:db:1",
        "5432:127.1:80", "5432:a b:80", "5432::80", "db:1:db:5", "[db]:1:db:5", "[::1:1:db:5", "[::1]x:1:db:5",
        "٣:db:1",
    ],
)  # fmt: skip
def test_what_means_nothing_is_named(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse(text, where="HOST:PORT")
    assert caught.value.where == "HOST:PORT"
