"""What ``outrider doctor`` says of the interpreter."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cli.nouns.doctor import HARD_LINKS, faults, hard_links, is_movable


def elf(kind: int, order: str = "<") -> bytes:
    return b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9) + struct.pack(f"{order}H", kind)


@pytest.mark.parametrize(
    ("head", "expected"),
    [(elf(2), False), (elf(3), True), (elf(2, ">"), False), (elf(3, ">"), True), (b"#!/bin/sh\n", True), (b"", True)],
)
def test_whether_a_program_may_lie_anywhere(tmp_path: Path, head: bytes, expected: bool) -> None:
    path = tmp_path / "program"
    path.write_bytes(head)
    assert is_movable(path) is expected
    assert is_movable(tmp_path / "none")


def test_of_this_interpreter_the_kernel_says_the_same() -> None:
    """Where its code lies in two processes of it."""
    program = "print(next(line for line in open('/proc/self/maps') if 'r-xp' in line).split('-')[0])"
    found = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in range(4)
    }
    randomises = Path("/proc/sys/kernel/randomize_va_space").read_text().strip() != "0"
    assert is_movable(Path(sys.executable)) is (len(found) > 1 or not randomises)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((3, 11, 2), []),
        ((3, 12, 12), []),
        ((3, 13, 0), ["cpython#132744), mended in 3.13.8"]),
        ((3, 13, 7), ["cpython#132744), mended in 3.13.8"]),
        ((3, 13, 8), ["cpython#145008), mended in 3.13.13"]),
        ((3, 13, 12), ["cpython#145008), mended in 3.13.13"]),
        ((3, 13, 13), []),
    ],
)
def test_what_is_wrong_with_a_release_is_said_with_the_one_that_mends_it(
    version: tuple[int, int, int], words: list[str]
) -> None:
    told = faults(version)
    assert len(told) == len(words)
    assert all(each.endswith(word) for each, word in zip(told, words, strict=True)), told


@pytest.mark.parametrize(("told", "state"), [("1\n", "ok"), ("0\n", "off"), ("2\n", "off"), ("", "off")])
def test_whether_anybody_may_link_to_any_file(tmp_path: Path, told: str, state: str) -> None:
    """Whatever is not what the kernel says of a switch that is on is off, with what to do."""
    switch = tmp_path / "switch"
    switch.write_text(told)
    check = hard_links(switch)
    assert check.state == state
    assert ("sysctl fs.protected_hardlinks=1" in check.detail) is (state == "off")


def test_where_the_switch_is_not_there_nothing_is_said_of_it(tmp_path: Path) -> None:
    """But that, and why."""
    check = hard_links(tmp_path / "none")
    assert (check.state, check.detail) == ("off", f"cannot tell: {tmp_path}/none: No such file or directory")
    assert hard_links().state in {"ok", "off"}
    assert str(HARD_LINKS).startswith("/proc/sys/")
