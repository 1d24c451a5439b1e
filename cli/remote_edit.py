"""The user's editor on a file of a host, while a terminal of that host is shown: ``outrider file edit``, as a program.

It runs as a program of its own, as if it had been typed in another window: a session of its own, decided on by itself,
with compare and swap, diff and question. This one gives it the terminal and waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from cli import keyboard
from cli.settings import Context
from protocol.errors import UnavailableError


def words(host: str, path: str, reason: str, session: str) -> list[str]:
    """Return the command that edits a file; nothing of what a host said is taken for an option."""
    options = [f"--reason={reason}", f"--beside={session}"]
    return [sys.executable, "-m", "cli", "file", "edit", *options, "--", f"{host}:{path}"]


def environment(context: Context, key: str | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what it is started with, so that it speaks to the same server as the same person."""
    told = {**inherited, "OUTRIDER_SERVER": context.server}
    if context.token is not None:
        told["OUTRIDER_TOKEN"] = context.token
    chosen = key or (str(context.key) if context.key is not None else None)
    if chosen is not None:
        told["OUTRIDER_KEY"] = chosen
    return told


async def edit(context: Context, key: str | None, host: str, path: str, reason: str, session: str) -> int:
    """Run it in this terminal, which shows that of ``session``, and return its exit status.

    Raises:
        UnavailableError: It cannot be started.
    """
    loop = asyncio.get_running_loop()
    with keyboard.as_it_was():
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # it is for the editor, which shares our terminal
        try:
            process = await asyncio.create_subprocess_exec(
                *words(host, path, reason, session), env=environment(context, key, os.environ)
            )
            return await process.wait()
        except OSError as error:
            raise UnavailableError(f"the editor cannot be started: {error.strerror}") from None
        finally:
            loop.remove_signal_handler(signal.SIGINT)
