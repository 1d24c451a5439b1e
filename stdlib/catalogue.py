"""The catalogue: the one list of all calls, built from the declarations on their implementations.

    @call("fs.space", tier=Tier.OBSERVE)
    def space(host: Host, path: HostPath) -> dict: ...

Name, types, tier and code stand in one place, so they cannot drift. ``async def`` runs inline and must never block;
``def`` may block and runs on a thread. A call without a tier cannot be declared.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from policies.model import Facts
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from stdlib.host import Command, Host, RunContext, declared_command
from stdlib.parameters import REQUIRED, HostPath, Parameter, parameter
from stdlib.paths import Target, resolve

FAMILIES = ("check", "data", "fs", "log", "net", "proc", "sys", "time")
NO_FACTS = Facts()
_declared: dict[str, CallSpec] = {}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call whose targets are open."""

    facts: Facts
    perform: Callable[[], Any]  # the value, or an awaitable of it


@dataclass(frozen=True)
class CallSpec:
    """One declared call."""

    name: str
    tier: Tier
    parameters: tuple[Parameter, ...]
    implementation: Callable[..., Any] | None  # None: implemented in the worker
    changes: bool = False  # whether performing it changes anything on the host
    is_blocking: bool = False
    follows: bool = True  # whether its paths follow a last symlink
    command: str | None = None  # the parameter that names a declared command; its arguments are in ``args``
    wants: tuple[str, ...] = ()  # "host", "run": what is injected, in order
    doc: str = ""
    examples: Mapping[str, str] = field(default_factory=dict)  # language -> source

    @property
    def family(self) -> str:
        """The first word of the name; empty for a bare word."""
        return self.name.rpartition(".")[0]

    @property
    def has_target(self) -> bool:
        """Whether it reaches into the network, so that rules decide on where to."""
        return any(item.is_target for item in self.parameters)

    @property
    def is_local(self) -> bool:
        """Whether the worker carries it out itself, without the gate."""
        return self.implementation is None

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, with defaults.

        Raises:
            ArgumentError: Names the parameter that is missing, unknown, given twice or not allowed.
        """
        if len(args) > len(self.parameters):
            raise ArgumentError(f"{self.name} takes at most {len(self.parameters)} arguments, not {len(args)}")
        if not self.parameters and not named:
            return {}
        given = dict(zip((item.name for item in self.parameters), args, strict=False))
        for name, value in named.items():
            if name in given:
                raise ArgumentError(f"{name}: given twice", parameter=name)
            given[name] = value
        bound = {}
        for item in self.parameters:
            if item.name in given:
                value = given.pop(item.name)
                bound[item.name] = item.accept(_odd_path(value) if item.is_path else value)
            elif item.is_required:
                raise ArgumentError(f"{item.name}: is missing", parameter=item.name)
            else:
                bound[item.name] = item.default
        if given:
            known = ", ".join(item.name for item in self.parameters) or "none"
            name = min(given)
            raise ArgumentError(f"{self.name} has no parameter {name!r:.60} (known: {known})", parameter=name)
        return bound

    def prepare(self, host: Host, run: RunContext, bound: dict[str, Any]) -> AbstractContextManager[Prepared]:
        """Return a context in which the targets of the call are open, ready for the decision; it closes them."""
        if self._has_paths:
            return self._open(host, run, bound)
        if self.command is None:
            return _AtHand(Prepared(NO_FACTS, self._performer(host, run, bound)))
        command = declared_command(host, bound[self.command], bound["args"])
        return _AtHand(Prepared(command.facts, self._performer(host, run, {**bound, self.command: command})))

    @cached_property
    def _has_paths(self) -> bool:
        return any(item.is_path for item in self.parameters)

    @contextmanager
    def _open(self, host: Host, run: RunContext, bound: dict[str, Any]) -> Iterator[Prepared]:
        with ExitStack() as open_targets:
            arguments, facts = dict(bound), NO_FACTS
            for item in self.parameters:
                if item.is_path and bound[item.name] is not None:
                    target: Target = open_targets.enter_context(resolve(bound[item.name], follow=self.follows))
                    arguments[item.name] = target
                    facts = Facts(path=target.real, bytes=bound.get("length"))
            yield Prepared(facts, self._performer(host, run, arguments))

    def _performer(self, host: Host, run: RunContext, arguments: dict[str, Any]) -> Callable[[], Any]:
        implementation = self.implementation
        if implementation is None:
            raise ArgumentError(f"{self.name} is carried out by the worker, not by the gate")
        injected = [host if want == "host" else run for want in self.wants]
        return lambda: implementation(*injected, **arguments)


def _odd_path(value: Any) -> Any:
    """Return bytes that are not UTF-8, as which odd names reach scripts, as the text that stands for them (PEP 383)."""
    if type(value) is not bytes:
        return value
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8", "surrogateescape")
    return value


class _AtHand:
    """The context of a call that has nothing to open; contextlib's own would cost as much as the whole call."""

    __slots__ = ("_prepared",)

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def __enter__(self) -> Prepared:
        return self._prepared

    def __exit__(self, *_: object) -> None:
        return None


def call(
    name: str,
    *,
    tier: Tier,
    changes: bool = False,
    follows: bool = True,
    command: str | None = None,
    lua: str = "",
    python: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as the implementation of ``name``."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        wants, parameters = _signature(function)
        examples = {"lua": lua, "python": python or lua}
        _add(CallSpec(
            name, tier, parameters, function, changes, not inspect.iscoroutinefunction(function), follows, command,
            wants, inspect.getdoc(function) or "", examples,
        ))  # fmt: skip
        return function

    return declare


def local(name: str, *, lua: str = "", python: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a call that the worker carries out itself; the decorated function only gives signature and text."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        _, parameters = _signature(function)
        doc = inspect.getdoc(function) or ""
        _add(CallSpec(name, Tier.COMPUTE, parameters, None, doc=doc, examples={"lua": lua, "python": python or lua}))
        return function

    return declare


def _signature(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    hints = get_type_hints(function, include_extras=True)
    wants: list[str] = []
    parameters: list[Parameter] = []
    for name, item in inspect.signature(function).parameters.items():
        annotation = hints[name]
        if annotation is Host:
            wants.append("host")
        elif annotation is RunContext:
            wants.append("run")
        else:
            if annotation is Target:
                annotation = HostPath
            elif get_origin(annotation) is Annotated and get_args(annotation)[0] is Command:
                annotation = Annotated[str, *get_args(annotation)[1:]]  # scripts give its name
            default = REQUIRED if item.default is inspect.Parameter.empty else item.default
            parameters.append(parameter(name, annotation, default))
    return tuple(wants), tuple(parameters)


def _add(spec: CallSpec) -> None:
    if spec.name in _declared:
        raise TypeError(f"the call {spec.name} is declared twice")
    if not spec.doc:
        raise TypeError(f"the call {spec.name} says nothing about itself")
    _declared[spec.name] = spec


class Catalogue:
    """All calls, by name."""

    def __init__(self, specs: Mapping[str, CallSpec]) -> None:
        self._specs = dict(sorted(specs.items()))

    def find(self, name: str) -> CallSpec | None:
        """Return the call that the gate may make under ``name``; None for an unknown or a local one."""
        spec = self._specs.get(name)
        return None if spec is None or spec.is_local else spec

    def __iter__(self) -> Iterator[CallSpec]:
        return iter(self._specs.values())

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return list(self._specs)

    def tiers(self) -> dict[str, Tier]:
        """Return the tier of each call, for static analysis."""
        return {spec.name: spec.tier for spec in self}

    def bindings(self) -> list[dict[str, Any]]:
        """Return what a worker knows of the calls, as plain data."""
        return [
            {"name": spec.name, "parameters": [item.name for item in spec.parameters], "local": spec.is_local}
            for spec in self
        ]


@cache
def load() -> Catalogue:
    """Return the catalogue of all families."""
    for family in FAMILIES:
        importlib.import_module(f"stdlib.{family}")
    return Catalogue(_declared)
