"""Commands among what is typed, as in ssh."""

from __future__ import annotations

import pytest

from cli.escapes import COMMANDS, HELP, Escapes


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (b"ls\r", [b"ls\r"]),
        (b"~.", ["."]),
        (b"ls\r~.", [b"ls\r", "."]),
        (b"a~.", [b"a~."]),
        (b"~~x", [b"~x"]),
        (b"~x", [b"~x"]),
        (b"\n~?\n", [b"\n", "?", b"\n"]),
        (b"~?~?", ["?", "?"]),
        (b"~\r~d", [b"~\r", "d"]),
        ("ä~.".encode(), ["ä~.".encode()]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("pieces", [1, 0])
def test_a_tilde_counts_at_the_beginning_of_a_line(typed: bytes, found: list[bytes | str], pieces: int) -> None:
    """However the bytes arrive: a terminal in raw mode gives them one by one."""
    escapes = Escapes()
    parts = [typed] if pieces else [bytes([byte]) for byte in typed]
    got: list[bytes | str] = []
    for part in parts:
        for each in escapes.feed(part):
            if isinstance(each, bytes) and got and isinstance(got[-1], bytes):
                got[-1] += each
            else:
                got.append(each)
    assert got == found


def test_the_help_names_every_command() -> None:
    assert all(f"~{word}" in HELP for word in COMMANDS)
