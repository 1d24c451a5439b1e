"""Lines of files from either end, bounded, as they were written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, run
from trees import streamed

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.fs_lines import BLOCK_BYTES, MAX_LINE_BYTES

LONG = MAX_LINE_BYTES + 10
CONTENTS: dict[str, tuple[bytes, list[Any]]] = {
    "nothing": (b"", []),
    "one empty line": (b"\n", [""]),
    "one line without an end": (b"abc", ["abc"]),
    "an unfinished last line": (b"a\nb", ["a", "b"]),
    "empty lines": (b"\n\na\n\n", ["", "", "a", ""]),
    "carriage returns": (b"a\r\nb\rc\r\n\r\n", ["a", "b\rc", ""]),
    "bytes": (b"caf\xe9\r\ng\xc3\xbc\n\0\n", [b"caf\xe9", "gü", "\0"]),
    "separators that are no line ends": ("a\u2028b\x0bc\x0c\x1c\n".encode(), ["a\u2028b\x0bc\x0c\x1c"]),
    "many": (b"".join(b"%d\n" % n for n in range(100_000)), [str(n) for n in range(100_000)]),
    "blocks that end in lines": (b"x" * (BLOCK_BYTES - 1) + b"\ny", ["x" * MAX_LINE_BYTES, "y"]),
    "a line that is too long": (b"a\n" + b"b" * LONG + b"\nc\n", ["a", "b" * MAX_LINE_BYTES, "c"]),
    "a line of many blocks": (b"b" * (3 * BLOCK_BYTES) + b"\nc\n", ["b" * MAX_LINE_BYTES, "c"]),
    "only a long line": (b"b" * (3 * BLOCK_BYTES), ["b" * MAX_LINE_BYTES]),
    "cut within a character": (b"b" + "ü".encode() * LONG + b"\n", ["b" + "ü" * (MAX_LINE_BYTES // 2 - 1)]),
    "bytes that look like the middle of one": (b"\x80" * LONG, [b"\x80" * (MAX_LINE_BYTES - 4)]),
    "text over blocks": (("ü\n" + ("ü" * 1000 + "\n") * 200).encode(), ["ü", *["ü" * 1000] * 200]),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENTS)
def test_lines_from_both_ends(tmp_path: Path, case: str) -> None:
    content, expected = CONTENTS[case]
    (tmp_path / "file").write_bytes(content)
    items, summary = streamed("fs.lines", str(tmp_path / "file"))
    assert items == expected
    cut = sum(len(line) > MAX_LINE_BYTES for line in content.split(b"\n"))
    assert summary == {"lines": len(expected), "cut": cut, "truncated": False}
    items, summary = streamed("fs.lines", str(tmp_path / "file"), from_end=True)
    assert items == expected[::-1]
    assert summary == {"lines": len(expected), "cut": cut, "truncated": False}


def test_limit_and_match(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one 1\ntwo 2\ncaf\xe9 3\none 4\n")
    file = str(tmp_path / "file")
    assert streamed("fs.lines", file, match="^one")[0] == ["one 1", "one 4"]
    assert streamed("fs.lines", file, match="[34]$")[0] == [b"caf\xe9 3", "one 4"]
    items, summary = streamed("fs.lines", file, from_end=True, limit=2)
    assert (items, summary["truncated"]) == (["one 4", b"caf\xe9 3"], True)
    items, summary = streamed("fs.lines", file, limit=4)
    assert (len(items), summary["truncated"]) == (4, False)
    for match in ("(", "(?=x)", "x" * 2001):
        with pytest.raises(ArgumentError) as caught:
            streamed("fs.lines", file, match=match)
        assert caught.value.parameter == "match"


def test_the_last_lines_of_a_huge_file_are_read_from_its_end(tmp_path: Path) -> None:
    """A terabyte of zeros is not read for the one line behind it."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert streamed("fs.lines", str(tmp_path / "sparse"), from_end=True, limit=1)[0] == ["last"]


def test_a_run_that_is_over_ends_it(tmp_path: Path) -> None:
    class Over(AllPermitted):
        is_over = True

    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    assert streamed("fs.lines", str(tmp_path / "sparse"), passage=Over())[0] == []


LINES = {
    "lua": 'local n, last = 0 for line in fs.lines(param("at")) do n = n + 1 last = line end return {n, #last}',
    "python": "n = 0\nfor line in fs.lines(param('at')):\n    n += 1\n    last = line\nresult = [n, len(last)]",
}


@pytest.mark.parametrize("language", sorted(LINES))
async def test_many_lines_in_a_script(sandbox: Sandbox, tmp_path: Path, language: str) -> None:
    """Short, long and odd ones: whatever a file holds, each batch fits into a frame."""
    lines = [b""] * 200_000 + [b"x" * MAX_LINE_BYTES] * 20 + [b"\xff" * 60_000] * 20 + ["ü".encode() * 1000] * 500
    (tmp_path / "file").write_bytes(b"\n".join([*lines, b"last"]))
    outcome = await run(sandbox, language, LINES[language], Tier.ADMIN, {"at": str(tmp_path / "file")})
    assert (outcome.status, outcome.result) == ("ok", [len(lines) + 1, 4]), outcome.reason
