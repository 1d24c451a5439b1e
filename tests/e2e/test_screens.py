"""Programs with a whole screen look over Outrider as they do in a terminal of this machine, cell by cell.

tmux, which draws by its own clock, is held against itself in ``test_terminal_programs``.
"""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from seated import DEADLINE_S, new_session, seated

from fleet import Fleet
from stdlib.tty_screen import Display, Size
from stdlib.tty_terminal import set_size

SIZE = Size(80, 24)


@dataclass(frozen=True)
class Act:
    """A program, and keys for it, each with a text that the screen shows then."""

    argv: list[str]
    steps: list[tuple[str, str]]
    ends: str
    moves: tuple[int, ...] = ()  # lines that are never alike
    keeps: list[str] = field(default_factory=list)  # what every line that moves begins with


def acts(where: Path) -> dict[str, Act]:
    text = where / "text"
    text.write_text("".join(f"line {number} \u00e4\u20ac {'x' * (number % 90)}\n" for number in range(500)))
    return {
        "vim": Act(
            ["vim", "-u", "NONE", "-N", "-n", str(text)],
            [("", "line 21"), ("10j3dd", "fewer lines"), ("Onew \u00fc\x1b", "new \u00fc"), (":split\r", "text [+]"),
             (":set nu\r", " 11 new \u00fc")],
            ":qa!\r",
        ),
        "less": Act(["less", str(text)], [("", "line 17"), ("/line 300\r", "line 300"), ("G", "(END)")], "q"),
        "top": Act(
            ["top", "-b", "-n", "1", "-p", "1"], [("", "PID USER")], "", moves=(0, 1, 2, 3, 4, 7),
            keeps=["top - ", "Tasks:", "%Cpu(s)", "MiB Mem", "MiB Swap", "    1 root"],
        ),
    }  # fmt: skip


class Here:
    """A program in a terminal of this machine."""

    def __init__(self, act: Act) -> None:
        self._master, slave = pty.openpty()
        set_size(slave, SIZE)
        environment = {"PATH": os.environ["PATH"], "HOME": os.path.expanduser("~"), "TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            act.argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=os.path.expanduser("~"),
            env={**environment, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        )  # fmt: skip
        os.close(slave)
        self._display = Display(SIZE)
        self.tell: Callable[[], object] = lambda: None  # of something new
        self.is_over = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            self._display.feed([os.read(self._master, 65536)])
        except OSError:  # it has ended
            asyncio.get_running_loop().remove_reader(self._master)
            self.is_over.set()
        self.tell()

    def lines(self) -> list[str]:
        """What the screen shows."""
        return list(self._display.shown()["lines"])

    def __str__(self) -> str:
        return "the same screen as here:\n" + "\n".join(self.lines())

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextmanager
def here(act: Act) -> Iterator[Here]:
    made = Here(act)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("program", ["vim", "less", "top"])
async def test_a_screen_over_there_is_the_screen_here(host: Fleet, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    act = acts(tmp_path)[program]
    with here(act) as mine:
        if not act.ends:
            await asyncio.wait_for(mine.is_over.wait(), DEADLINE_S)
        session = new_session(host)
        argv = [str(shutil.which(program)), *act.argv[1:]]
        async with seated(host, session, argv=argv, size=SIZE) as me:
            mine.tell = me.stir
            for keys, shows in act.steps:
                mine.type(keys)
                await me.type(keys)

                def is_same(shows: str = shows) -> bool:  # each draws in several writes, in its own time
                    wanted = mine.lines()
                    return any(shows in line for line in wanted) and alike(me.lines(), wanted, act)

                await me.until(is_same, mine)
            if act.ends:
                await me.type(act.ends)
            await me.hears("exit")


def alike(one: list[str], other: list[str], act: Act) -> bool:
    """Tell whether two screens are the same, but for lines that are never."""
    if not act.moves:
        return one == other
    fixed = [place for place in range(len(other)) if place not in act.moves]
    return all(one[place] == other[place] for place in fixed) and all(
        one[place].startswith(begin) and other[place].startswith(begin)
        for place, begin in zip(act.moves, act.keeps, strict=True)
    )
