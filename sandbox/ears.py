"""Listens to a worker that waits for its program, so that a run which gets it need not begin to.

Telling the event loop of one more descriptor takes as long as a gated call. A spare's is told when the spare is made,
when nobody waits for it.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from contextvars import Context, copy_context


class Ear:
    """The event loop's reader of one socket, for whoever wants to hear it. A worker has nothing to say before that.

    Args:
        loop: Any loop with ``add_reader``.
        sock: Not blocking; owned by others, who close the ear before it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._descriptor = sock.fileno()
        self._heard: Callable[[], None] | None = None
        self._context = Context()
        self._is_open = False
        self._poll: select.poll | None = None

    def open(self) -> None:
        """Listen. Idempotent."""
        if not self._is_open:
            self._is_open = True
            self._loop.add_reader(self._descriptor, self._on_readable)

    def prepare(self) -> select.poll:
        """Make ready what tells :attr:`is_silent`, which takes several times as long as telling it; return it."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)
        return self._poll

    @property
    def is_silent(self) -> bool:
        """Whether the worker is there and has said nothing, as befits one that waits for its program."""
        return not self.prepare().poll(0)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._descriptor)

    def give(self, heard: Callable[[], None]) -> None:
        """Let ``heard`` be called from now on when there is something to read, and while there is.

        In the context of who says this, not of who opened the ear: a spare's was opened after somebody else's run, on
        whose account nothing of this one may go (``kernel.visits``).
        """
        self._heard, self._context = heard, copy_context()

    def _on_readable(self) -> None:
        if self._heard is None:  # it ended, or speaks too early: whoever takes it looks, see ``Spares.take``
            self.close()
        else:
            self._context.run(self._heard)
