"""Threads of calls that wait for other things as well: what such a thread works on is its own.

A call that is no plain function ends at once when its run is cut short, and what it holds is closed. A thread that it
has begun goes on to its end. The number of a descriptor that was closed is soon another file's, or another directory's,
which nobody has decided on. So the thread gets descriptors of its own, of the very same objects, and closes them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kernel.visits import VISITS
from protocol.errors import UnavailableError
from stdlib.paths import Target
from stdlib.places import Place

if TYPE_CHECKING:
    from stdlib.blobs import Brought

    Lent: TypeAlias = Target | Place | Brought

_T = TypeVar("_T")


def begun(function: Callable[..., _T], *things: Lent) -> asyncio.Future[_T]:
    """Call ``function`` on a thread with a copy of each of ``things``; return what will have its value or its error.

    Cancellation:
        Of what is returned: do not. Whoever waits shields it, and says what becomes of a value that nobody wants.

    Raises:
        UnavailableError: The agent has no descriptor left; nothing was begun.
    """
    with ExitStack() as closing:
        copies = [_copied(thing, closing) for thing in things]

        def visit() -> _T:
            with kept:
                return function(*copies)

        kept = closing.pop_all()
        try:
            return VISITS.begin(visit)
        except BaseException:  # there is no thread to be had
            kept.close()
            raise


async def on_thread(function: Callable[..., _T], *things: Lent) -> _T:
    """Return what ``function`` does on a thread, with a copy of each of ``things``; raises as :func:`begun`.

    Cancellation:
        Safe: the thread goes on to its end, and nobody hears what came of it.
    """
    visiting = begun(function, *things)
    try:
        return await asyncio.shield(visiting)
    except asyncio.CancelledError:
        visiting.add_done_callback(_hear)
        raise


def _hear(visited: asyncio.Future[Any]) -> None:
    if not visited.cancelled():
        visited.exception()


def _copied(thing: Lent, closing: ExitStack) -> Lent:
    if isinstance(thing, Target):
        return thing._replace(fd=_duplicate(thing.fd, closing))
    if isinstance(thing, Place):
        return replace(thing, directory=_duplicate(thing.directory, closing))
    return replace(thing, fd=_duplicate(thing.fd, closing))


def _duplicate(fd: int, closing: ExitStack) -> int:
    if fd < 0:  # there is nothing
        return fd
    try:
        copy = os.dup(fd)
    except OSError as error:
        raise UnavailableError(f"the agent has no descriptor left: {error.strerror}") from None
    closing.callback(os.close, copy)
    return copy
