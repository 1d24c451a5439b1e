"""Results instead of a host: the call table of a manifest's test.

A call that the test names gets the declared results, one after the other (a single one for every call). Its arguments
are checked and the policy decides about it as ever, on the arguments as they stand, since there is nothing to open. A
call that needs no host (tier ``compute``: ``check.*``, ``log.*``) stays real; any other that the test does not name is
an error, so that a test never looks at the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from policies.model import Facts
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.gate import CallEntry
from stdlib.catalogue import CallSpec, Catalogue


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


class FixtureEntry:
    """One call whose results are declared. Its arguments are checked as those of the real one.

    Args:
        spec: The real call.
        declared: What the test declares for it; None if nothing.
    """

    changes = False  # nothing is done, so there is no intent
    is_blocking = True

    def __init__(self, spec: CallSpec, declared: Declared | None) -> None:
        self._spec = spec
        self._declared = declared

    @property
    def tier(self) -> Tier:
        """The real call's."""
        return self._spec.tier

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; raises as the real call."""
        return self._spec.bind(args, named)

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any]) -> Iterator[Prepared]:
        """Yield the declared answer; nothing is opened, so the facts are the arguments as they stand."""
        del host, run
        spec = self._spec
        paths = [bound[item.name] for item in spec.parameters if item.is_path and bound[item.name] is not None]
        facts = Facts(path=paths[-1] if paths else None, command=bound[spec.command] if spec.command else None)
        yield Prepared(spec.name, facts, self._declared)


class FixtureTable:
    """The call table of one test.

    Args:
        catalogue: The real calls.
        calls: Call -> its declared result, or results; ``checking`` has refused those that do not exist.
    """

    def __init__(self, catalogue: Catalogue, calls: Mapping[str, Any]) -> None:
        self._catalogue = catalogue
        self._declared = {name: Declared(name, given) for name, given in calls.items()}

    def find(self, name: str) -> CallEntry | None:
        """Return the call as the test sees it; None if there is none."""
        spec = self._catalogue.find(name)
        if spec is None or (spec.tier is Tier.COMPUTE and name not in self._declared):
            return spec
        return FixtureEntry(spec, self._declared.get(name))
