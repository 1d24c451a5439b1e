"""Which names one archive may hold, and which not together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ArgumentError, OutriderError, TooLargeError
from stdlib.archives.names import Names


def test_plain_names_are_taken() -> None:
    names = Names(100)
    assert names.accept(b"a/b/c", is_directory=False) == ("a", "b", "c")
    assert names.accept(b"a/b/", is_directory=True) == ("a", "b"), "its own entry may come after what is in it"
    assert names.accept(b"./a/d", is_directory=False) == ("a", "d")
    assert names.accept(b"./", is_directory=True) == names.accept(b".", is_directory=True) == ()
    assert names.accept(b"odd\xff", is_directory=False) == ("odd\udcff",)
    assert names.count == 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"/etc/passwd", "an absolute name"), (b"//x", "an absolute name"), (b"../x", "an empty, . or .. part"),
        (b"a/../../x", "an empty, . or .. part"), (b"a//b", "an empty, . or .. part"), (b"a/./b", "an empty, . or .."),
        (b"a/..", "an empty, . or .. part"), (b"..", "an empty, . or .. part"), (b"./../x", "an empty, . or .. part"),
        (b"a\0b", "a NUL or a backslash"), (b"a\\..\\b", "a NUL or a backslash"), (b"C:\\x", "a NUL or a backslash"),
        (b"", "without a name"), (b".", "without a name"),
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: bytes, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        Names(100).accept(name, is_directory=False)


@pytest.mark.parametrize("name", [b"a" * 256, b"a/" * 65 + b"b", b"a/" * 1600])
def test_names_without_end_are_refused(name: bytes) -> None:
    with pytest.raises(TooLargeError):
        Names(1000).accept(name, is_directory=False)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((b"a", False), (b"a", False), "a name twice"),
        ((b"a", True), (b"a/", True), "a name twice"),
        ((b"a", False), (b"./a", False), "a name twice"),
        ((b"README", False), (b"readme", False), "differ in case or form only"),
        ((b"X/a", False), (b"x/b", False), "differ in case or form only"),
        (("é".encode(), False), ("e\u0301".encode(), False), "differ in case or form only"),
        (("ﬁ".encode(), False), (b"fi", False), "differ in case or form only"),
        ((b"a", False), (b"a/b", False), "as a file and as a directory"),
        ((b"a/b", False), (b"a", False), "as a file and as a directory"),
        ((b"a/b", False), (b"a/b/", True), "as a file and as a directory"),
    ],
)
def test_two_names_that_are_one_are_refused(first: tuple[bytes, bool], second: tuple[bytes, bool], told: str) -> None:
    names = Names(100)
    names.accept(first[0], is_directory=first[1])
    with pytest.raises(ArgumentError, match=told):
        names.accept(second[0], is_directory=second[1])


def test_directories_that_are_only_implied_count() -> None:
    names = Names(3)
    names.accept(b"a/b/c", is_directory=False)
    with pytest.raises(TooLargeError, match="more than 3 entries"):
        names.accept(b"d", is_directory=False)


@given(st.lists(st.tuples(st.binary(max_size=30), st.booleans()), max_size=10))
def test_whatever_is_taken_stays_below(found: list[tuple[bytes, bool]]) -> None:
    names = Names(50)
    for name, is_directory in found:
        try:
            parts = names.accept(name, is_directory=is_directory)
        except OutriderError:
            continue
        assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)
