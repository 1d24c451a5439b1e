"""What is typed for an access grant or a request."""

from __future__ import annotations

import pytest

from cli.scopes import bounds, scope_of
from protocol.errors import ArgumentError


def test_what_is_typed_becomes_a_scope() -> None:
    scope = scope_of("role=mail", ("files",), "inspect", (), ("/var/log/**",), ())
    assert scope == {
        "target": "role=mail", "kinds": ["files"], "tier": "inspect", "users": [], "paths": ["/var/log/**"],
        "targets": [],
    }  # fmt: skip
    assert bounds(scope) == "paths=/var/log/**"
    assert bounds({}) == "-"


def test_a_tier_that_is_none_is_named() -> None:
    with pytest.raises(ArgumentError, match="root") as caught:
        scope_of("*", ("files",), "root", (), (), ())
    assert caught.value.where == "--tier"
