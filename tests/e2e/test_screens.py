"""Programs with a whole screen look over Outrider as they do in a terminal of this machine, cell by cell.

tmux, which draws by its own clock, is held against itself in ``test_terminal_programs``.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from seated import new_session, seated

from fleet import Fleet
from stdlib.tty_screen import Display, Size
from stdlib.tty_terminal import set_size

SIZE = Size(80, 24)
DEADLINE_S = 60.0


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


def here(act: Act) -> list[list[str]]:
    """Return the screens of each step in a terminal of this machine."""
    master, slave = pty.openpty()
    set_size(slave, SIZE)
    environment = {"PATH": os.environ["PATH"], "HOME": os.path.expanduser("~"), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        act.argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=os.path.expanduser("~"),
        env={**environment, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    )  # fmt: skip
    os.close(slave)
    display, screens = Display(SIZE), []
    try:
        for keys, shows in act.steps:
            os.write(master, keys.encode())
            ends = time.monotonic() + DEADLINE_S
            while not any(shows in line for line in display.shown()["lines"]) or _more(master):
                ready, _, _ = select.select([master], [], [], ends - time.monotonic())
                assert ready, f"{shows!r} is not shown: {display.shown()['lines']}"
                try:
                    display.feed([os.read(master, 65536)])
                except OSError:  # it has ended
                    break
            screens.append(list(display.shown()["lines"]))
        with suppress(OSError):
            os.write(master, act.ends.encode())
            while select.select([master], [], [], DEADLINE_S)[0] and os.read(master, 65536):
                pass
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return screens


def _more(master: int) -> bool:
    """Tell whether more comes: a program draws in several writes."""
    return bool(select.select([master], [], [], 0.3)[0])


@pytest.mark.parametrize("program", ["vim", "less", "top"])
async def test_a_screen_over_there_is_the_screen_here(host: Fleet, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    act = acts(tmp_path)[program]
    expected = await asyncio.to_thread(here, act)
    session = new_session(host)
    argv = [str(shutil.which(program)), *act.argv[1:]]
    async with seated(host, session, argv=argv, size=SIZE) as me:
        for (keys, _), wanted in zip(act.steps, expected, strict=True):
            if keys:
                await me.type(keys)
            await me.until(lambda wanted=wanted: alike(me.lines(), wanted, act), f"the same screen as here: {wanted}")
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
