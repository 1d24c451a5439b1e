"""Ids: what has the form of a whole one, and what can be the beginning of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ArgumentError
from protocol.identities import FORMS, MAX_CHARACTERS, MIN_BEGINNING, Kind, after, check_beginning, is_whole

DIGIT = "0123456789abcdef"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_whole_id_is_of_its_length_and_its_digits(kind: Kind) -> None:
    for begin, digits in FORMS[kind]:
        whole = begin + (DIGIT * 2)[:digits]
        assert is_whole(whole, kind)
        check_beginning(whole)
        for wrong in (whole[:-1], whole + "0", whole[:-1] + "g", whole[:-1] + "A", whole.upper() + "Z", ""):
            assert not is_whole(wrong, kind), wrong


def test_of_two_forms_of_a_kind_neither_begins_with_the_other() -> None:
    """Else a whole id of the short form could never be the beginning of a long one."""
    for forms in FORMS.values():
        for begin, _digits in forms:
            for other, _ in forms:
                assert begin == other or not other or other[0] not in DIGIT, (begin, other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no id"), ("s_5f3", "too short"), ("../../agents", "is no id"), ("s_5f3c/close", "is no id"),
        ("s_5f3c ", "is no id"), ("s_5f3c%", "is no id"), ("s_5f3c?", "is no id"), ("s_５f3c", "is no id"),
        ("s_5f3c\n", "is no id"), ("a" * (MAX_CHARACTERS + 1), "too long"),
    ],
)  # fmt: skip
def test_what_can_be_no_id_is_told_with_why(text: str, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        check_beginning(text)


@given(st.text("0123456789abcdefxyzABC_-", min_size=MIN_BEGINNING, max_size=20), st.text("09afz_-A", max_size=9))
def test_all_that_begin_so_lie_between_a_beginning_and_what_is_after_it(beginning: str, rest: str) -> None:
    assert beginning <= beginning + rest < after(beginning)
    assert not after(beginning).startswith(beginning)
