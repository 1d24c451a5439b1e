"""Things that a call gives and later calls use: an open file, a terminal, a running process.

A handle belongs to the one run whose call gave it, counts against its budgets, and is closed at its end. Scripts see
its ``fields`` and its methods, which are calls: ``tty.write`` is declared with the handle as its first parameter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from policies.model import Facts


class Private:
    """Annotation: a text, bytes, or the handle of a secret; the implementation gets this. Call :meth:`reveal` late."""

    __slots__ = ("_reveal", "is_secret")

    def __init__(self, reveal: Callable[[], bytes], *, is_secret: bool = False) -> None:
        self._reveal = reveal
        self.is_secret = is_secret  # its value was chosen by nobody who runs a script

    def reveal(self) -> bytes:
        """Return the value, for the moment of its use.

        Raises:
            OutriderError: It is a secret that is not to be had any more.
        """
        return self._reveal()

    def __repr__(self) -> str:
        return "Private()"


class Handle:
    """Base of all handles. A subclass is also the annotation of a parameter that takes one back."""

    kind: ClassVar[str]  # the family of its methods
    facts: Facts = Facts()  # what its methods are decided on; what was decided on when it was opened

    def fields(self) -> dict[str, Any]:
        """Return what scripts see of it: plain values that never change."""
        return {}

    def close(self) -> Awaitable[None] | None:
        """Give it back. Must not block, unless it returns an awaitable. Called once."""
        return None
