"""What Python scripts get for the things that the gate holds for their run: streams to iterate, objects with methods.

Their methods are calls like every other; what a script holds here is a number and fixed fields, nothing that could be
changed. A stream that the script forgets is given back with the next thing that it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from protocol.columns import rows_of
from sandbox.python_guards import Api, as_call
from sandbox.runtimes import HANDLE_KEY, Remote, Taken

Pull = Callable[[int], Taken]
Release = Callable[[int], None]


class HandleObject(Api):
    """Base of all of them. A subclass for each kind has its methods; ``close`` is everybody's."""

    __slots__ = ("_fields", "_number", "_release")

    def __init__(self, remote: Remote, release: Release) -> None:
        self._number = remote.number
        self._fields = dict(remote.fields)
        self._release: Release | None = release

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self._fields[name]
        raise AttributeError(name)

    def __enter__(self) -> HandleObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it back. Idempotent."""
        release, self._release = self._release, None
        if release is not None:
            release(self._number)


class Stream(HandleObject):
    """What long results are read through, once, from front to end."""

    __slots__ = ("_dropped", "_items", "_pull", "_summary")

    def __init__(self, remote: Remote, pull: Pull, release: Release, dropped: list[int]) -> None:
        super().__init__(remote, release)
        self._pull = pull
        self._items: Iterator[Any] = iter(())
        self._summary: Any = None
        self._dropped = dropped

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        for item in self._items:
            return item
        while self._release is not None:
            self._take()
            for item in self._items:
                return item
        raise StopIteration

    def __del__(self) -> None:
        if self._release is not None:  # not now: this can come in the middle of a call, which has the channel
            self._dropped.append(self._number)

    def close(self) -> None:
        """Give it back; what came already and was not read is gone as well. Idempotent."""
        self._items = iter(())
        super().close()

    def _take(self) -> None:
        taken: Taken | None = None
        try:
            taken = as_call(lambda args, _named: self._pull(args[0]))(self._number)
        finally:
            if taken is None or taken.is_end:  # the gate has let it go
                self._release = None
        self._items = chain.from_iterable(map(rows_of, taken.items)) if taken.is_blocks else iter(taken.items)
        self._summary = taken.summary

    def summary(self) -> Any:
        """Return what the call says about the whole of it; None before its end."""
        return self._summary


def plain_handle(value: Any) -> Any:
    """Return how a handle crosses as an argument; any other value as it is."""
    return {HANDLE_KEY: value._number} if isinstance(value, HandleObject) else value


def handle_class(kind: str, methods: Mapping[str, Callable[..., Any]], undeclared: Callable[[str], Any]) -> type:
    """Return the class of the handles of one kind; ``methods`` take the handle first."""
    body = {"__slots__": (), "_undeclared_": staticmethod(undeclared), **methods}
    return type(kind, (HandleObject,), body)
