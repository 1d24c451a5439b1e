"""The user's own editor on a private copy, and what is done with each of its saves."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cli.wire import shown
from protocol.errors import ArgumentError, UnavailableError

LOOK_EVERY_S: Final = 0.5  # between two looks whether the editor has saved
_USUAL: Final = ("sensible-editor", "nano", "vi")


def command() -> list[str]:
    """Return the editor that the user has chosen: VISUAL, EDITOR, or a usual one.

    Raises:
        UnavailableError: There is none.
    """
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if chosen:
        try:
            return shlex.split(chosen)
        except ValueError as error:
            raise ArgumentError(f"the editor of VISUAL or EDITOR cannot be read: {error}") from None
    found = next((path for name in _USUAL if (path := shutil.which(name))), None)
    if found is None:
        raise UnavailableError("there is no editor here: set VISUAL or EDITOR")
    return [found]


class Draft:
    """A private copy of one file, in a directory that only this user can enter.

    Args:
        name: As the file is called, so that the editor knows what it is.
        data: What is in it.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="outrider-edit-"))
        self.path = self._directory / name
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def read(self) -> bytes:
        """Return what is in it now.

        Raises:
            UnavailableError: The editor has taken it away.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UnavailableError(f"{shown(str(self.path))}: {error.strerror}") from None

    def keep(self) -> str:
        """Leave it to the user, in the working directory or where it is; return where that is."""
        stem = f"{self.path.name}.outrider-edit"
        for number in range(100):
            place = Path(stem if not number else f"{stem}.{number}")
            with suppress(OSError):
                descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self.read())
                self.drop()
                return str(place.absolute())
        return str(self.path)

    def drop(self) -> None:
        """Remove it."""
        shutil.rmtree(self._directory, ignore_errors=True)


def edit(draft: Draft, words: list[str], saved: Callable[[bytes], None]) -> int:
    """Run the editor on a draft and return its exit status; ``saved`` hears of each save while it runs.

    Raises:
        UnavailableError: It cannot be started.
    """
    before = draft.read()
    with _left_alone():
        try:
            process = subprocess.Popen([*words, str(draft.path)])  # noqa: S603 - the user's own editor
        except OSError as error:
            raise UnavailableError(
                f"the editor {shown(words[0])} cannot be started: {error.strerror} (VISUAL or EDITOR names it)"
            ) from None
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(draft, before, saved, over), daemon=True)
        watcher.start()
        try:
            return process.wait()
        finally:
            over.set()
            watcher.join()


@contextmanager
def _left_alone() -> Iterator[None]:
    """Let Ctrl-C reach the editor alone, which shares our terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler, which the editor does not inherit as it would inherit that the signal is ignored.
    kept = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)


def _watch(draft: Draft, before: bytes, saved: Callable[[bytes], None], over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        try:
            now = draft.read()
        except UnavailableError:  # between two steps of the editor's own save
            continue
        if now != before:
            before = now
            saved(now)
