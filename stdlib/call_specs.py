"""One declared call: what is said of it, how its arguments are bound and what they name is opened, ready for the gate.

Calls are declared by ``stdlib.declaring``. Those whose modules are loaded are found here by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

from policies.model import Facts
from policies.users import User
from protocol.errors import ArgumentError, NotFoundError, OutriderError
from protocol.tiers import Tier
from stdlib import at_once
from stdlib.handles import Handle, Private
from stdlib.host import Command, Host, RunContext, declared_command
from stdlib.identities import identify, own_user
from stdlib.kept_objects import KeptObjects
from stdlib.parameters import HANDLE_KEY, LIST_OF_PATHS, REQUIRED, Parameter
from stdlib.paths import Target, resolve
from stdlib.places import Place, place

NO_FACTS = (Facts(),)
INJECTED = ("host", "run", "permit")  # what implementations may want, by the names of their parameters
ALL_BYTES = 1 << 62  # moved at most by what has no bound
PATH = "path"  # what opening calls the parameter that it is about
_declared: dict[str, CallSpec] = {}


class Permit(Protocol):
    """What a call may ask about more objects than those that it names. Injected into implementations that want it."""

    def permits(self, facts: Facts) -> bool:
        """Tell whether the call would be allowed on one more object. What is not permitted is to be left out."""

    def require(self, facts: Facts) -> None:
        """Return if the call is allowed on one more object; else ``DeniedError``, and the record says which rule."""

    async def settle(self, facts: Facts) -> None:
        """Do as ``require``, and ask a person where the policy wants that; for calls that run inline."""

    def below(self, directory: str) -> bool | None:
        """Tell whether all (True) or nothing (False) below a real directory is permitted; None if it depends."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, so that a thread that still works for it may stop."""


class Passage(Permit, Protocol):
    """What a call may ask of the gate; see ``sandbox.passage.Passage``."""

    def thing(self, number: int, kind: str, parameter: str) -> Any:
        """Return what the run holds under a number; ``ArgumentError`` if it holds no such thing."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a call is decided on that neither opens a path nor runs a declared command.

    ``arguments`` take the place of those that the script gave, so that what was decided on is what is used.
    """

    facts: tuple[Facts, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


PrepareAtOnce = Callable[[Host, RunContext, dict[str, Any], Passage], AbstractContextManager["Prepared | _LookedAt"]]
Decides = Callable[[Host, Mapping[str, Any]], Decided]
Rehearses = Callable[..., Awaitable[None]]


class Prepared(NamedTuple):
    """A call whose targets are open."""

    facts: tuple[Facts, ...]
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
    decides: Decides | None = None  # what else it is decided on
    looks_up: bool | tuple[str, ...] = ()  # whether ``prepare`` may block: always, or where one of these is given
    under: str | None = None  # the call that gave the handle; its intent covers what this one changes
    dry: Mapping[str, Any] | None = None  # fields of the map that it gives in a dry run
    gives: str = "value"  # value, stream or handle
    gives_kind: str = ""  # of the handle
    wants: tuple[str, ...] = ()  # "host", "run", "permit": what is injected, in order
    doc: str = ""
    examples: Mapping[str, str] = field(default_factory=dict)  # language -> source
    result: str = ""  # of a call without an implementation: its type, as a Python annotation
    below: bool | str = False  # whether it reaches all below its paths: always, or where this parameter is true
    at_once: bool = False  # whether a blocking call is first tried on the event loop; see ``stdlib.at_once``
    rehearses: Rehearses | None = None  # what it does in a dry run: reads, and decides on what it finds
    starts_as: str | None = None  # the parameter that names as whom somebody else will start its command

    @property
    def family(self) -> str:
        """The first word of the name; empty for a bare word."""
        return self.name.rpartition(".")[0]

    @property
    def is_method(self) -> bool:
        """Whether it is a method of the handle that is its first parameter."""
        return bool(self.parameters) and self.parameters[0].handle == self.family

    @property
    def has_target(self) -> bool:
        """Whether it reaches into the network, so that rules decide on where to."""
        return any(item.is_target for item in self.parameters)

    @property
    def is_fit_for_the_loop(self) -> bool:
        """Whether it is one that changes nothing, gives a value, and takes paths of objects and plain values only."""
        if not self.is_blocking or self.changes or self.gives != "value" or self.command or self.decides:
            return False
        return not any(item.is_place or item.handle or item.is_private or item.is_target for item in self.parameters)

    @property
    def is_fit_for_rehearsal(self) -> bool:
        """Whether it runs inline, gives a value, and opens nothing before it is decided on."""
        opens = any(item.is_path or item.is_target for item in self.parameters)
        return not self.is_blocking and self.gives == "value" and not opens

    @property
    def is_local(self) -> bool:
        """Whether the worker carries it out itself, without the gate."""
        return self.implementation is None

    def dry_result(self, prepared: Prepared | AtHand) -> Any:
        """Return what stands for the result in a dry run (``stdlib.dry``); an awaitable of it if the call rehearses.

        Raises:
            DeniedError: From the awaitable: the call would be denied.
        """
        from stdlib.dry import Unreal, value_of

        if self.gives == "stream":
            return iter(())
        if self.gives == "handle":
            return Unreal(self.gives_kind, prepared.facts[0])
        value = value_of(self.implementation, self.dry)
        return _rehearsed(prepared.rehearse, value) if isinstance(prepared, _Rehearsing) else value

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, with defaults.

        Raises:
            ArgumentError: Names the parameter that is missing, unknown, given twice or not allowed.
        """
        if len(args) > len(self.parameters):
            raise ArgumentError(f"{self.name} takes at most {len(self.parameters)} arguments, not {len(args)}")
        if named:
            return self._bind_named(args, named)
        bound: dict[str, Any] = {}
        if not self.parameters:
            return bound
        for item, value in zip(self.parameters, args, strict=False):
            bound[item.name] = item.accept(_odd_path(value) if item.is_path else value)
        for item in self.parameters[len(args) :]:
            bound[item.name] = self._default(item)
        return bound

    def _bind_named(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        given = dict(zip(self._names, args, strict=False))
        for name, value in named.items():
            if name in given:
                raise ArgumentError(f"{name}: given twice", parameter=name)
            given[name] = value
        bound = {}
        for name, item in zip(self._names, self.parameters, strict=True):
            if name in given:
                value = given.pop(name)
                bound[name] = item.accept(_odd_path(value) if item.is_path else value)
            else:
                bound[name] = self._default(item)
        if given:
            known = ", ".join(item.name for item in self.parameters) or "none"
            name = min(given)
            raise ArgumentError(f"{self.name} has no parameter {name!r:.60} (known: {known})", parameter=name)
        return bound

    def _default(self, item: Parameter) -> Any:
        if item.default is REQUIRED:
            raise ArgumentError(f"{item.name}: is missing", parameter=item.name)
        return item.default

    def prepare(
        self, host: Host, run: RunContext, bound: dict[str, Any], passage: Passage
    ) -> AbstractContextManager[Prepared | AtHand]:
        """Return a context in which the targets of the call are open, ready for the decision; it closes them."""
        if self.at_once:  # it was tried
            at_once.learn()
        if self._is_plain:
            return AtHand(NO_FACTS, self.performer(host, run, passage, bound))
        arguments, facts = self._things(passage, bound) if self._has_things else (dict(bound), [])
        if self.decides is not None:
            decided = self.decides(host, arguments)
            arguments |= decided.arguments
            facts += decided.facts
        if self.command is not None:
            command = declared_command(host, bound[self.command], bound["args"])
            arguments[self.command] = command
            facts.append(command.facts)
            if self.starts_as is not None:
                facts += _as_whom(command, bound[self.starts_as])
        if self._paths:
            return _Opened(self, host, run, passage, arguments, facts)
        ready, performer = tuple(facts) or NO_FACTS, self.performer(host, run, passage, arguments)
        if self.rehearses is not None:
            return _Rehearsing(ready, performer, partial(self.rehearses, host, passage, **arguments))
        return _Reaching(ready, performer, self._target_of(bound)) if self.has_target else AtHand(ready, performer)

    @cached_property
    def prepare_at_once(self) -> PrepareAtOnce | None:
        """As :meth:`prepare`, for the event loop: it, and ``perform``, raise ``BlockingIOError`` where anything would
        have to be waited for. None unless declared ``at_once``.
        """
        return self._open_at_once if self.at_once else None

    def _open_at_once(
        self, host: Host, run: RunContext, bound: dict[str, Any], passage: Passage
    ) -> AbstractContextManager[Prepared | _LookedAt]:
        if self._is_of_one_path and self.implementation is not None:
            return _LookedAt(self.implementation, bound[self._names[0]], follow=self.follows, kept=host.kept)
        return _Opened(self, host, run, passage, dict(bound), [], at_once.resolve_at_once)

    def _target_of(self, bound: Mapping[str, Any]) -> str | None:
        """Return where the call reaches, as an error says it."""
        asked = next((bound[item.name] for item in self.parameters if item.is_target), None)
        return f"{asked}:{bound['port']}" if isinstance(asked, str) and "port" in bound else asked

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.parameters)

    @cached_property
    def _paths(self) -> tuple[Parameter, ...]:
        return tuple(item for item in self.parameters if item.is_path)

    @cached_property
    def _is_of_one_path(self) -> bool:
        """Whether it takes the path of one object, which must be given, and nothing else."""
        return not self.wants and [(item.kind, item.is_place) for item in self.parameters] == [("path", False)]

    @cached_property
    def lists(self) -> tuple[str, ...]:
        """Parameters that are lists of paths: :meth:`prepare` opens each of them."""
        return tuple(item.name for item in self.parameters if item.kind == LIST_OF_PATHS)

    @cached_property
    def _has_things(self) -> bool:
        return any(item.handle is not None or item.is_private for item in self.parameters)

    @cached_property
    def _is_plain(self) -> bool:
        if self.command is not None or self.decides is not None:
            return False
        return not any(item.is_path or item.handle or item.is_private for item in self.parameters)

    def _things(self, passage: Passage, bound: dict[str, Any]) -> tuple[dict[str, Any], list[Facts]]:
        """Return the arguments with the run's own things in place of handles, and what those are decided on."""
        arguments, facts = dict(bound), []
        for item in self.parameters:
            if item.handle is not None and bound[item.name] is not None:
                thing: Handle = passage.thing(bound[item.name][HANDLE_KEY], item.handle, item.name)
                arguments[item.name] = thing
                facts.append(thing.facts)
            elif item.is_private and bound[item.name] is not None:
                arguments[item.name] = _in_private(passage, bound[item.name], item)
        return arguments, facts

    def performer(self, host: Host, run: RunContext, passage: Passage, arguments: dict[str, Any]) -> Callable[[], Any]:
        implementation = self.implementation
        if implementation is None:
            raise ArgumentError(f"{self.name} is carried out by the worker, not by the gate")
        if not self._injected:
            return partial(implementation, **arguments)
        given = (host, run, passage)
        return partial(implementation, *[given[place] for place in self._injected], **arguments)

    @cached_property
    def _injected(self) -> tuple[int, ...]:
        return tuple(INJECTED.index(want) for want in self.wants)


def _as_whom(command: Command, name: str) -> list[Facts]:
    """Return what is decided on as well where a command will be started as somebody else. Asks the host, so it may
    block.
    """
    try:
        user = identify(name, "").user
    except NotFoundError:  # the call tells, if it is nobody
        user = User(name)
    return [] if user == own_user() else [command.facts._replace(user=user)]


def _in_private(passage: Passage, value: Any, item: Parameter) -> Any:
    """Return ``value`` as a ``Private``, or as a map of them; nothing is opened yet."""
    if type(value) is dict and HANDLE_KEY not in value:
        return {name: _in_private(passage, inner, item) for name, inner in value.items()}
    if type(value) is dict:
        return Private(passage.thing(value[HANDLE_KEY], "secret", item.name).reveal, is_secret=True)
    if value == []:
        return {}
    data = value.encode("utf-8", "surrogateescape") if type(value) is str else value
    return Private(lambda: data)


def _odd_path(value: Any) -> Any:
    """Return bytes that are not UTF-8, as which odd names reach scripts, as the text that stands for them (PEP 383)."""
    if type(value) is list:
        return [_odd_path(item) for item in value]
    if type(value) is not bytes:
        return value
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8", "surrogateescape")
    return value


class AtHand:
    """A call that has nothing to open, and its own context; contextlib's would cost as much as the whole call."""

    __slots__ = ("facts", "perform")

    def __init__(self, facts: tuple[Facts, ...], perform: Callable[[], Any]) -> None:
        self.facts = facts
        self.perform = perform

    def __enter__(self) -> AtHand:
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        return None


class _Reaching(AtHand):
    """The same for one that reaches into the network: what goes wrong says where."""

    __slots__ = ("_target",)

    def __init__(self, facts: tuple[Facts, ...], perform: Callable[[], Any], target: str | None) -> None:
        super().__init__(facts, perform)
        self._target = target

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        if isinstance(_error, OutriderError) and _error.target is None:
            _error.target = self._target


class _Rehearsing(AtHand):
    """The same for one that decides on more than it was given, also when it is not carried out."""

    __slots__ = ("rehearse",)

    def __init__(
        self, facts: tuple[Facts, ...], perform: Callable[[], Any], rehearse: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(facts, perform)
        self.rehearse = rehearse


async def _rehearsed(rehearse: Callable[[], Awaitable[None]], value: Any) -> Any:
    await rehearse()
    return value


class _LookedAt(at_once.Opening):
    """The context of a call that only looks at one object, on the event loop; all others have :class:`_Opened`.

    It is what it prepares as well: most of the time of these calls goes into objects that each of them makes.
    """

    __slots__ = ("_implementation", "_target", "facts")

    def __init__(
        self, implementation: Callable[..., Any], path: str, *, follow: bool, kept: KeptObjects | None
    ) -> None:
        super().__init__(path, follow=follow, kept=kept)
        self._implementation = implementation
        self._target: Target
        self.facts: tuple[Facts, ...]

    def perform(self) -> Any:
        return self._implementation(self._target)

    def __enter__(self) -> _LookedAt:
        target = self._target = self.open()
        self.facts = (Facts(target.real),)
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if error is not None and isinstance(error, OutriderError) and error.path is None:
            error.path = self.path
        self.let_go()


class _Opened:
    """The context of a call with paths: they are open in it. Written out, as contextlib's would take half of the time.

    Args:
        spec: The call.
        host: Of the call, as the next two.
        run: See ``host``.
        passage: See ``host``.
        arguments: With paths as texts; what was opened takes their place.
        facts: What the call is decided on, beside what is opened.
        resolve: Opens what is no place.
    """

    __slots__ = ("_arguments", "_asked", "_contexts", "_facts", "_host", "_passage", "_resolve", "_run", "_spec")

    def __init__(
        self, spec: CallSpec, host: Host, run: RunContext, passage: Passage, arguments: dict[str, Any],
        facts: list[Facts], resolve: Callable[..., AbstractContextManager[Target]] = resolve,
    ) -> None:  # fmt: skip
        self._spec = spec
        self._resolve = resolve
        self._host = host
        self._run = run
        self._passage = passage
        self._arguments = arguments
        self._facts = facts
        self._asked: list[str] = []  # paths
        self._contexts: list[AbstractContextManager[Any]] = []  # entered

    def __enter__(self) -> Prepared:
        spec, arguments = self._spec, self._arguments
        try:
            for item in spec._paths:
                given = arguments[item.name]
                if type(given) is list:
                    arguments[item.name] = [self._open(item, it) for it in given]
                elif given is not None:
                    arguments[item.name] = self._open(item, given)
            performer = spec.performer(self._host, self._run, self._passage, arguments)
            return Prepared(tuple(self._facts) or NO_FACTS, performer)
        except BaseException as error:
            self._say_where(error)
            self._close()
            raise

    def _say_where(self, error: object) -> None:
        """Have an error say which path it is about, if the call was given one only, or if it is about that alone."""
        if isinstance(error, OutriderError) and error.path is None and len(self._asked) == 1:
            error.path = self._asked[0]

    def _open(self, item: Parameter, path: str) -> Target | Place:
        self._asked.append(path)
        context: AbstractContextManager[Target | Place]
        if item.is_place:
            context = place(path, follow=self._spec.follows, kept=self._host.kept)
        else:
            context = self._resolve(path, follow=self._spec.follows)
        try:
            target = context.__enter__()
        except ArgumentError as error:  # who opens knows a path, not which parameter it is
            told = error.message.removeprefix(f"{PATH}: ")
            raise ArgumentError(f"{item.name}: {told}", parameter=item.name) from None
        self._contexts.append(context)
        kept = None if self._host.kept is None else _kept_name(self._host.kept, target)
        self._facts.append(Facts(path=kept or target.real, bytes=_moved(self._arguments)))
        return target

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if error is not None:
            self._say_where(error)
        self._close()

    def _close(self) -> None:
        """Close all, the last first; what one of them raises keeps none of the others open, and none is forgotten."""
        failed: Exception | None = None
        while self._contexts:
            try:
                self._contexts.pop().__exit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - raised below
                error.__context__ = failed
                failed = error
        if failed is not None:
            raise failed


def _moved(arguments: Mapping[str, Any]) -> int | None:
    """Return how many bytes a call would move at most; None of one that does not say so."""
    if "length" in arguments:
        length = arguments["length"]
        return ALL_BYTES if length is None else length
    data = arguments.get("data")
    return len(data) if type(data) is bytes else None


def _kept_name(kept: KeptObjects, target: Target | Place) -> str | None:
    """Return the name by which a call is decided on whose object is kept from all calls; None if it is not.

    Raises:
        BlockingIOError: On the event loop, where it has to be looked for.
    """
    if isinstance(target, Place):
        status = None if target.directory < 0 else target.status()
    else:  # as it was before it was named: its name may have gone since, and then it looks as if it had no other
        status = target.before or target.status_if_any()
    if status is None or not kept.may_be(status):
        return None
    if isinstance(target, Target) and target.is_at_once:
        raise BlockingIOError
    return kept.name_of(status)


def add(spec: CallSpec) -> None:
    """Have a call found by its name.

    Raises:
        TypeError: It is declared twice, or cannot be what it says.
    """
    if spec.name in _declared:
        raise TypeError(f"the call {spec.name} is declared twice")
    if spec.at_once and not spec.is_fit_for_the_loop:
        raise TypeError(f"the call {spec.name} cannot be tried on the event loop")
    if spec.rehearses is not None and not spec.is_fit_for_rehearsal:
        raise TypeError(f"the call {spec.name} cannot rehearse")
    if not spec.doc:
        raise TypeError(f"the call {spec.name} says nothing about itself")
    _declared[spec.name] = spec


def declared(name: str) -> CallSpec | None:
    """Return the call of that name if its module is loaded."""
    return _declared.get(name)


def withdraw(module: str) -> None:
    """Forget the calls that a module has declared, as it could not be loaded to its end."""
    for name, spec in list(_declared.items()):
        if spec.implementation is not None and spec.implementation.__module__ == module:
            del _declared[name]


def all_declared() -> Mapping[str, CallSpec]:
    """Return the calls of all modules that are loaded, by name."""
    return _declared
