"""Tailing: every line once, across everything that happens to logs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, perform, run
from trees import Permitted

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.fs_lines import MAX_LINE_BYTES
from stdlib.fs_tail import MAX_BYTES


class Log:
    """A log that is followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor: str | None = None
        self.last: dict[str, Any] = {}

    def write(self, text: str | bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    async def tail(self, passage: AllPermitted | None = None, **options: Any) -> list[Any]:
        self.last = await perform("fs.tail", str(self.path), self.cursor, passage=passage, **options)
        assert set(self.last) == {"lines", "cursor", "more", "rotated", "missed"}
        self.cursor = self.last["cursor"]
        found: list[Any] = self.last["lines"]
        return found

    @property
    def became(self) -> tuple[bool, bool]:
        return self.last["rotated"], self.last["missed"]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "app.log")
    made.write("old\nolder\n")
    return made


async def test_what_was_added_comes_once(log: Log) -> None:
    assert await log.tail() == []
    log.write("one\ntwo\r\ncaf")
    assert await log.tail() == ["one", "two"]
    assert await log.tail() == []
    log.write(b"\xe9\nthree\n")
    assert await log.tail() == [b"caf\xe9", "three"]
    assert log.became == (False, False)


async def test_a_line_that_is_being_written_at_the_start_comes_whole(log: Log) -> None:
    log.write("begun")
    assert await log.tail() == []
    log.write(" and ended\n")
    assert await log.tail() == ["begun and ended"]


async def test_from_the_beginning_in_pieces(log: Log) -> None:
    log.write("three\n")
    assert await log.tail(start="beginning", limit=2) == ["old", "older"]
    assert log.last["more"]
    assert await log.tail(limit=2) == ["three"]
    assert not log.last["more"]


async def test_nothing_there(tmp_path: Path) -> None:
    assert await perform("fs.tail", str(tmp_path / "missing")) is None


async def test_rotation_by_renaming(log: Log) -> None:
    await log.tail()
    log.write("before\nunfinished")
    log.path.rename(log.path.with_suffix(".log.1"))
    log.write("after\n")
    assert await log.tail() == ["before", "unfinished", "after"]
    assert log.became == (True, False)
    log.write("more\n")
    assert await log.tail() == ["more"]
    assert log.became == (False, False)


async def test_rotation_in_pieces(log: Log) -> None:
    """What one call cannot hold of the old file is not lost."""
    await log.tail()
    log.write("1\n2\n3\n")
    log.path.rename(log.path.with_suffix(".log.1"))
    log.write("4\n5\n")
    assert await log.tail(limit=2) == ["1", "2"]
    assert log.became == (False, False)
    assert log.last["more"]
    assert await log.tail(limit=2) == ["3", "4"]
    assert log.became == (True, False)
    assert log.last["more"]
    assert await log.tail(limit=2) == ["5"]


async def test_rotation_to_where_it_is_not_found(log: Log) -> None:
    await log.tail()
    log.write("lost\n")
    log.path.rename(log.path.parent.parent / "elsewhere")
    log.write("after\n")
    assert await log.tail() == ["after"]
    assert log.became == (True, True)
    (log.path.parent.parent / "elsewhere").unlink()


async def test_a_renamed_file_that_is_denied_is_not_read(log: Log) -> None:
    await log.tail()
    log.write("lost\n")
    old = log.path.with_suffix(".secret")
    log.path.rename(old)
    log.write("after\n")
    assert await log.tail(Permitted([str(old)])) == ["after"]
    assert log.became == (True, True)


@pytest.mark.parametrize("swap", ["fifo", "symlink"])
async def test_what_took_the_place_of_the_renamed_file_is_not_opened(log: Log, swap: str) -> None:
    """A cursor of a script's own making names whatever inode it likes."""
    await log.tail()
    other = log.path.parent / "other"
    os.mkfifo(other) if swap == "fifo" else other.symlink_to("/etc/passwd")
    status = other.lstat()
    version, _, _, *rest = str(log.cursor).split(".")
    log.cursor = ".".join([version, f"{status.st_dev:x}", f"{status.st_ino:x}", *rest])
    assert await log.tail() == ["old", "older"]
    assert log.became == (True, True)


async def test_truncation_and_copytruncate(log: Log) -> None:
    await log.tail()
    shutil.copy(log.path, log.path.with_suffix(".log.1"))
    os.truncate(log.path, 0)
    assert await log.tail() == []
    assert log.became == (True, True)
    log.write("x\n")
    assert await log.tail() == ["x"]
    os.truncate(log.path, 0)
    log.write("y" * 100 + "\n")
    assert await log.tail() == ["y" * 100], "longer than before, and another file all the same"
    assert log.became == (True, True)


async def test_bounds(log: Log) -> None:
    await log.tail()
    log.write("x" * (2 * MAX_LINE_BYTES + 5) + "\n" + "short\n")
    assert [len(line) for line in await log.tail()] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 5, 5]
    log.write(("y" * 50_000 + "\n") * 30)
    seen = []
    for _ in range(4):
        lines = await log.tail()
        assert sum(map(len, lines)) <= MAX_BYTES
        seen += lines
    assert (len(seen), log.last["more"]) == (30, False)
    log.write("z" * (MAX_LINE_BYTES + 1))
    assert [len(line) for line in await log.tail()] == [MAX_LINE_BYTES]
    log.write("\n")
    assert await log.tail() == ["z"]


@pytest.mark.parametrize(
    "cursor",
    ["", "1", "2.1.1.1.1.0000000000000000", "1.1.1.-1.1.0000000000000000", "1.1.1.1.1.000000000000000g", "x" * 101],
)
async def test_what_is_no_cursor_is_refused(log: Log, cursor: str) -> None:
    log.cursor = cursor
    with pytest.raises(ArgumentError) as caught:
        await log.tail()
    assert caught.value.parameter == "cursor"


async def test_a_cursor_beyond_every_file_only_begins_anew(log: Log) -> None:
    await log.tail()
    parts = str(log.cursor).split(".")
    parts[3] = "f" * 14
    log.cursor = ".".join(parts)
    assert await log.tail() == ["old", "older"]
    assert log.became == (True, True)


TAIL = {
    "lua": 'local t = fs.tail(param("at"), {start = "beginning"}) local u = fs.tail(param("at"), t.cursor)'
    " return {t.lines, u.lines, u.rotated}",
    "python": "t = fs.tail(param('at'), start='beginning')\nu = fs.tail(param('at'), t['cursor'])\n"
    "result = [t['lines'], u['lines'], u['rotated']]",
}


@pytest.mark.parametrize("language", sorted(TAIL))
async def test_a_tail_in_both_languages(sandbox: Sandbox, log: Log, language: str) -> None:
    outcome = await run(sandbox, language, TAIL[language], Tier.ADMIN, {"at": str(log.path)})
    assert (outcome.status, outcome.result) == ("ok", [["old", "older"], [], False]), outcome.reason
