"""What is said beside the output of a terminal (who came, who has the keyboard): to stderr, when nobody is disturbed.

It waits while a program has the whole screen, and while something else has this terminal.
"""

from __future__ import annotations

import asyncio
from typing import Final

from cli import keyboard
from protocol.plain_text import one_line

MOST_HELD: Final = 21  # lines; of more, the newest
ESCAPE: Final = b"\x1b"
_SCREEN: Final = b"\x1b[?"  # how all of these begin
_SCREEN_ON: Final = (b"\x1b[?1049h", b"\x1b[?47h", b"\x1b[?1047h")
_SCREEN_OFF: Final = (b"\x1b[?1049l", b"\x1b[?47l", b"\x1b[?1047l")


class Talk:
    """What one attachment says."""

    def __init__(self) -> None:
        self.has_screen = False  # whether a program there has the whole of it
        self.is_ours = True  # this terminal, also for output
        self.may_show = asyncio.Event()  # set while it is
        self.may_show.set()
        self._held: list[str] = []

    def say(self, text: str) -> None:
        """Say one line, now or later."""
        if self.has_screen or not self.may_show.is_set():
            self._held = [*self._held[-(MOST_HELD - 1) :], one_line(text)]
        else:
            keyboard.say(one_line(text))

    def look_for_screen(self, output: bytes) -> None:
        """Learn from output that was shown whether a program has taken the whole screen, or given it back."""
        if ESCAPE not in output or _SCREEN not in output:  # the first is found without looking at each byte by itself
            return
        on = max(output.rfind(each) for each in _SCREEN_ON)
        off = max(output.rfind(each) for each in _SCREEN_OFF)
        if on != off:
            self.has_screen = on > off
            self.say_held()

    def give_away(self) -> None:
        """Let something else have this terminal, until :meth:`take_back`."""
        self.is_ours = False
        self.may_show.clear()

    def take_back(self) -> None:
        """Show and say again, beginning with what waited."""
        self.is_ours = True
        self.may_show.set()
        self.say_held()

    def say_held(self) -> None:
        """Say what has waited, if that may be."""
        if not self.has_screen and self.may_show.is_set():
            held, self._held = self._held, []
            for text in held:
                keyboard.say(text)
