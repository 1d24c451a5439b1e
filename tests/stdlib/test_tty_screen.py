"""What a terminal shows: rendered from bytes, also from bytes that mean harm."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from stdlib.tty_screen import MAX_TITLE_CHARACTERS, Display, Size


def shown(*items: bytes | Size) -> tuple[list[str], tuple[int, int], bool]:
    display = Display(Size(20, 4))
    display.feed(items)
    told = display.shown()
    return told["lines"], (told["cursor"]["row"], told["cursor"]["col"]), told["alternate"]


def test_text_and_cursor() -> None:
    lines, cursor, _ = shown(b"hello\r\n  world\x1b[1;3HX")
    assert lines == ["heXlo", "  world", "", ""]
    assert cursor == (0, 3)


def test_characters_may_come_in_pieces() -> None:
    """Also those of several bytes, and control sequences."""
    assert shown(b"\xc3", b"\xa9\x1b", b"[2", b";1Hx\xff")[0] == ["é", "x\ufffd", "", ""]


@pytest.mark.parametrize("mode", [b"47", b"1047", b"1049"])
def test_the_alternate_screen_leaves_the_main_one_as_it_was(mode: bytes) -> None:
    """As editors and pagers use it."""
    enter, leave = b"\x1b[?" + mode + b"h", b"\x1b[?" + mode + b"l"
    lines, _, alternate = shown(b"before\r\n$ ", enter, b"\x1b[H\x1b[2Jeditor")
    assert (lines[0], alternate) == ("editor", True)
    lines, cursor, alternate = shown(b"before\r\n$ ", enter, b"\x1b[H\x1b[2Jeditor", enter, leave, b"", leave)
    assert (lines, alternate) == (["before", "$", "", ""], False)
    if mode == b"1049":
        assert cursor == (1, 2), "this one saves the cursor"


def test_a_reset_ends_the_alternate_screen() -> None:
    assert shown(b"main\x1b[?1049heditor\x1bc")[2] is False


def test_sizes_change_at_their_place() -> None:
    display = Display(Size(10, 2))
    display.feed([b"0123456789", Size(5, 3), b"\r\nab"])
    told = display.shown()
    assert (told["cols"], told["rows"], len(told["lines"])) == (5, 3, 3)
    assert all(len(line) <= 5 for line in told["lines"])
    assert 0 <= told["cursor"]["col"] < 5


def test_the_title_is_told_and_bounded() -> None:
    display = Display(Size(10, 2))
    display.feed([b"\x1b]2;name\x07"])
    assert display.shown()["title"] == "name"
    display.feed([b"\x1b]2;" + b"x" * 5000 + b"\x07"])
    assert len(display.shown()["title"]) <= MAX_TITLE_CHARACTERS


@pytest.mark.parametrize(
    "poison",
    [
        b"\x1b]2;" + b"x" * 400_000, b"\x1b[" + b"1" * 400_000, b"\x1b[" + b"1;" * 200_000, b"\x1b[999999999999L",
        b"\x1b[99999;99999H", b"\x1b[99999@", b"\x1b[99999X", b"\x1b[?9999999999h", b"\x1bP" + b"q" * 400_000,
        b"\x1b[1;2;3;4;5;6;7;8;9;10;11m" * 1000, b"\x1b(" * 1000, b"\x1b#8" * 100, b"\x9b" * 5000,
        bytes(range(256)) * 40, b"\x1b[38;5m\x1b[38;2;1m\x1b[48m", b"\x1b[100;1r\x1b[L\x1b[M",
        b"\xcc\x81" * 20_000, b"\x1b[3g\t\t\t",
    ],
)  # fmt: skip
def test_nothing_that_is_printed_breaks_it_or_fills_memory(poison: bytes) -> None:
    """What a program prints may come from anybody."""
    display = Display(Size(80, 24))
    tracemalloc.start()
    began = time.process_time()
    display.feed([poison])
    assert time.process_time() - began < 20
    assert tracemalloc.get_traced_memory()[0] < 8 << 20
    tracemalloc.stop()
    display.feed([b"\x1b\\\x07" + b"x" * 20_000, b"\x1bc\x1b[Hstill here"])
    told = display.shown()
    assert told["lines"][0].endswith("still here") or "still here" in "".join(told["lines"])
