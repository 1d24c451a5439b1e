"""What a terminal printed as lines of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.transcript import MAX_LINE, Transcript


def lines(data: bytes, *, pieces: int = 0, keeps_screens: bool = False) -> list[str]:
    made = Transcript(keeps_screens=keeps_screens)
    step = pieces or max(1, len(data))
    found = [line for at in range(0, len(data), step) for line in made.feed(data[at : at + step])]
    return found + made.end()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"one\r\ntwo", ["one", "two"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b]2;t\x1b\\y\r\n", ["red xy"]),
        (b"50%\r100%\r\n", ["100%"]),
        (b"lx\x08s\r\n", ["ls"]),
        (b"$ lss\x08\x1b[K\r\n", ["$ ls"]),
        (b"abc\x1b[2D\x1b[P\r\n", ["ac"]),
        (b"ac\x1b[D\x1b[@b\r\n", ["abc"]),
        (b"a\tb\r\n", ["a       b"]),
        (b"before\r\n\x1b[?1049h\x1b[Hscreen\x1b[5;1Hmore\x1b[?1049lafter\r\n", ["before", "after"]),
        ("ä€\r\n".encode(), ["ä€"]),
        (b"\xff\xfe\r\n", ["\ufffd\ufffd"]),
        (b"\x1bP1$r0m\x1b\\x\x1b(Bz\x1b7\r\n", ["xz"]),
        (b"a\x1b[?2004hb\r\n", ["ab"]),
        (b"\x07\x00\x0e\r\n", [""]),
    ],
)
@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_lines(data: bytes, expected: list[str], pieces: int) -> None:
    """However the bytes come."""
    assert lines(data, pieces=pieces) == expected


def test_for_search_what_is_drawn_is_kept_piece_by_piece() -> None:
    assert lines(b"\x1b[?1049h\x1b[Hscreen\x1b[5;1Hmore\x1b[?1049l", keeps_screens=True) == ["screen", "more"]


def test_a_line_and_a_sequence_without_end_are_bounded() -> None:
    found = lines(b"x" * (3 * MAX_LINE))
    assert max(map(len, found)) == MAX_LINE
    assert "".join(found) == "x" * (3 * MAX_LINE)
    made = Transcript()
    for _ in range(100):
        made.feed(b"\x1b]" + b"y" * 1000)
    assert len(made._pending) < 10_000


@given(st.binary(max_size=300), st.integers(1, 7))
def test_no_output_breaks_it_and_none_leaves_a_control_character(data: bytes, pieces: int) -> None:
    assert all(
        character.isprintable() or ord(character) >= 0x80 for line in lines(data, pieces=pieces) for character in line
    )


def test_a_column_far_to_the_right_costs_no_memory() -> None:
    assert len(lines(b"\x1b[9999C" * 50 + b"x")[-1]) <= MAX_LINE
