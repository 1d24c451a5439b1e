"""Streams of ``fs.*`` on real trees: items and summary, with or without a policy."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

from running import AllPermitted

from protocol.columns import Columns
from stdlib.catalogue import load
from stdlib.host import Host, RunContext


class Permitted(AllPermitted):
    """Denies some real paths, and knows of some directories that all or nothing below them is permitted."""

    def __init__(self, denied: Collection[str] = (), below: dict[str, bool | None] | None = None) -> None:
        super().__init__(denied=denied)
        self.told_below = below or {}
        self.asked_below: list[str] = []

    def below(self, directory: str) -> bool | None:
        self.asked_below.append(directory)
        return self.told_below.get(directory, super().below(directory))


def listed(given: Any) -> list[Any]:
    """What a source gave at once, as the single items that a script sees."""
    if isinstance(given, Columns):
        return given.rows()
    return given if isinstance(given, list) else [given]


def streamed(
    name: str, *args: Any, passage: AllPermitted | None = None, host: Host | None = None, **named: Any
) -> tuple[list[Any], Any]:
    """Carry out a call that gives a stream; return its items and its summary."""
    spec = load().find(name)
    assert spec is not None
    with ExitStack() as targets:
        prepared = targets.enter_context(
            spec.prepare(host or Host(), RunContext(), spec.bind(list(args), named), passage or AllPermitted())
        )
        source = prepared.perform()
        items: list[Any] = []
        while True:
            try:
                given = next(source)
            except StopIteration as stop:
                return items, stop.value
            items += listed(given)
