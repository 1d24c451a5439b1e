"""Control sequences that the emulator does not know leave nothing on the screen, wherever the output is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdlib.tty_screen import Display, Size
from stdlib.tty_sequences import MAX_HELD_CHARACTERS, Sequences

UNKNOWN = [
    b"\x1b[?4m", b"\x1b[>4;2m", b"\x1b[>c", b"\x1b[=0c", b"\x1b[<0;1;2M", b"\x1b[1;2;3;4A", b"\x1b[?1;2r", b"\x1b[!p",
    b"\x1b[4 q", b"\x1b[?2004$p", b"\x1b[>q", b"\x1b[38:2:1:2:3m", b"\x1b[?1l", b"\x1b[23;2t", b"\x1b]11;?\x07",
    b"\x1b]0;a title\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1bP1$r0m\x1b\\", b"\x1b_Ga=T;AAAA\x1b\\", b"\x1b^private\x1b\\",
    b"\x1bXstart\x1b\\", "\x90sixel\x9c".encode(), "\x9b?4m".encode(), b"\x1bPbroken off\x18", b"\x1b(B", b"\x1b=",
]  # fmt: skip


def lines(*pieces: bytes) -> list[str]:
    display = Display(Size(40, 3))
    display.feed(pieces)
    shown: list[str] = display.shown()["lines"]
    return shown


@pytest.mark.parametrize("sequence", UNKNOWN, ids=repr)
def test_what_is_not_known_leaves_nothing(sequence: bytes) -> None:
    assert lines(b"ab" + sequence + b"cd\r\nef") == ["abcd", "ef", ""]


KNOWN = [
    b"text",
    b"\r\n",
    "\u00e9\u4e2d".encode(),
    b"\x1b[2;3H",
    b"\x1b[1m",
    b"\x1b[K",
    b"\x1b[2J",
    b"\x1b[?25l",
    b"\x1b[5C",
    b"\b",
]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("\N{CJK UNIFIED IDEOGRAPH-4E2D}x", "\N{CJK UNIFIED IDEOGRAPH-4E2D}x"),
        ("\N{CJK UNIFIED IDEOGRAPH-4E2D}x\rab", "abx"),
        ("\N{CJK UNIFIED IDEOGRAPH-4E2D}x\ra", "a x"),
        ("a\N{CJK UNIFIED IDEOGRAPH-4E2D}\r\x1b[1Cx", "ax"),
        ("\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 20, "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 20),
    ],
)
def test_half_of_a_wide_character_may_be_written_over(output: str, line: str) -> None:
    """The other half is blank then; the emulator's own way to show lines fails at it."""
    assert lines(output.encode())[0] == line


@given(st.lists(st.sampled_from([*UNKNOWN, *KNOWN]), max_size=12).map(b"".join), st.data())
def test_the_cut_changes_nothing(output: bytes, data: st.DataObject) -> None:
    """As the bytes of a terminal come in pieces of any size."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=8)))
    pieces = [output[begin:end] for begin, end in pairwise([0, *cuts, len(output)])]
    assert lines(*pieces) == lines(output)


@given(st.text(st.sampled_from("\x1b[]P^_X?>;1m \\\x07\x9b\x9c\x90\x18ab\n"), max_size=60), st.data())
def test_no_output_is_an_error_and_little_is_held(text: str, data: st.DataObject) -> None:
    """Whatever a program prints, in whatever pieces."""
    cut = data.draw(st.integers(0, len(text)))
    sequences = Sequences()
    parts = sequences.known(text[:cut]) + sequences.known(text[cut:])
    assert parts == Sequences().known(text)
    assert len(sequences._held) <= MAX_HELD_CHARACTERS


def test_a_string_without_end_is_not_kept() -> None:
    """A picture, say, of which the program never says that it is over."""
    sequences = Sequences()
    assert sequences.known("a\x1bP") == "a"
    for _ in range(100):
        assert sequences.known("x" * 10_000) == ""
    assert not sequences._held
    assert sequences.known("\x1b") + sequences.known("\\b") == "b"


def test_a_sequence_without_end_is_given_up() -> None:
    """What comes after it is text again."""
    sequences = Sequences()
    assert sequences.known("a\x1b[" + "1" * MAX_HELD_CHARACTERS) == "a"
    assert sequences.known("b") == "b"
