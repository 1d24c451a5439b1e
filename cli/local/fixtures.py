"""Results instead of a host: the call table of a manifest's test.

A call that the test names gets the declared results, one after the other (a single one for every call). Its arguments
are checked and the policy decides about it as ever, on the arguments as they stand, since there is nothing to open. A
call that needs no host (tier ``compute``: ``check.*``, ``log.*``) stays real; any other that the test does not name is an
error, so that a test never looks at the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from policies.model import Facts
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.gate import CallEntry, CallTable


class Declared:
    """The declared results of one call.

    Args:
        call: Its name.
        given: One result for every call, or a list of results consumed in order.
    """

    def __init__(self, call: str, given: Any) -> None:
        self._call = call
        self._is_sequence = isinstance(given, (list, tuple))
        self._left: Iterator[Any] = iter(given if self._is_sequence else ())
        self._given = given

    def next(self) -> Any:
        """Return the next result.

        Raises:
            UnavailableError: They are used up.
        """
        if not self._is_sequence:
            return self._given
        try:
            return next(self._left)
        except StopIteration:
            raise UnavailableError(f"the test declares no further result for {self._call}") from None


@dataclass(frozen=True)
class Prepared:
    """A call about to be answered from its declaration."""

    call: str
    facts: Facts
    declared: Declared | None

    def perform(self) -> Any:
        """Return the declared result.

        Raises:
            UnavailableError: The test declares none.
        """
        if self.declared is None:
            raise UnavailableError(f"the test declares no result for {self.call}")
        return self.declared.next()
