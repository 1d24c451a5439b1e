"""Files that a program on the host asks to have edited here: who types is asked, and answers with a key.

While the editor runs, it has this terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cli.talk import Talk
from protocol.errors import UnavailableError


class Wishes:
    """What is asked at one terminal, one thing at a time.

    Args:
        talk: Asks.
        tell: Tells the server what became of it.
        edit: Edits the file of that path on the host; returns an exit status.
    """

    def __init__(self, talk: Talk, tell: Callable[..., None], edit: Callable[[str], Awaitable[int]]) -> None:
        self.host = ""  # who asks, for people
        self._talk = talk
        self._tell = tell
        self._edits = edit
        self._wish: tuple[int, str] | None = None  # number and path
        self._editing: asyncio.Task[None] | None = None  # has this terminal meanwhile

    @property
    def is_editing(self) -> bool:
        """Whether an editor has this terminal."""
        return self._editing is not None

    def hear(self, message: dict[str, Any], *, may_answer: bool) -> None:
        """Take what the host asks, or that it asks no more; ``may_answer``: whether we are who is asked."""
        number, path = int(message["number"]), str(message.get("path"))
        if message.get("action") == "withdrawn":
            if self._wish is not None and self._wish[0] == number:
                self._wish = None
                self._talk.say("[it is not asked any more]")
        elif message.get("action") != "edit" or not may_answer:
            self._talk.say(f"[{self.host} asks who types to {message.get('action')} {path}]")
        else:
            self._wish = number, path
            self._talk.say(f"[{self.host} asks to open {path} in your editor: ~e opens it, ~n does not]")

    def answer(self, *, is_wanted: bool) -> None:
        """Do what is asked, or say that it will not be done."""
        if self._wish is None or self._editing is not None:
            self._talk.say("[nothing is asked]")
            return
        (number, path), self._wish = self._wish, None
        if not is_wanted:
            self._tell(type="edited", number=number, outcome="declined")
            return
        self._talk.give_away()
        self._editing = asyncio.create_task(self._edit(number, path))

    async def finish(self) -> None:
        """Wait until no editor has this terminal."""
        if self._editing is not None:
            await asyncio.wait([self._editing])

    async def _edit(self, number: int, path: str) -> None:
        try:
            status = await self._edits(path)
        except UnavailableError as error:
            self._talk.say(f"[{error}]")
            status = 1
        self._editing = None
        self._talk.take_back()
        self._tell(type="edited", number=number, outcome="failed" if status else "done")
