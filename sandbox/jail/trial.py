"""Tries in a child what cannot be undone: a wall, once raised, stands for the rest of a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it."""

    told: list[str]  # the lines that the child said, in order
    error: str | None  # the error that ended its work; None if there was none
    status: int  # exit status; negative: the signal that killed it


def in_child(work: Callable[[Say], None]) -> Trial:
    """Run ``work`` in a child of its own and wait for it. Only for a process with one thread.

    Args:
        work: Given a function that says one line. Every error it raises ends the child and is told.

    Raises:
        OSError: The child could not be started.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        said = [line.rstrip("\n") for line in lines]
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    errors = [line[1:] for line in said if line.startswith("!")]
    return Trial([line[1:] for line in said if line.startswith(":")], errors[0] if errors else None, status)


def _work(work: Callable[[Say], None], writing: int) -> None:
    try:
        work(lambda line: _say(writing, ":", line))
    except OSError as error:
        _say(writing, "!", error.strerror or str(error))
    except BaseException as error:  # noqa: BLE001 - the child must end here whatever happens, and say what it was
        _say(writing, "!", f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _say(descriptor: int, mark: str, line: str) -> None:
    os.write(descriptor, (mark + line.replace("\n", " ") + "\n").encode("utf-8", "replace"))
