"""Results instead of a host: the call table of a manifest's test.

A call that the test names gets the declared results, one after the other (a single one for every call). For a call that
gives a stream, a result is the list of its items, or ``{items: [...], summary: ...}`` where the script looks at
the summary; for one that gives a handle, the map of its fields. Arguments
are checked and the policy decides about it as ever, on the arguments as they stand, since there is nothing to open. A
call that needs no host (tier ``compute``: ``check.*``, ``log.*``) stays real; any other that the test does not name is
an error, so that a test never looks at the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from policies.model import Facts
from policies.users import User
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from sandbox.parties import CallEntry
from sandbox.passage import Passage
from stdlib.call_specs import CallSpec
from stdlib.catalogue import Catalogue


class Declared:
    """The declared results of one call.

    Args:
        call: Its name.
        given: One result for every call, or a list of results consumed in order.
        is_stream: Whether a result is a list itself.
    """

    def __init__(self, call: str, given: Any, *, is_stream: bool = False) -> None:
        self._call = call
        results, self._is_sequence = results_of(given, is_stream=is_stream)
        self._left: Iterator[Any] = iter(results)
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


def results_of(given: Any, *, is_stream: bool) -> tuple[list[Any], bool]:
    """Return the results that a test declares for one call, and whether they are used one after the other.

    Args:
        given: One result for every call, or a list of results.
        is_stream: Whether a result is a list itself; then only a list of lists, or of lists with summaries, is several.
    """
    is_sequence = isinstance(given, (list, tuple))
    if is_stream and is_sequence:
        is_sequence = bool(given) and all(isinstance(item, (list, tuple)) or is_with_summary(item) for item in given)
    return (list(given), True) if is_sequence else ([given], False)


def is_with_summary(result: Any) -> bool:
    """Tell whether a stream is declared with its summary. No call gives a stream of maps that have these fields."""
    return isinstance(result, Mapping) and {"items", "summary"} == result.keys()


def _streamed(items: Iterable[Any], summary: Any) -> Generator[Any, None, Any]:
    yield from items
    return summary


@dataclass(frozen=True)
class Prepared:
    """A call about to be answered from its declaration."""

    spec: CallSpec
    facts: tuple[Facts, ...]
    declared: Declared | None

    def perform(self) -> Any:
        """Return the declared result.

        Raises:
            UnavailableError: The test declares none, or none of the form that the call gives.
        """
        if self.declared is None:
            raise UnavailableError(f"the test declares no result for {self.spec.name}")
        value, gives = self.declared.next(), self.spec.gives
        if gives == "value":
            return value
        if gives == "stream" and isinstance(value, (list, tuple)):
            return iter(value)
        if gives == "stream" and is_with_summary(value) and isinstance(value["items"], (list, tuple)):
            return _streamed(value["items"], value["summary"])
        if gives == "handle" and isinstance(value, Mapping):
            return DeclaredHandle(self.spec, value)
        form = "a list of items" if gives == "stream" else "a map of fields"
        raise UnavailableError(f"the test must declare {form} as the result of {self.spec.name}")


class DeclaredHandle:
    """What a call gave, as a test declares it; its methods are calls with declared results of their own."""

    def __init__(self, spec: CallSpec, fields: Mapping[str, Any]) -> None:
        self.kind = spec.gives_kind
        self._fields = dict(fields)

    def fields(self) -> dict[str, Any]:
        """Return what the test declares."""
        return self._fields

    def close(self) -> None:
        """Hold nothing."""


class FixtureEntry:
    """One call whose results are declared. Its arguments are checked as those of the real one.

    Args:
        spec: The real call.
        declared: What the test declares for it; None if nothing.
    """

    changes = False  # nothing is done, so there is no intent
    is_blocking = True
    prepare_at_once = None
    looks_up = ()
    lists = ()  # nothing is opened

    def __init__(self, spec: CallSpec, declared: Declared | None) -> None:
        self._spec = spec
        self._declared = declared

    @property
    def tier(self) -> Tier:
        """The real call's."""
        return self._spec.tier

    @property
    def gives(self) -> str:
        """The real call's."""
        return self._spec.gives

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; raises as the real call."""
        return self._spec.bind(args, named)

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Passage) -> Iterator[Prepared]:
        """Yield the declared answer; nothing is opened, so the facts are the arguments as they stand."""
        del run, passage
        spec = self._spec
        facts: list[Facts] = []
        for item in spec.parameters:
            if item.is_path and bound[item.name] is not None:
                given = bound[item.name]
                facts += [Facts(path=path) for path in (given if isinstance(given, list) else [given])]
        if spec.command is not None:
            facts.append(Facts(command=bound[spec.command]))
        if spec.decides is not None:
            who = {name: "" for name in ("user", "group") if name in bound and spec.looks_up}
            user = User(bound["user"]) if who and bound["user"] else None  # who need not be on this machine
            facts += [one._replace(user=user or one.user, others=()) for one in spec.decides(host, bound | who).facts]
        yield Prepared(spec, tuple(facts) or (Facts(),), self._declared)


class FixtureTable:
    """The call table of one test.

    Args:
        catalogue: The real calls.
        calls: Call -> its declared result, or results; ``checking`` has refused those that do not exist.
    """

    def __init__(self, catalogue: Catalogue, calls: Mapping[str, Any]) -> None:
        self._catalogue = catalogue
        self._declared = {name: self._declare(name, given) for name, given in calls.items()}

    def _declare(self, name: str, given: Any) -> Declared:
        spec = self._catalogue.find(name)
        return Declared(name, given, is_stream=spec is not None and spec.gives == "stream")

    def find(self, name: str) -> CallEntry | None:
        """Return the call as the test sees it; None if there is none."""
        spec = self._catalogue.find(name)
        if spec is None or (spec.tier is Tier.COMPUTE and name not in self._declared):
            return spec
        return FixtureEntry(spec, self._declared.get(name))
