"""How calls are declared: by decorators on their implementations.

    @call("fs.space", tier=Tier.OBSERVE)
    def space(host: Host, path: HostPath) -> dict: ...

Name, types, tier and code stand in one place, so they cannot drift. ``async def`` runs inline and must never block;
``def`` may block and runs on a thread. A generator of either kind, or what says that it returns one, gives a stream:
what it yields reaches the script item by item as the script asks for it (a list stands for several items at once), and
what it returns is the stream's summary. A function that returns a ``Handle`` gives a thing that later calls use. A call
without a tier cannot be declared.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from protocol.tiers import Tier
from stdlib.call_specs import CallSpec, Decides, Permit, Rehearses, add
from stdlib.handles import Handle
from stdlib.host import Command, Host, RunContext
from stdlib.parameters import REQUIRED, HostPath, HostPlace, Parameter, limits_of, parameter
from stdlib.paths import Target
from stdlib.places import Place

_SOURCES = (Iterator, Generator, AsyncIterator)


def call(
    name: str,
    *,
    tier: Tier,
    changes: bool = False,
    follows: bool = True,
    command: str | None = None,
    decides: Decides | None = None,
    looks_up: bool | tuple[str, ...] = (),
    under: str | None = None,
    dry: Mapping[str, Any] | None = None,
    rehearses: Rehearses | None = None,
    below: bool | str = False,
    at_once: bool = False,
    starts_as: str | None = None,
    lua: str = "",
    python: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as the implementation of ``name``.

    Args:
        name: ``family.member``, where the family of a handle's methods is its kind.
        tier: The lowest one that may have it.
        changes: Whether it changes anything on the host; then an intent is durable before it is performed.
        follows: Whether its paths follow a last symlink.
        command: The parameter that names a declared command; what that stands for is decided on, with ``args``.
        decides: Makes the facts from the arguments, for what is neither a path nor a declared command.
        looks_up: Whether ``decides`` may block, and is put on a thread: always, or where one of these parameters is
            given. Opening paths may block always.
        under: For a method that changes what its handle stands for: the call that gave it, whose intent covers it.
        dry: Fields of the map that it gives in a dry run, beside ``dry_run``.
        rehearses: Done in a dry run, for what the implementation decides on by itself: takes host, permit and the
            arguments, only reads, and raises what the call would be denied with. For calls that run inline.
        below: Whether it reaches what lies below its paths: always, or where the parameter of this name is true. Only
            said to those who read a script; the call itself asks about everything that it comes to.
        at_once: Whether it is first tried on the event loop (``stdlib.at_once``): it only looks, and all that it does
            with its paths once they are open is in memory, or raises ``BlockingIOError`` where the target
            ``is_at_once``.
        starts_as: The parameter that names as whom its command will be started later, by somebody else: that is decided
            on beside what the call does itself. May block.
        lua: An example.
        python: An example; that of Lua if it reads the same.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        wants, parameters = _signature(function)
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        opens = is_async and any(item.is_path for item in parameters)
        add(CallSpec(
            name, tier, parameters, function, changes, not is_async, follows, command, decides, opens or looks_up,
            under, dry,
            *_gives(function), wants, inspect.getdoc(function) or "", {"lua": lua, "python": python or lua},
            below=below, at_once=at_once, rehearses=rehearses, starts_as=starts_as,
        ))  # fmt: skip
        return function

    return declare


def _gives(function: Callable[..., Any]) -> tuple[str, str]:
    """Return what a call gives, and the kind of a handle."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "stream", ""
    returned = get_type_hints(function).get("return")
    if get_origin(returned) in _SOURCES:  # it checks its arguments before it begins
        return "stream", ""
    if isinstance(returned, type) and issubclass(returned, Handle):
        return "handle", returned.kind
    return "value", ""


def local(
    name: str, *, result: str, lua: str = "", python: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a call that the worker carries out itself; the decorated function only gives parameters and text."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        _, parameters = _signature(function)
        doc = inspect.getdoc(function) or ""
        examples = {"lua": lua, "python": python or lua}
        add(CallSpec(name, Tier.COMPUTE, parameters, None, doc=doc, examples=examples, result=result))
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
        elif annotation is Permit:
            wants.append("permit")
        else:
            default = REQUIRED if item.default is inspect.Parameter.empty else item.default
            if annotation in (Target, Target | None):
                annotation = HostPath
            elif annotation is Place:
                annotation = HostPlace
            elif annotation == list[Target]:
                annotation = list[HostPath]
            elif get_origin(annotation) is Annotated and get_args(annotation)[0] is Command:
                annotation = Annotated[str, *get_args(annotation)[1:]]  # scripts give its name
            bounds, choices, form = limits_of(annotation)
            item_of = parameter(name, annotation, default)
            parameters.append(replace(item_of, bounds=bounds, choices=choices, form=form))
    return tuple(wants), tuple(parameters)
