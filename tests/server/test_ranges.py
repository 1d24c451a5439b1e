"""What requests for files say in their headers, and what is no such thing."""

from __future__ import annotations

import pytest

from protocol.errors import ArgumentError
from server.api.ranges import as_digest, condition, digest, named, part

HASH = "a" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, {}), ("bytes=0-0", {"offset": 0, "length": 1}), ("bytes=5-", {"offset": 5}), ("bytes=-5", {"tail": 5}),
        ("bytes=-", {}), ("bytes=2-1", {}), ("bytes=0-1,3-4", {}), ("bytes=a-b", {}), ("items=0-1", {}),
        ("bytes=" + "9" * 17 + "-", {}),
    ],
)  # fmt: skip
def test_a_range(text: str | None, found: dict[str, int]) -> None:
    assert part(text) == found


def test_conditions() -> None:
    assert condition(None, None) is None
    assert condition(f'"sha256:{HASH}"', None) == f"sha256:{HASH}"
    assert condition(None, "*") == "absent"
    for wrong in ((f'W/"sha256:{HASH}"', None), ("*", None), (HASH, None), (None, f'"sha256:{HASH}"'), ('"x"', "*")):
        with pytest.raises(ArgumentError):
            condition(*wrong)


def test_a_digest_comes_back_as_it_was() -> None:
    assert digest(None) is None
    assert digest(as_digest(HASH)) == digest(f"md5=:AA==:, {as_digest(HASH)}") == HASH
    for wrong in ("", "sha-256=:abc:", "sha-512=:AAAA:"):
        with pytest.raises(ArgumentError):
            digest(wrong)


def test_a_name_of_any_bytes() -> None:
    """The name of a file is bytes; a query can carry all of them."""
    assert named(b"path=/caf%C3%A9&x=1", "path") == "/café"
    assert named(b"path=/caf%E9+a", "path") == b"/caf\xe9 a"
    for wrong in (b"", b"path=/a&path=/b", b"Path=/a"):
        with pytest.raises(ArgumentError):
            named(wrong, "path")
